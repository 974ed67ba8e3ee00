package dev.equipoise.kernels.error;

/** A file, prompt, strategy or argument that cannot be used as it is; nothing was changed by the attempt. */
public non-sealed class BadInputException extends EquipoiseException {
    private static final long serialVersionUID = 1L;

    /** See {@link EquipoiseException}. */
    public BadInputException(final String what, final String where, final String remedy) {
        this(what, where, remedy, null);
    }

    /** See {@link EquipoiseException}. */
    public BadInputException(final String what, final String where, final String remedy, final Throwable cause) {
        super(what, where, remedy, cause);
    }
}
