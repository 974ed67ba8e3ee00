package dev.equipoise.runtime.template.jinja;

/** A template that cannot be parsed, or that fails or refuses while it is rendered. */
public final class JinjaException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private final int line;

    /**
     * A fault.
     *
     * @param line the template's line, from 1; 0 if it is not known
     */
    public JinjaException(final String message, final int line) {
        super(message);
        this.line = line;
    }

    /** The template's line, from 1; 0 if it is not known. */
    public int line() {
        return line;
    }
}
