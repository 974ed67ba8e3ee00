package dev.equipoise.kernels.error;

/** A broken promise inside Equipoise or llama.cpp: a bug to report. */
public final class InternalException extends EquipoiseException {
    private static final long serialVersionUID = 1L;

    /** See {@link EquipoiseException}. */
    public InternalException(final String what, final String where, final String remedy) {
        this(what, where, remedy, null);
    }

    /** See {@link EquipoiseException}. */
    public InternalException(final String what, final String where, final String remedy, final Throwable cause) {
        super(what, where, remedy, cause);
    }
}
