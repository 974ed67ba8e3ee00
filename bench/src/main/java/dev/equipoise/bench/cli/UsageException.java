package dev.equipoise.bench.cli;

import dev.equipoise.kernels.error.BadInputException;
import java.util.function.Supplier;

/** A value of an option that cannot be meant, whatever file it is used with: a usage error, not bad input. */
final class UsageException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final BadInputException refused;

    /** What the API says of the value. */
    UsageException(final BadInputException refused) {
        super(refused);
        this.refused = refused;
    }

    /** Makes something of nothing but values of options. */
    static <T> T of(final Supplier<T> made) {
        try {
            return made.get();
        } catch (final BadInputException e) {
            throw new UsageException(e);
        }
    }

    BadInputException refused() {
        return refused;
    }
}
