package dev.equipoise.kernels;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Objects;

/**
 * A matrix of logits {@code [rows, vocabulary]}: row r is {@code values[r * stride .. r * stride + vocabulary)}.
 *
 * <p>A logit of negative infinity masks its token; NaN and positive infinity are refused by every kernel. The array is
 * not copied: it belongs to the caller, who leaves it alone during a call.
 *
 * @param values the logits, row after row
 * @param stride elements from one row's start to the next, at least {@code vocabulary}
 * @param vocabulary tokens per row, at least 1
 */
public record LogitRows(float[] values, int stride, int vocabulary) {
    /**
     * @throws BadInputException if the shape is impossible or the array too short for one row
     */
    public LogitRows {
        Objects.requireNonNull(values);
        if (vocabulary < 1 || stride < vocabulary || values.length < vocabulary) {
            throw new BadInputException("impossible matrix of logits",
                    values.length + " values, stride " + stride + ", vocabulary " + vocabulary,
                    "1 <= vocabulary <= stride, and values for at least one row");
        }
    }

    /** One row, the whole array. */
    public static LogitRows of(final float... row) {
        return new LogitRows(row, row.length, row.length);
    }

    /** How many whole rows the array holds; the last one needs no gap behind it. */
    public int rows() {
        return (values.length - vocabulary) / stride + 1;
    }

    /**
     * Where a row starts in {@link #values}.
     *
     * @throws BadInputException if there is no such row
     */
    public int start(final int row) {
        if (row < 0 || row >= rows()) {
            throw new BadInputException("no such row of logits", "row " + row, "rows are 0 to " + (rows() - 1));
        }
        return row * stride;
    }
}
