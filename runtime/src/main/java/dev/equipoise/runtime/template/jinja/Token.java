package dev.equipoise.runtime.template.jinja;

/**
 * A word of a template.
 *
 * @param text the literal's value for {@link Kind#DATA} and {@link Kind#STRING}, else as written
 * @param line where it starts, from 1
 */
record Token(Kind kind, String text, int line) {
    enum Kind {
        DATA,
        PRINT_OPEN,
        PRINT_CLOSE,
        TAG_OPEN,
        TAG_CLOSE,
        NAME,
        STRING,
        INTEGER,
        FLOAT,
        OPERATOR,
        END
    }

    boolean is(final Kind wanted, final String wantedText) {
        return kind == wanted && text.equals(wantedText);
    }
}
