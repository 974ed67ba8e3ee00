package dev.equipoise.kernels.error;

import java.util.Objects;

/**
 * An error that says what is wrong, where, and what to do about it, each in one line.
 *
 * <p>The command line prints it as {@code equipoise: WHAT: WHERE: REMEDY} and derives its exit code from the subclass.
 */
public abstract sealed class EquipoiseException extends RuntimeException
        permits BadInputException, UnavailableException, LifetimeException, InternalException {
    private static final long serialVersionUID = 1L;

    private final String what;
    private final String where;
    private final String remedy;

    /**
     * @param what the fault, for example {@code "not a GGUF file"}
     * @param where the file, key, argument or object it was found in
     * @param remedy what the reader can do
     * @param cause the underlying failure, or null
     */
    protected EquipoiseException(
            final String what, final String where, final String remedy, final Throwable cause) {
        super(line(what) + ": " + line(where) + ": " + line(remedy), cause);
        this.what = line(what);
        this.where = line(where);
        this.remedy = line(remedy);
    }

    /** What is wrong. */
    public final String what() {
        return what;
    }

    /** Where it was found. */
    public final String where() {
        return where;
    }

    /** What to do about it. */
    public final String remedy() {
        return remedy;
    }

    // Messages quote file contents and native logs, which may hold line breaks; the contract is one line.
    private static String line(final String text) {
        return Objects.requireNonNull(text).strip().replaceAll("\\R+", " ");
    }
}
