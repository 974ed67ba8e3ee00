package dev.equipoise.kernels.cuda;

import dev.equipoise.kernels.LogitRows;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.LifetimeException;
import dev.equipoise.kernels.error.UnavailableException;
import jcuda.Pointer;
import jcuda.Sizeof;

/**
 * A matrix of logits {@code [rows, vocabulary]}, float32, without gaps, in memory of the first CUDA device that this
 * object owns. One thread at a time; any thread may close, more than once. Used after that, it throws
 * {@link LifetimeException}.
 */
public final class DeviceRows implements AutoCloseable {
    private final DeviceBuffer memory;
    private final int rows;
    private final int vocabulary;

    private DeviceRows(final DeviceBuffer memory, final int rows, final int vocabulary) {
        this.memory = memory;
        this.rows = rows;
        this.vocabulary = vocabulary;
    }

    /**
     * Rows of unspecified content.
     *
     * @param rows at least 1
     * @param vocabulary tokens per row, at least 1
     * @throws BadInputException if the shape is impossible
     * @throws UnavailableException if there is no device, or not that much memory on it
     */
    public static DeviceRows allocate(final int rows, final int vocabulary) {
        if (rows < 1 || vocabulary < 1) {
            throw new BadInputException("impossible matrix of logits", rows + " rows of " + vocabulary + " tokens",
                    "give at least one row and one token");
        }
        return new DeviceRows(DeviceBuffer.allocate((long) rows * vocabulary * Sizeof.FLOAT), rows, vocabulary);
    }

    /**
     * A copy of rows on the host.
     *
     * @throws UnavailableException as {@link #allocate}
     */
    public static DeviceRows copyOf(final LogitRows from) {
        final DeviceRows copy = allocate(from.rows(), from.vocabulary());
        try {
            for (int row = 0; row < copy.rows; row++) {
                copy.put(row, from.values(), from.start(row));
            }
            return copy;
        } catch (final RuntimeException e) {
            copy.close();
            throw e;
        }
    }

    /** How many rows. */
    public int rows() {
        return rows;
    }

    /** Tokens per row. */
    public int vocabulary() {
        return vocabulary;
    }

    /**
     * Writes a row.
     *
     * @param row which one
     * @param logits {@code [vocabulary]} values from {@code start} on
     * @param start where they begin
     * @throws BadInputException if there is no such row, or the array is too short
     */
    public void put(final int row, final float[] logits, final int start) {
        final long offset = offset(row);
        requireRoom(logits, start);
        memory.put(offset, Pointer.to(logits).withByteOffset((long) start * Sizeof.FLOAT), rowBytes());
    }

    /**
     * Reads a row, when all launches that write it are done.
     *
     * @param row which one
     * @param to receives {@code [vocabulary]} values at its start
     * @throws BadInputException if there is no such row, or the array is too short
     */
    public void get(final int row, final float[] to) {
        final long offset = offset(row);
        requireRoom(to, 0);
        memory.get(offset, Pointer.to(to), rowBytes());
    }

    @Override
    public void close() {
        memory.close();
    }

    /** The device address of a row. */
    long address(final int row) {
        return memory.address() + offset(row);
    }

    /** Refuses a row that is not here. */
    long offset(final int row) {
        if (row < 0 || row >= rows) {
            throw new BadInputException("no such row of logits", "row " + row, "rows are 0 to " + (rows - 1));
        }
        return row * rowBytes();
    }

    private long rowBytes() {
        return (long) vocabulary * Sizeof.FLOAT;
    }

    private void requireRoom(final float[] array, final int start) {
        if (start < 0 || start > array.length - vocabulary) {
            throw new BadInputException("an array too short for a row", array.length + " values, a row of " + vocabulary
                    + " from " + start + " on", "give one value for every token of the vocabulary");
        }
    }
}
