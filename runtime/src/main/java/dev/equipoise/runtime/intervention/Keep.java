package dev.equipoise.runtime.intervention;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Objects;
import java.util.OptionalDouble;

/**
 * How many of a span's tokens stay.
 *
 * @param count so many, at least 0; all, if there are fewer
 * @param share as a share of the span's tokens, 0..1, rounded up; then {@code count} is of no consequence
 */
public record Keep(int count, OptionalDouble share) {
    public Keep {
        Objects.requireNonNull(share);
        final double part = share.orElse(0);
        if (count < 0 || !(part >= 0 && part <= 1)) {
            throw new BadInputException(
                    "a number of tokens that cannot stay", count + ", share " + share, "choose 0 or more, 0..1");
        }
        count = share.isPresent() ? 0 : count;
    }

    /** So many. */
    public static Keep of(final int count) {
        return new Keep(count, OptionalDouble.empty());
    }

    /** How many that is of so many. */
    public int in(final int all) {
        return share.isPresent() ? (int) Math.ceil(share.getAsDouble() * all) : Math.min(count, all);
    }
}
