package dev.equipoise.runtime.template.jinja;

import dev.equipoise.runtime.template.jinja.Token.Kind;
import java.util.ArrayList;
import java.util.List;

/** Cuts a template into tokens, with the white-space rules that chat templates assume (trim_blocks, lstrip_blocks). */
final class Lexer {
    private static final List<String> OPERATORS = List.of(
            "**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "(", ")", "[", "]", "{", "}", "<", ">",
            "=", ".", ":", "|", ",");

    private final String source;
    private final List<Token> tokens = new ArrayList<>();
    private int position;
    private int line = 1;
    // Whether only a line break (or nothing) lies before the current position: where lstrip_blocks may strip.
    private boolean lineStart = true;

    private Lexer(final String source) {
        this.source = source;
    }

    static List<Token> tokens(final String template) {
        final String normal = template.replace("\r\n", "\n").replace('\r', '\n');
        // Jinja drops one line break at the end of a template.
        final Lexer lexer = new Lexer(normal.endsWith("\n") ? normal.substring(0, normal.length() - 1) : normal);
        lexer.run();
        return lexer.tokens;
    }

    private void run() {
        while (position < source.length()) {
            final int open = nextOpening(position);
            if (open < 0) {
                data(source.substring(position));
                position = source.length();
                break;
            }
            final char kind = source.charAt(open + 1);
            final char control = open + 2 < source.length() ? source.charAt(open + 2) : ' ';
            data(stripped(source.substring(position, open), kind, control));
            countLines(position, open);
            position = open + 2 + (control == '-' || control == '+' ? 1 : 0);
            switch (kind) {
                case '#' -> comment();
                case '{' -> expression(Kind.PRINT_OPEN, Kind.PRINT_CLOSE, "}}");
                default -> {
                    if (!raw()) {
                        expression(Kind.TAG_OPEN, Kind.TAG_CLOSE, "%}");
                    }
                }
            }
        }
        tokens.add(new Token(Kind.END, "end of template", line));
    }

    private int nextOpening(final int from) {
        for (int i = source.indexOf('{', from); i >= 0 && i + 1 < source.length(); i = source.indexOf('{', i + 1)) {
            if ("{%#".indexOf(source.charAt(i + 1)) >= 0) {
                return i;
            }
        }
        return -1;
    }

    private void data(final String text) {
        if (!text.isEmpty()) {
            tokens.add(new Token(Kind.DATA, text, line));
        }
    }

    private String stripped(final String text, final char kind, final char control) {
        if (control == '-') {
            return Strings.strip(text, null, false, true);
        }
        if (kind == '{' || control == '+') {
            return text;
        }
        final int lastLine = text.lastIndexOf('\n') + 1;
        final boolean indentation = (lastLine > 0 || lineStart) && text.substring(lastLine).isBlank();
        return indentation ? text.substring(0, lastLine) : text;
    }

    private void comment() {
        final int end = source.indexOf("#}", position);
        if (end < 0) {
            throw new JinjaException("comment without end", line);
        }
        countLines(position, end);
        final char control = end > position ? source.charAt(end - 1) : ' ';
        position = end + 2;
        afterBlock(control);
    }

    /** Consumes a raw block whose tag starts here; false if the tag is another one. */
    private boolean raw() {
        final int close = source.indexOf("%}", position);
        if (close < 0 || !word(position, close).equals("raw")) {
            return false;
        }
        final int from = close + 2;
        for (int open = source.indexOf("{%", from); open >= 0; open = source.indexOf("{%", open + 2)) {
            final int end = source.indexOf("%}", open);
            if (end < 0) {
                break;
            }
            if (word(open + 2, end).equals("endraw")) {
                data(source.substring(from, open));
                countLines(position, end);
                position = end + 2;
                afterBlock(source.charAt(end - 1));
                return true;
            }
        }
        throw new JinjaException("raw block without end", line);
    }

    private String word(final int from, final int to) {
        return Strings.strip(source.substring(from, to), " \n\t-+", true, true);
    }

    private void expression(final Kind open, final Kind close, final String mark) {
        tokens.add(new Token(open, source.substring(position - 1, position), line));
        int depth = 0;
        while (true) {
            skipSpace();
            if (position >= source.length()) {
                throw new JinjaException("tag without its end " + mark, line);
            }
            final char control = source.charAt(position);
            final boolean controlled = (control == '-' || control == '+') && source.startsWith(mark, position + 1);
            if (depth == 0 && (controlled || source.startsWith(mark, position))) {
                tokens.add(new Token(close, mark, line));
                position += mark.length() + (controlled ? 1 : 0);
                if (close == Kind.TAG_CLOSE) {
                    afterBlock(controlled ? control : ' ');
                } else {
                    afterPrint(controlled ? control : ' ');
                }
                return;
            }
            final String operator = word();
            if (operator.length() == 1) {
                depth += "([{".contains(operator) ? 1 : ")]}".contains(operator) ? -1 : 0;
            }
        }
    }

