package dev.equipoise.runtime.gguf;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/** Builds header bytes by hand, right or wrong: what {@link GgufWriter} would refuse to write. */
final class GgufBytes {
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    static GgufBytes header(final int version, final long tensors, final long keys) {
        return new GgufBytes().raw("GGUF").i32(version).i64(tensors).i64(keys);
    }

    GgufBytes raw(final String text) {
        out.writeBytes(text.getBytes(StandardCharsets.UTF_8));
        return this;
    }

    GgufBytes raw(final int... bytes) {
        for (final int b : bytes) {
            out.write(b);
        }
        return this;
    }

    GgufBytes i32(final int value) {
        out.writeBytes(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(value).array());
        return this;
    }

    GgufBytes i64(final long value) {
        out.writeBytes(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(value).array());
        return this;
    }

    GgufBytes text(final String text) {
        return i64(text.getBytes(StandardCharsets.UTF_8).length).raw(text);
    }

    GgufBytes u32(final String key, final int value) {
        return text(key).i32(GgufValue.Type.U32.ordinal()).i32(value);
    }

    GgufBytes tensor(final String name, final int type, final long offset, final long... shape) {
        text(name).i32(shape.length);
        for (final long extent : shape) {
            i64(extent);
        }
        return i32(type).i64(offset);
    }

    GgufBytes padded(final int alignment, final int moreBytes) {
        while (out.size() % alignment != 0) {
            out.write(0);
        }
        out.writeBytes(new byte[moreBytes]);
        return this;
    }

    byte[] bytes() {
        return out.toByteArray();
    }

    /** Where the data of a file with one tensor of one byte starts. */
    static long dataStart(final int fileLength) {
        return fileLength - 32;
    }

    /** Overwrites the first extent of a tensor in a finished file. */
    static void rewriteExtent(final byte[] file, final String tensor, final long extent) {
        final byte[] name = tensor.getBytes(StandardCharsets.UTF_8);
        for (int i = 0; i + name.length < file.length; i++) {
            if (ByteBuffer.wrap(file, i, name.length).equals(ByteBuffer.wrap(name))) {
                ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN).putLong(i + name.length + 4, extent);
                return;
            }
        }
        throw new IllegalArgumentException(tensor);
    }
}
