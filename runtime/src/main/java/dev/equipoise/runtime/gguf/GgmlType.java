package dev.equipoise.runtime.gguf;

import dev.equipoise.kernels.error.BadInputException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Optional;

/**
 * How the numbers of a tensor are stored: {@link #blockSize()} elements share {@link #blockBytes()} bytes.
 *
 * <p>Every type that ggml's file format knows is listed; {@link #quantise} and {@link #dequantise} work for
 * {@link #F32}, {@link #F16}, {@link #BF16}, {@link #Q8_0} and {@link #Q4_0}, bit for bit as ggml's reference does.
 */
public enum GgmlType {
    F32(0, 1, 4),
    F16(1, 1, 2),
    Q4_0(2, 32, 18),
    Q4_1(3, 32, 20),
    Q5_0(6, 32, 22),
    Q5_1(7, 32, 24),
    Q8_0(8, 32, 34),
    Q8_1(9, 32, 36),
    Q2_K(10, 256, 84),
    Q3_K(11, 256, 110),
    Q4_K(12, 256, 144),
    Q5_K(13, 256, 176),
    Q6_K(14, 256, 210),
    Q8_K(15, 256, 292),
    IQ2_XXS(16, 256, 66),
    IQ2_XS(17, 256, 74),
    IQ3_XXS(18, 256, 98),
    IQ1_S(19, 256, 50),
    IQ4_NL(20, 32, 18),
    IQ3_S(21, 256, 110),
    IQ2_S(22, 256, 82),
    IQ4_XS(23, 256, 136),
    I8(24, 1, 1),
    I16(25, 1, 2),
    I32(26, 1, 4),
    I64(27, 1, 8),
    F64(28, 1, 8),
    IQ1_M(29, 256, 56),
    BF16(30, 1, 2),
    TQ1_0(34, 256, 54),
    TQ2_0(35, 256, 66),
    MXFP4(39, 32, 17),
    NVFP4(40, 64, 36),
    Q1_0(41, 128, 18),
    Q2_0(42, 64, 18);

    private static final GgmlType[] BY_ID = new GgmlType[43];

    static {
        for (final GgmlType type : values()) {
            BY_ID[type.id] = type;
        }
    }

    private final int id;
    private final int blockSize;
    private final int blockBytes;

    GgmlType(final int id, final int blockSize, final int blockBytes) {
        this.id = id;
        this.blockSize = blockSize;
        this.blockBytes = blockBytes;
    }

    /** The type with this number in the file format, or empty for numbers that are unknown or were withdrawn. */
    public static Optional<GgmlType> ofId(final int id) {
        return id < 0 || id >= BY_ID.length ? Optional.empty() : Optional.ofNullable(BY_ID[id]);
    }

    /** The number of this type in the file format. */
    public int id() {
        return id;
    }

    /** Elements in a block. */
    public int blockSize() {
        return blockSize;
    }

    /** Bytes of a block. */
    public int blockBytes() {
        return blockBytes;
    }

    /**
     * Bytes of that many elements.
     *
     * @param elements a multiple of {@link #blockSize()}
     * @throws ArithmeticException if the number of bytes exceeds a long
     */
    public long bytes(final long elements) {
        return Math.multiplyExact(elements / blockSize, blockBytes);
    }

    /** Whether {@link #quantise} and {@link #dequantise} work for this type. */
    public boolean convertible() {
        return switch (this) {
            case F32, F16, BF16, Q8_0, Q4_0 -> true;
            default -> false;
        };
    }

    /**
     * Encodes floats.
     *
     * @param values {@code count} elements from {@code first}; the count is a multiple of {@link #blockSize()}
     * @param out receives {@code bytes(count)} bytes at its position
     * @throws BadInputException if the type cannot be written, the count is not a whole number of blocks, or a value
     *     that goes into a quantised block is not finite
     */
    public void quantise(final float[] values, final int first, final int count, final ByteBuffer out) {
        requireBlocks(count);
        out.order(ByteOrder.LITTLE_ENDIAN);
        for (int i = first; i < first + count; i += blockSize) {
            switch (this) {
                case F32 -> out.putFloat(values[i]);
                case F16 -> out.putShort(BlockCodec.toHalf(values[i]));
                case BF16 -> out.putShort(BlockCodec.toBrain(values[i]));
                case Q8_0 -> BlockCodec.quantiseQ8(values, i, out);
                case Q4_0 -> BlockCodec.quantiseQ4(values, i, out);
                default -> throw notConvertible();
            }
        }
    }

    /**
     * Decodes floats.
     *
     * @param in {@code bytes(count)} bytes from its position
     * @param values receives {@code count} elements from {@code first}; a multiple of {@link #blockSize()}
     * @throws BadInputException if the type cannot be decoded here or the count is not a whole number of blocks
     */
    public void dequantise(final ByteBuffer in, final float[] values, final int first, final int count) {
        requireBlocks(count);
        in.order(ByteOrder.LITTLE_ENDIAN);
        for (int i = first; i < first + count; i += blockSize) {
            switch (this) {
                case F32 -> values[i] = in.getFloat();
                case F16 -> values[i] = Float.float16ToFloat(in.getShort());
                case BF16 -> values[i] = Float.intBitsToFloat(in.getShort() << 16);
                case Q8_0 -> BlockCodec.dequantiseQ8(in, values, i);
                case Q4_0 -> BlockCodec.dequantiseQ4(in, values, i);
                default -> throw notConvertible();
            }
        }
    }

    private void requireBlocks(final int count) {
        if (!convertible()) {
            throw notConvertible();
        }
        if (count % blockSize != 0) {
            throw new BadInputException(count + " elements are not whole blocks of " + blockSize, "type " + this,
                    "use rows that are a multiple of the block size");
        }
    }

    private BadInputException notConvertible() {
        return new BadInputException("no conversion between float and " + this, "tensor type",
                "use one of F32, F16, BF16, Q8_0, Q4_0");
    }
}
