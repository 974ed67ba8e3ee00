package dev.equipoise.kernels.error;

/** A native library, device or model feature that this machine or build does not have. */
public final class UnavailableException extends EquipoiseException {
    private static final long serialVersionUID = 1L;

    /** See {@link EquipoiseException}. */
    public UnavailableException(final String what, final String where, final String remedy) {
        this(what, where, remedy, null);
    }

    /** See {@link EquipoiseException}. */
    public UnavailableException(final String what, final String where, final String remedy, final Throwable cause) {
        super(what, where, remedy, cause);
    }
}
