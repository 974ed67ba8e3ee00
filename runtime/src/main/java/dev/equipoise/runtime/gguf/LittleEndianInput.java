package dev.equipoise.runtime.gguf;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/** Buffered little-endian reading from the start of a file that always knows how much is left. */
final class LittleEndianInput {
    private final FileChannel channel;
    private final long size;
    private final ByteBuffer buffer = ByteBuffer.allocate(1 << 16).order(ByteOrder.LITTLE_ENDIAN).limit(0);
    private long bufferEnd;

    LittleEndianInput(final FileChannel channel) throws IOException {
        this.channel = channel;
        this.size = channel.size();
    }

    long size() {
        return size;
    }

    long position() {
        return bufferEnd - buffer.remaining();
    }

    long remaining() {
        return size - position();
    }

    int u8() throws IOException {
        return fill(1).get() & 0xFF;
    }

    int u16() throws IOException {
        return fill(2).getShort() & 0xFFFF;
    }

    int i32() throws IOException {
        return fill(4).getInt();
    }

    long u32() throws IOException {
        return i32() & 0xFFFFFFFFL;
    }

    long i64() throws IOException {
        return fill(8).getLong();
    }

    /** A string of that many bytes, which the caller has compared with {@link #remaining()}. */
    String utf8(final int length) throws IOException {
        final byte[] bytes = new byte[length];
        for (int done = 0; done < length; ) {
            final ByteBuffer available = fill(1);
            final int n = Math.min(available.remaining(), length - done);
            available.get(bytes, done, n);
            done += n;
        }
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
        } catch (final CharacterCodingException e) {
            throw new MalformedException("string at byte " + (position() - length) + " is not UTF-8", e);
        }
    }

    private ByteBuffer fill(final int needed) throws IOException {
        if (buffer.remaining() < needed) {
            buffer.compact();
            while (buffer.position() < needed) {
                final int n = channel.read(buffer, bufferEnd);
                if (n < 0) {
                    throw new EOFException();
                }
                bufferEnd += n;
            }
            buffer.flip();
        }
        return buffer;
    }

    /** What is wrong with the bytes; the caller adds the file. */
    static final class MalformedException extends IOException {
        private static final long serialVersionUID = 1L;

        MalformedException(final String what) {
            super(what);
        }

        MalformedException(final String what, final Throwable cause) {
            super(what, cause);
        }
    }
}
