package dev.equipoise.runtime.gguf;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.FileErrors;
import dev.equipoise.runtime.gguf.GgufValue.Type;
import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Builds a GGUF file of version 3: metadata and tensors in the order given.
 *
 * <p>Tensor data is asked for while the file is written, so a file may be far larger than the heap. Not for use by
 * several threads at once.
 */
public final class GgufWriter {
    private static final int PORTION = 1 << 16;

    private final Map<String, GgufValue> metadata = new LinkedHashMap<>();
    private final Map<String, GgufTensor> tensors = new LinkedHashMap<>();
    private final List<TensorSource> sources = new ArrayList<>();
    private long nextOffset;

    /** An empty file: no metadata, no tensors. */
    public GgufWriter() {
    }

    /** Gives a tensor's stored bytes when the file is written. */
    @FunctionalInterface
    public interface TensorSource {
        /** Writes exactly {@code tensor.bytes()} bytes; may write in any portions, never closes the stream. */
        void write(GgufTensor tensor, OutputStream out) throws IOException;
    }

    /**
     * Adds a metadata entry.
     *
     * @throws BadInputException if the key is empty or already there, or sets the alignment, which is always 32
     */
    public GgufWriter put(final String key, final GgufValue value) {
        if (key.isEmpty() || key.indexOf('\0') >= 0 || key.equals(HeaderParser.ALIGNMENT_KEY)) {
            throw bad("key '" + key + "' cannot be written");
        }
        if (metadata.putIfAbsent(key, value) != null) {
            throw bad("key '" + key + "' is set twice");
        }
        return this;
    }

    /** Adds a string. */
    public GgufWriter put(final String key, final String value) {
        return put(key, GgufValue.text(value));
    }

    /** Adds every entry of another file's metadata except its alignment. */
    public GgufWriter putAll(final Map<String, GgufValue> entries) {
        entries.forEach((key, value) -> {
            if (!key.equals(HeaderParser.ALIGNMENT_KEY)) {
                put(key, value);
            }
        });
        return this;
    }

    /**
     * Adds a tensor whose floats are encoded as the file is written.
     *
     * @param values row after row; not copied
     * @throws BadInputException if the name is unusable or taken, the shape does not fit the type or the number of
     *     values, or the type cannot be encoded
     */
    public GgufWriter tensor(final String name, final GgmlType type, final long[] shape, final float[] values) {
        if (!type.convertible()) {
            throw bad("tensor '" + name + "' cannot be encoded as " + type);
        }
        final GgufTensor tensor = add(name, type, shape, (t, out) -> encode(t, values, out));
        if (tensor.elements() != values.length) {
            throw bad("tensor '" + tensor + "' got " + values.length + " values");
        }
        return this;
    }

    /**
     * Adds a tensor whose stored bytes come from a source.
     *
     * @throws BadInputException if the name is unusable or taken or the shape does not fit the type
     */
    public GgufWriter tensor(final String name, final GgmlType type, final long[] shape, final TensorSource source) {
        add(name, type, shape, source);
        return this;
    }

    /**
     * Writes the file; an existing one is replaced only when the new one is complete.
     *
     * @throws BadInputException if the place cannot be written to, or holds something else than a regular file
     */
    public void write(final Path path) {
        FileErrors.requireReplaceable(path);
        final Path partial = path.resolveSibling(path.getFileName() + ".partial");
        FileErrors.requireReplaceable(partial);
        try {
            try (OutputStream out = new BufferedOutputStream(Files.newOutputStream(partial), PORTION)) {
                writeTo(out);
            }
            Files.move(partial, path, StandardCopyOption.REPLACE_EXISTING);
        } catch (final IOException e) {
            throw new BadInputException("cannot be written (" + FileErrors.reason(e) + ")", path.toString(),
                    "choose a writable directory with enough space", e);
        } finally {
            deleteQuietly(partial);
        }
    }

    private void writeTo(final OutputStream out) throws IOException {
        final Counting counted = new Counting(out);
        final Fields fields = new Fields(counted);
        fields.i32(HeaderParser.MAGIC).i32(3).i64(tensors.size()).i64(metadata.size());
        for (final Map.Entry<String, GgufValue> entry : metadata.entrySet()) {
            fields.text(entry.getKey()).value(entry.getValue());
        }
        for (final GgufTensor tensor : tensors.values()) {
            final long[] shape = tensor.shape();
            fields.text(tensor.name()).i32(shape.length);
            for (final long extent : shape) {
                fields.i64(extent);
            }
            fields.i32(tensor.type().id()).i64(tensor.offset());
        }
        counted.pad();
        int i = 0;
        for (final GgufTensor tensor : tensors.values()) {
            final long start = counted.written;
            sources.get(i++).write(tensor, counted);
            if (counted.written - start != tensor.bytes()) {
                throw new IllegalStateException("source of tensor '" + tensor.name() + "' wrote "
                        + (counted.written - start) + " bytes instead of " + tensor.bytes());
            }
            counted.pad();
        }
    }

