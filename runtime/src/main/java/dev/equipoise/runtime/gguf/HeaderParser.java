package dev.equipoise.runtime.gguf;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgufValue.Type;
import dev.equipoise.runtime.gguf.LittleEndianInput.MalformedException;
import java.io.EOFException;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Parses header, metadata and tensor table with the rules of ggml's own reader, and stricter where ggml is lenient.
 *
 * <p>Every count and length is compared with what the rest of the file could hold before anything is allocated, and
 * with a ceiling far above any real model, because ggml's own search for duplicates is quadratic.
 */
final class HeaderParser {
    static final int MAGIC = 'G' | 'G' << 8 | 'U' << 16 | 'F' << 24;
    static final int DEFAULT_ALIGNMENT = 32;
    static final int MAX_NAME_BYTES = 63;
    static final String ALIGNMENT_KEY = "general.alignment";

    private static final int MAX_ENTRIES = 1 << 14;
    private static final int MAX_KEY_BYTES = 1 << 16;
    private static final int MAX_STRING_BYTES = 1 << 24;
    private static final int MAX_ARRAY_ELEMENTS = 1 << 22;
    private static final long MAX_HEADER_BYTES = 1L << 28;
    private static final int MAX_ALIGNMENT = 1 << 20;
    private static final int SMALLEST_TENSOR_ENTRY = 8 + 1 + 4 + 8 + 4 + 8;
    private static final int SMALLEST_KEY_ENTRY = 8 + 1 + 4 + 1;

    private final Path path;
    private final LittleEndianInput in;

    private HeaderParser(final Path path, final LittleEndianInput in) {
        this.path = path;
        this.in = in;
    }

    static GgufFile parse(final Path path, final FileChannel channel) throws IOException {
        final HeaderParser parser = new HeaderParser(path, new LittleEndianInput(channel));
        try {
            return parser.file();
        } catch (final EOFException e) {
            throw parser.bad("truncated header, the file ends at byte " + parser.in.size(), e);
        } catch (final MalformedException e) {
            throw parser.bad(e.getMessage(), e);
        }
    }

    private GgufFile file() throws IOException {
        if (in.size() == 0) {
            throw new MalformedException("empty file");
        }
        if (in.size() < 4 || in.i32() != MAGIC) {
            throw new MalformedException("not a GGUF file (wrong magic)");
        }
        final int version = in.i32();
        if ((version & 0xFFFF) == 0) {
            throw new MalformedException("big-endian GGUF is not supported");
        }
        if (version != 2 && version != 3) {
            throw new MalformedException(
                    "GGUF version " + Integer.toUnsignedString(version) + ", 2 and 3 are readable");
        }
        final int tensorCount = count("tensor", in.i64(), SMALLEST_TENSOR_ENTRY);
        final int keyCount = count("metadata", in.i64(), SMALLEST_KEY_ENTRY);

        final Map<String, GgufValue> metadata = new LinkedHashMap<>();
        for (int i = 0; i < keyCount; i++) {
            final String key = name("key " + i, MAX_KEY_BYTES);
            if (metadata.putIfAbsent(key, value(key)) != null) {
                throw new MalformedException("duplicate key '" + key + "'");
            }
        }
        final long alignment = alignment(metadata.get(ALIGNMENT_KEY));
        final List<GgufTensor> tensors = tensors(tensorCount, alignment);
        final long dataStart = align(in.position(), alignment);
        if (!tensors.isEmpty()) {
            final GgufTensor last = tensors.getLast();
            if (last.offset() + last.bytes() > in.size() - dataStart) {
                throw new MalformedException("tensor '" + last.name() + "' ends beyond the file: byte "
                        + (dataStart + last.offset() + last.bytes()) + " of " + in.size());
            }
        }
        return new GgufFile(path, version, Collections.unmodifiableMap(metadata), List.copyOf(tensors), (int) alignment,
                dataStart, in.size());
    }

    private int count(final String what, final long count, final int smallestEntry) throws IOException {
        if (count < 0 || count > MAX_ENTRIES) {
            throw new MalformedException("absurd number of " + what + " entries: " + Long.toUnsignedString(count));
        }
        if (count > in.remaining() / smallestEntry) {
            throw truncated(count + " " + what + " entries");
        }
        return (int) count;
    }

    // A NUL would end the name for llama.cpp but not for us: two readers, two meanings.
    private String name(final String what, final int maxBytes) throws IOException {
        final String name = in.utf8(length(what, 1, maxBytes));
        if (name.isEmpty() || name.indexOf('\0') >= 0) {
            throw new MalformedException(what + (name.isEmpty() ? " has an empty name" : " has a NUL in its name"));
        }
        return name;
    }

    private int length(final String what, final int bytesEach, final int max) throws IOException {
        final long length = in.i64();
        if (length < 0 || length > max || in.position() > MAX_HEADER_BYTES) {
            throw new MalformedException(what + " has an absurd length: " + Long.toUnsignedString(length));
        }
        if (length > in.remaining() / bytesEach) {
            throw truncated(what + " of length " + length);
        }
        return (int) length;
    }

    // More than the rest of the file can hold: a number that no file would have is named as absurd before this.
    private MalformedException truncated(final String what) {
        return new MalformedException(
                "truncated header, " + what + " at byte " + in.position() + " goes beyond the end at " + in.size());
    }

