package dev.equipoise.kernels.error;

/** An object used after it was closed, or from a thread that does not own it. */
public final class LifetimeException extends EquipoiseException {
    private static final long serialVersionUID = 1L;

    /** See {@link EquipoiseException}. */
    public LifetimeException(final String what, final String where, final String remedy) {
        this(what, where, remedy, null);
    }

    /** See {@link EquipoiseException}. */
    public LifetimeException(final String what, final String where, final String remedy, final Throwable cause) {
        super(what, where, remedy, cause);
    }
}