    private void afterPrint(final char control) {
        lineStart = control == '-' && skipSpace();
    }

    private void afterBlock(final char control) {
        if (control == '-') {
            lineStart = skipSpace();
        } else {
            lineStart = control != '+' && position < source.length() && source.charAt(position) == '\n';
            if (lineStart) {
                position++;
                line++;
            }
        }
    }

    /** Skips white space; true if it ended with a line break. */
    private boolean skipSpace() {
        boolean lineBreak = false;
        while (position < source.length() && Strings.isSpace(source.charAt(position))) {
            lineBreak = source.charAt(position++) == '\n';
            if (lineBreak) {
                line++;
            }
        }
        return lineBreak;
    }

    /** Reads one token inside a tag; returns the operator, or an empty text for another token. */
    private String word() {
        final char c = source.charAt(position);
        if (c == '\'' || c == '"') {
            string(c);
            return "";
        }
        if (c >= '0' && c <= '9') {
            number();
            return "";
        }
        if (Character.isUnicodeIdentifierStart(c) || c == '_') {
            int end = position + 1;
            while (end < source.length()
                    && (Character.isUnicodeIdentifierPart(source.charAt(end)) || source.charAt(end) == '_')) {
                end++;
            }
            add(Kind.NAME, end);
            return "";
        }
        for (final String operator : OPERATORS) {
            if (source.startsWith(operator, position)) {
                add(Kind.OPERATOR, position + operator.length());
                return operator;
            }
        }
        throw new JinjaException("unexpected character '" + c + "'", line);
    }

    private void add(final Kind kind, final int end) {
        tokens.add(new Token(kind, source.substring(position, end), line));
        position = end;
    }

    private void number() {
        int end = digits(position);
        Kind kind = Kind.INTEGER;
        if (end + 1 < source.length() && source.charAt(end) == '.' && digits(end + 1) > end + 1) {
            kind = Kind.FLOAT;
            end = digits(end + 1);
        }
        if (end < source.length() && (source.charAt(end) == 'e' || source.charAt(end) == 'E')) {
            final int sign = end + 1 < source.length() && "+-".indexOf(source.charAt(end + 1)) >= 0 ? 1 : 0;
            if (digits(end + 1 + sign) > end + 1 + sign) {
                kind = Kind.FLOAT;
                end = digits(end + 1 + sign);
            }
        }
        add(kind, end);
    }

    private int digits(final int from) {
        int end = from;
        while (end < source.length()
                && (source.charAt(end) >= '0' && source.charAt(end) <= '9' || source.charAt(end) == '_')) {
            end++;
        }
        return end;
    }

    private void string(final char quote) {
        final int started = line;
        final StringBuilder value = new StringBuilder();
        int i = position + 1;
        while (i < source.length() && source.charAt(i) != quote) {
            if (source.charAt(i) == '\n') {
                line++;
            }
            i = source.charAt(i) == '\\' ? escape(i + 1, value) : append(i, value);
        }
        if (i >= source.length()) {
            throw new JinjaException("text without closing quote", started);
        }
        tokens.add(new Token(Kind.STRING, value.toString(), started));
        position = i + 1;
    }

    private int append(final int at, final StringBuilder value) {
        value.append(source.charAt(at));
        return at + 1;
    }

    // Python's escapes; an unknown one keeps its backslash.
    private int escape(final int at, final StringBuilder value) {
        if (at >= source.length()) {
            return at;
        }
        final char c = source.charAt(at);
        final int plain = "ntrbf0\\'\"".indexOf(c);
        if (plain >= 0) {
            value.append("\n\t\r\b\f\0\\'\"".charAt(plain));
            return at + 1;
        }
        final int length = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
        if (length > 0 && at + 1 + length <= source.length()) {
            try {
                value.appendCodePoint(Integer.parseInt(source, at + 1, at + 1 + length, 16));
                return at + 1 + length;
            } catch (final IllegalArgumentException e) {
                throw new JinjaException("malformed escape \\" + c, line);
            }
        }
        value.append('\\').append(c);
        return at + 1;
    }

    private void countLines(final int from, final int to) {
        for (int i = from; i < to; i++) {
            if (source.charAt(i) == '\n') {
                line++;
            }
        }
    }
}