    private Type type(final String key) throws IOException {
        final int id = in.i32();
        if (id < 0 || id >= Type.values().length) {
            throw new MalformedException("key '" + key + "' has an unknown value type " + Integer.toUnsignedString(id));
        }
        return Type.values()[id];
    }

    private GgufValue value(final String key) throws IOException {
        final Type type = type(key);
        return switch (type) {
            case ARRAY -> array(key);
            case STRING -> new GgufValue.Text(in.utf8(length("key '" + key + "'", 1, MAX_STRING_BYTES)));
            case BOOL -> new GgufValue.Flag(in.u8() != 0);
            case F32, F64 -> new GgufValue.Real(type, real(type));
            default -> new GgufValue.Whole(type, whole(type));
        };
    }

    private GgufValue array(final String key) throws IOException {
        final Type type = type(key);
        if (type == Type.ARRAY) {
            throw new MalformedException("key '" + key + "' is an array of arrays");
        }
        final int n = length("array '" + key + "'", type.bytes(), MAX_ARRAY_ELEMENTS);
        if (type == Type.STRING) {
            final List<String> texts = new ArrayList<>();
            for (int i = 0; i < n; i++) {
                texts.add(in.utf8(length("element " + i + " of '" + key + "'", 1, MAX_STRING_BYTES)));
            }
            return new GgufValue.Texts(texts);
        }
        if (type.real()) {
            final double[] reals = new double[n];
            for (int i = 0; i < n; i++) {
                reals[i] = real(type);
            }
            return new GgufValue.Reals(type, reals);
        }
        final long[] wholes = new long[n];
        for (int i = 0; i < n; i++) {
            wholes[i] = whole(type);
        }
        return new GgufValue.Wholes(type, wholes);
    }

    private double real(final Type type) throws IOException {
        return type == Type.F32 ? Float.intBitsToFloat(in.i32()) : Double.longBitsToDouble(in.i64());
    }

    private long whole(final Type type) throws IOException {
        return switch (type) {
            case U8 -> in.u8();
            case I8 -> (byte) in.u8();
            case BOOL -> in.u8() == 0 ? 0 : 1;
            case U16 -> in.u16();
            case I16 -> (short) in.u16();
            case U32 -> in.u32();
            case I32 -> in.i32();
            case U64, I64 -> in.i64();
            case F32, F64, STRING, ARRAY -> throw new AssertionError(type);
        };
    }

    private static long alignment(final GgufValue value) throws MalformedException {
        if (value == null) {
            return DEFAULT_ALIGNMENT;
        }
        if (!(value instanceof GgufValue.Whole(Type type, long alignment)) || type != Type.U32) {
            throw new MalformedException("key '" + ALIGNMENT_KEY + "' is not a u32");
        }
        if (alignment > MAX_ALIGNMENT || Long.bitCount(alignment) != 1) {
            throw new MalformedException("alignment " + alignment + " is not a power of two up to " + MAX_ALIGNMENT);
        }
        return alignment;
    }

    private List<GgufTensor> tensors(final int count, final long alignment) throws IOException {
        final List<GgufTensor> tensors = new ArrayList<>();
        final Set<String> names = new HashSet<>();
        long next = 0;
        for (int i = 0; i < count; i++) {
            final GgufTensor tensor = tensor(i);
            if (!names.add(tensor.name())) {
                throw new MalformedException("duplicate tensor '" + tensor.name() + "'");
            }
            // ggml accepts no gaps either: each tensor starts where the one before it ends, padded.
            if (tensor.offset() != next) {
                throw new MalformedException("tensor '" + tensor.name() + "' starts at offset "
                        + Long.toUnsignedString(tensor.offset()) + " instead of " + next);
            }
            if (tensor.bytes() > in.size() - next) {
                throw new MalformedException("tensor '" + tensor.name() + "' of " + tensor.bytes()
                        + " bytes does not fit into the file of " + in.size());
            }
            next = align(next + tensor.bytes(), alignment);
            tensors.add(tensor);
        }
        return tensors;
    }

    private GgufTensor tensor(final int index) throws IOException {
        final String name = name("tensor " + index, MAX_NAME_BYTES);
        final long dimensions = in.u32();
        if (dimensions < 1 || dimensions > GgufTensor.MAX_DIMENSIONS) {
            throw new MalformedException("tensor '" + name + "' has " + dimensions + " dimensions");
        }
        final long[] shape = new long[(int) dimensions];
        for (int d = 0; d < shape.length; d++) {
            shape[d] = in.i64();
        }
        final int id = in.i32();
        final GgmlType type = GgmlType.ofId(id).orElseThrow(() -> new MalformedException(
                "tensor '" + name + "' has an unknown type " + Integer.toUnsignedString(id)));
        try {
            return new GgufTensor(name, type, shape, in.i64());
        } catch (final BadInputException e) {
            throw new MalformedException(e.where() + ": " + e.what(), e);
        }
    }

    static long align(final long position, final long alignment) {
        return position + alignment - 1 & -alignment;
    }

    private BadInputException bad(final String what, final Throwable cause) {
        return new BadInputException(what, path.toString(), "use a complete GGUF file of version 2 or 3", cause);
    }
}
