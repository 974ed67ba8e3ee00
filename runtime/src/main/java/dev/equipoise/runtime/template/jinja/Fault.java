package dev.equipoise.runtime.template.jinja;

/** A failed operation; the interpreter adds the line and makes it a {@link JinjaException}. */
final class Fault extends RuntimeException {
    private static final long serialVersionUID = 1L;

    Fault(final String message) {
        super(message, null, false, false);
    }
}
