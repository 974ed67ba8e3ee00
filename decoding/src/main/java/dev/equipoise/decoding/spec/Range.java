package dev.equipoise.decoding.spec;

import dev.equipoise.kernels.error.BadInputException;

/**
 * The finite numbers that a parameter may have.
 *
 * @param least smallest allowed value, or the value just not allowed if {@code open}
 * @param most largest allowed value
 * @param open whether {@code least} itself is excluded
 */
public record Range(double least, double most, boolean open) {
    /** All numbers from {@code least} to {@code most}, both included. */
    public static Range of(final double least, final double most) {
        return new Range(least, most, false);
    }

    /** All numbers above {@code least}, up to and including {@code most}. */
    public static Range above(final double least, final double most) {
        return new Range(least, most, true);
    }

    /** Whether {@code value} is one of them; NaN never is. */
    public boolean holds(final double value) {
        return (open ? value > least : value >= least) && value <= most;
    }

    /** The remedy for a value outside. */
    public String remedy() {
        return "choose " + (open ? "above " : "") + plain(least) + (open ? " and up to " : "..") + plain(most);
    }

    /**
     * The value, if it is allowed; negative zero becomes zero, so that equal behaviour has one spelling.
     *
     * @param name the parameter, for the message
     */
    public double require(final String name, final double value) {
        if (!holds(value)) {
            throw new BadInputException(name + " out of range", name + " " + value, remedy());
        }
        return value + 0.0;
    }

    private static String plain(final double value) {
        return value == Math.rint(value) && Math.abs(value) < 1e15 ? Long.toString((long) value)
                : Double.toString(value);
    }
}
