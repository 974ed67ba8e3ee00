package dev.equipoise.decoding.expression;

/**
 * Between which values an expression stays. Infinite bounds say that it may overflow; NaN that it may have no value.
 *
 * @param low at most every value
 * @param high at least every value
 */
public record Bounds(double low, double high) {
    private static final Bounds NONE = new Bounds(Double.NaN, Double.NaN);

    /** The bounds of one number. */
    public static Bounds of(final double value) {
        return new Bounds(value, value);
    }

    /** Whether every value is a number of at most {@code size}. */
    public boolean within(final double size) {
        return low >= -size && high <= size;
    }

    /** Around all of some values; NaN among them makes the bounds NaN. */
    private static Bounds around(final double... values) {
        double low = values[0];
        double high = values[0];
        for (final double value : values) {
            low = Math.min(low, value);
            high = Math.max(high, value);
        }
        return new Bounds(low, high);
    }

    private boolean holdsZero() {
        return low <= 0 && high >= 0;
    }

    Bounds negative() {
        return new Bounds(-high, -low);
    }

    Bounds plus(final Bounds other) {
        return new Bounds(low + other.low, high + other.high);
    }

    Bounds times(final Bounds other) {
        return around(low * other.low, low * other.high, high * other.low, high * other.high);
    }

    Bounds over(final Bounds other) {
        return other.holdsZero() ? NONE : around(
                low / other.low, low / other.high, high / other.low, high / other.high);
    }

    Bounds power(final Bounds exponent) {
        final boolean whole = exponent.low == exponent.high && exponent.low == Math.rint(exponent.low);
        if (low > 0 || low == 0 && exponent.low > 0) {
            // Monotone in each of the two: the extremes are at the corners.
            return around(
                    Math.pow(low, exponent.low),
                    Math.pow(low, exponent.high),
                    Math.pow(high, exponent.low),
                    Math.pow(high, exponent.high));
        }
        if (!whole || exponent.low < 0) {
            return NONE;
        }
        final Bounds ends = around(Math.pow(low, exponent.low), Math.pow(high, exponent.low));
        return exponent.low % 2 == 0 && exponent.low > 0 && holdsZero() ? new Bounds(0, ends.high) : ends;
    }

    Bounds least(final Bounds other) {
        return new Bounds(Math.min(low, other.low), Math.min(high, other.high));
    }

    Bounds largest(final Bounds other) {
        return new Bounds(Math.max(low, other.low), Math.max(high, other.high));
    }

    Bounds absolute() {
        final Bounds ends = around(Math.abs(low), Math.abs(high));
        return holdsZero() ? new Bounds(0, ends.high) : ends;
    }
}