    private GgufTensor add(final String name, final GgmlType type, final long[] shape, final TensorSource source) {
        final int bytes = name.getBytes(StandardCharsets.UTF_8).length;
        if (bytes == 0 || bytes > HeaderParser.MAX_NAME_BYTES || name.indexOf('\0') >= 0) {
            throw bad("tensor name '" + name + "' is not 1 to " + HeaderParser.MAX_NAME_BYTES + " bytes");
        }
        final GgufTensor tensor = new GgufTensor(name, type, shape, nextOffset);
        if (tensors.putIfAbsent(name, tensor) != null) {
            throw bad("tensor '" + name + "' is added twice");
        }
        sources.add(source);
        nextOffset = HeaderParser.align(nextOffset + tensor.bytes(), HeaderParser.DEFAULT_ALIGNMENT);
        return tensor;
    }

    private static void encode(final GgufTensor tensor, final float[] values, final OutputStream out)
            throws IOException {
        final GgmlType type = tensor.type();
        final int portion = PORTION / type.blockSize() * type.blockSize();
        final byte[] bytes = new byte[(int) type.bytes(Math.min(portion, values.length))];
        for (int i = 0; i < values.length; i += portion) {
            final ByteBuffer buffer = ByteBuffer.wrap(bytes);
            type.quantise(values, i, Math.min(portion, values.length - i), buffer);
            out.write(bytes, 0, buffer.position());
        }
    }

    private static void deleteQuietly(final Path path) {
        try {
            Files.deleteIfExists(path);
        } catch (final IOException e) {
            System.getLogger(GgufWriter.class.getName()).log(System.Logger.Level.DEBUG, "left behind: " + path, e);
        }
    }

    private static BadInputException bad(final String what) {
        return new BadInputException(what, "GGUF writer", "choose another name, shape or type");
    }

    /** Counts what passes and pads it to the alignment. */
    private static final class Counting extends OutputStream {
        private final OutputStream out;
        private long written;

        Counting(final OutputStream out) {
            this.out = out;
        }

        @Override
        public void write(final int b) throws IOException {
            out.write(b);
            written++;
        }

        @Override
        public void write(final byte[] bytes, final int from, final int length) throws IOException {
            out.write(bytes, from, length);
            written += length;
        }

        void pad() throws IOException {
            while (written % HeaderParser.DEFAULT_ALIGNMENT != 0) {
                write(0);
            }
        }
    }

    /** The scalar encodings of the format. */
    private static final class Fields {
        private final ByteBuffer scratch = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
        private final OutputStream out;

        Fields(final OutputStream out) {
            this.out = out;
        }

        Fields i32(final int value) throws IOException {
            return bits(value, 4);
        }

        Fields i64(final long value) throws IOException {
            return bits(value, 8);
        }

        Fields text(final String text) throws IOException {
            final byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
            i64(bytes.length);
            out.write(bytes);
            return this;
        }

        void value(final GgufValue value) throws IOException {
            if (value instanceof final GgufValue.Array array) {
                i32(Type.ARRAY.ordinal()).i32(array.type().ordinal()).i64(array.size());
            } else {
                i32(value.type().ordinal());
            }
            switch (value) {
                case GgufValue.Whole(Type type, long whole) -> bits(whole, type.bytes());
                case GgufValue.Real(Type type, double real) -> real(type, real);
                case GgufValue.Flag(boolean flag) -> bits(flag ? 1 : 0, 1);
                case GgufValue.Text(String text) -> text(text);
                case GgufValue.Wholes wholes -> {
                    for (int i = 0; i < wholes.size(); i++) {
                        bits(wholes.get(i), wholes.type().bytes());
                    }
                }
                case GgufValue.Reals reals -> {
                    for (int i = 0; i < reals.size(); i++) {
                        real(reals.type(), reals.get(i));
                    }
                }
                case GgufValue.Texts(List<String> texts) -> {
                    for (final String text : texts) {
                        text(text);
                    }
                }
            }
        }

        private void real(final Type type, final double value) throws IOException {
            bits(type == Type.F32 ? Float.floatToRawIntBits((float) value) : Double.doubleToRawLongBits(value),
                    type.bytes());
        }

        private Fields bits(final long value, final int bytes) throws IOException {
            out.write(scratch.putLong(0, value).array(), 0, bytes);
            return this;
        }
    }
}
