package dev.equipoise.bench.cli;

import java.io.Console;

/** Output for people. */
final class Terminal {
    private Terminal() {}

    /** Text between quotes on one line: files and models may hold anything, and a terminal obeys control characters. */
    static String quoted(final String text) {
        return '"' + plain(text) + '"';
    }

    /** Text with its line breaks and control characters written out. */
    static String plain(final String text) {
        final StringBuilder plain = new StringBuilder();
        text.codePoints().forEach(c -> {
            switch (c) {
                case '\n' -> plain.append("\\n");
                case '\r' -> plain.append("\\r");
                case '\t' -> plain.append("\\t");
                default -> {
                    if (Character.isISOControl(c)) {
                        plain.append(String.format("\\u%04x", c));
                    } else {
                        plain.appendCodePoint(c);
                    }
                }
            }
        });
        return plain.toString();
    }

    /** Whether somebody watches, so that progress may be shown. */
    static boolean watched() {
        final Console console = System.console();
        return console != null && console.isTerminal();
    }
}
