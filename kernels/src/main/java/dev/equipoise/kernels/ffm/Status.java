package dev.equipoise.kernels.ffm;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.EquipoiseException;
import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.kernels.error.UnavailableException;
import java.util.function.Supplier;

/**
 * {@code eqk_status} of {@code equipoise_kernels.h}, in its order, and the typed error each stands for.
 *
 * <p>Downcalls sit in a {@code try} because handles throw {@link Throwable}; their status is checked after it, so that
 * no handler there can swallow or reword what the kernel said.
 */
public enum Status {
    /** Nothing to report. */
    OK {
        @Override
        public EquipoiseException failure(final String where) {
            return new InternalException("success taken for a failure", where, REPORT);
        }
    },
    /** An argument out of range that Java should have refused. */
    BAD_ARGUMENT {
        @Override
        public EquipoiseException failure(final String where) {
            return new InternalException("a kernel refused its arguments", where, REPORT);
        }
    },
    /** NaN or infinity, given or computed. */
    NOT_FINITE {
        @Override
        public EquipoiseException failure(final String where) {
            return new BadInputException("NaN or infinity among logits, their combination or pixels", where,
                    "look at what made them: a damaged model file, a coefficient far too large");
        }
    },
    /** Every token is masked. */
    EMPTY_ROW {
        @Override
        public EquipoiseException failure(final String where) {
            return new BadInputException("no token can be drawn, every logit is masked", where,
                    "leave at least one logit of each row unmasked");
        }
    },
    /** An unknown tier, or no CUDA. */
    UNAVAILABLE {
        @Override
        public EquipoiseException failure(final String where) {
            return new UnavailableException("kernel not available", where, "use another provider of kernels");
        }
    },
    /** A failing CUDA call. */
    CUDA_ERROR {
        @Override
        public EquipoiseException failure(final String where) {
            return new UnavailableException("CUDA failed", where, "use another provider of kernels");
        }
    };

    private static final String REPORT = "report this with the message";

    private static final Status[] VALUES = values();

    /** The error this status stands for; where: the operation and its arguments. */
    public abstract EquipoiseException failure(String where);

    /** The status of a native number. */
    public static Status of(final int number) {
        if (number < 0 || number >= VALUES.length) {
            throw new InternalException("unknown status of a kernel", Integer.toString(number), REPORT);
        }
        return VALUES[number];
    }

    /**
     * Throws unless a call succeeded.
     *
     * @param number what the call returned
     * @param where the operation and its arguments, asked for only after a failure
     */
    public static void check(final int number, final Supplier<String> where) {
        if (number != 0) {
            throw of(number).failure(where.get());
        }
    }
}
