package dev.equipoise.runtime.gguf;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.FileErrors;
import dev.equipoise.runtime.gguf.GgufValue.Type;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * The header of a GGUF file, and its tensor data on demand.
 *
 * <p>Immutable and safe for any thread. Holds no open file: data calls open the file anew and refuse one that has
 * changed its size. {@link #read} accepts only what ggml's own reader would; whether the content makes a model is
 * {@link GgufModelCheck}'s business.
 */
public final class GgufFile {
    private final Path path;
    private final int version;
    private final Map<String, GgufValue> metadata;
    private final List<GgufTensor> tensors;
    private final Map<String, GgufTensor> byName = new LinkedHashMap<>();
    private final int alignment;
    private final long dataStart;
    private final long size;

    GgufFile(final Path path, final int version, final Map<String, GgufValue> metadata,
            final List<GgufTensor> tensors, final int alignment, final long dataStart, final long size) {
        this.path = path;
        this.version = version;
        this.metadata = metadata;
        this.tensors = tensors;
        this.alignment = alignment;
        this.dataStart = dataStart;
        this.size = size;
        tensors.forEach(tensor -> byName.put(tensor.name(), tensor));
    }

    /**
     * Parses the header of a file.
     *
     * @throws BadInputException if the file cannot be read or is malformed in any way
     */
    public static GgufFile read(final Path path) {
        FileErrors.requireRegular(path, "name an existing GGUF file");
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
            return HeaderParser.parse(path, channel);
        } catch (final IOException e) {
            throw unreadable(path, e);
        }
    }

    /** The file this was read from. */
    public Path path() {
        return path;
    }

    /** Version of the format, 2 or 3. */
    public int version() {
        return version;
    }

    /** All metadata in file order, unmodifiable. */
    public Map<String, GgufValue> metadata() {
        return metadata;
    }

    /** The tensor table in file order, unmodifiable. */
    public List<GgufTensor> tensors() {
        return tensors;
    }

    /** The tensor of that name. */
    public Optional<GgufTensor> find(final String name) {
        return Optional.ofNullable(byName.get(name));
    }

    /**
     * The tensor of that name.
     *
     * @throws BadInputException if there is none
     */
    public GgufTensor tensor(final String name) {
        return find(name).orElseThrow(() -> bad("no tensor '" + name + "'"));
    }

    /** Alignment of tensor data in bytes, a power of two. */
    public int alignment() {
        return alignment;
    }

    /** Position of the data section in the file, in bytes. */
    public long dataStart() {
        return dataStart;
    }

    /** Size of the whole file, in bytes. */
    public long size() {
        return size;
    }

    /** Number of elements in all tensors. */
    public long parameters() {
        return tensors.stream().mapToLong(GgufTensor::elements).sum();
    }

    /** The value of {@code general.architecture}. */
    public String architecture() {
        return string("general.architecture");
    }

    /** Whether the key is there, of whatever type. */
    public boolean has(final String key) {
        return metadata.containsKey(key);
    }

    /**
     * A string.
     *
     * @throws BadInputException if the key is missing or of another type, as all typed accessors do
     */
    public String string(final String key) {
        return value(key) instanceof GgufValue.Text(String text) ? text : wrongType(key, "a string");
    }

    /** A string, or the default if the key is missing. */
    public String string(final String key, final String otherwise) {
        return has(key) ? string(key) : otherwise;
    }

    /** An unsigned 32-bit integer; no other type will do, as in llama.cpp. */
    public long u32(final String key) {
        return value(key) instanceof GgufValue.Whole(Type type, long number) && type == Type.U32
                ? number : wrongType(key, "a u32");
    }

    /** An unsigned 32-bit integer, or the default if the key is missing. */
    public long u32(final String key, final long otherwise) {
        return has(key) ? u32(key) : otherwise;
    }

    /** A 32-bit float. */
    public float f32(final String key) {
        return value(key) instanceof GgufValue.Real(Type type, double number) && type == Type.F32
                ? (float) number : wrongType(key, "an f32");
    }

    /** A 32-bit float, or the default if the key is missing. */
    public float f32(final String key, final float otherwise) {
        return has(key) ? f32(key) : otherwise;
    }

    /** A truth value. */
    public boolean bool(final String key) {
        return value(key) instanceof GgufValue.Flag(boolean flag) ? flag : wrongType(key, "a bool");
    }

    /** A truth value, or the default if the key is missing. */
    public boolean bool(final String key, final boolean otherwise) {
        return has(key) ? bool(key) : otherwise;
    }

    /** An array of strings. */
    public List<String> strings(final String key) {
        return value(key) instanceof GgufValue.Texts(List<String> texts)
                ? texts : wrongType(key, "an array of strings");
    }

    /** An array of integers of any width. */
    public long[] integers(final String key) {
        return value(key) instanceof GgufValue.Wholes wholes && wholes.type() != Type.BOOL
                ? wholes.toArray() : wrongType(key, "an array of integers");
    }

    /** An array of 32-bit floats. */
    public float[] floats(final String key) {
        if (!(value(key) instanceof GgufValue.Reals reals) || reals.type() != Type.F32) {
            return wrongType(key, "an array of f32");
        }
        final float[] narrow = new float[reals.size()];
        for (int i = 0; i < narrow.length; i++) {
            narrow[i] = (float) reals.get(i);
        }
        return narrow;
    }

    /**
     * The decoded elements of a tensor, row after row.
     *
     * @throws BadInputException if the type has no decoder here, the tensor has more than 2^31 elements, or the file
     *     cannot be read any more
     */
    public float[] floats(final GgufTensor tensor) {
        return floats(tensor, 0, tensor.rows());
    }

    /**
     * The decoded elements of some rows of a tensor, {@code [rows, extent(0)]}.
     *
     * @throws BadInputException as {@link #floats(GgufTensor)}
     */
    public float[] floats(final GgufTensor tensor, final long firstRow, final long rows) {
        final long row = tensor.extent(0);
        if (rows > Integer.MAX_VALUE / row) {
            throw bad("tensor '" + tensor.name() + "' is too large for one array");
        }
        final float[] values = new float[(int) (rows * row)];
        final long rowBytes = tensor.type().bytes(row);
        // Rows are decoded in portions, so that the encoded bytes never need as much heap as the floats.
        final long portion = Math.clamp((1 << 20) / rowBytes, 1, Math.max(1, rows));
        for (long r = 0; r < rows; r += portion) {
            final int n = (int) Math.min(portion, rows - r);
            final ByteBuffer encoded = raw(tensor, (firstRow + r) * rowBytes, (int) (n * rowBytes));
            tensor.type().dequantise(encoded, values, (int) (r * row), (int) (n * row));
        }
        return values;
    }

    /**
     * The stored bytes of a tensor of less than 2 GB, little-endian, owned by the caller.
     *
     * @throws BadInputException if the tensor is larger or the file cannot be read any more
     */
    public ByteBuffer raw(final GgufTensor tensor) {
        if (tensor.bytes() > Integer.MAX_VALUE - 8) {
            throw bad("tensor '" + tensor.name() + "' is too large for one buffer");
        }
        return raw(tensor, 0, (int) tensor.bytes());
    }

    /**
     * Some stored bytes of a tensor, little-endian, owned by the caller.
     *
     * @param first first byte, from the tensor's start
     * @param length number of bytes
     * @throws BadInputException if the range leaves the tensor or the file cannot be read any more
     */
    public ByteBuffer raw(final GgufTensor tensor, final long first, final int length) {
        if (!tensor.equals(byName.get(tensor.name()))) {
            throw bad("no tensor '" + tensor + "'");
        }
        if (first < 0 || length < 0 || first > tensor.bytes() - length) {
            throw bad("bytes " + first + " to " + (first + length) + " of tensor '" + tensor.name() + "'");
        }
        final ByteBuffer bytes = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
            if (channel.size() != size) {
                throw bad("the file has changed since its header was read");
            }
            final long start = dataStart + tensor.offset() + first;
            while (bytes.hasRemaining() && channel.read(bytes, start + bytes.position()) >= 0) {
                // A read may stop early; the size check above and the one below tell when the file does.
            }
        } catch (final IOException e) {
            throw unreadable(path, e);
        }
        if (bytes.hasRemaining()) {
            throw bad("the file was cut while it was read");
        }
        return bytes.flip();
    }

    @Override
    public String toString() {
        return path + " (GGUF v" + version + ", " + metadata.size() + " keys, " + tensors.size() + " tensors)";
    }

    BadInputException bad(final String what) {
        return new BadInputException(what, path.toString(), "use a file made for llama.cpp");
    }

    private GgufValue value(final String key) {
        final GgufValue value = metadata.get(key);
        if (value == null) {
            throw bad("missing key '" + key + "'");
        }
        return value;
    }

    private <T> T wrongType(final String key, final String expected) {
        final GgufValue value = metadata.get(key);
        final String found = value instanceof GgufValue.Array array
                ? "an array of " + array.size() + " " + value.type() : String.valueOf(value.type());
        throw bad("key '" + key + "' is not " + expected + " but " + found);
    }

    private static BadInputException unreadable(final Path path, final IOException e) {
        return new BadInputException("cannot be read (" + FileErrors.reason(e) + ")", path.toString(),
                "check the file and its permissions", e);
    }
}
