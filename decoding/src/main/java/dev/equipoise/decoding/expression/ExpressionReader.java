package dev.equipoise.decoding.expression;

import dev.equipoise.decoding.expression.Expression.Binary;
import dev.equipoise.decoding.expression.Expression.Call;
import dev.equipoise.decoding.expression.Expression.Function;
import dev.equipoise.decoding.expression.Expression.Negative;
import dev.equipoise.decoding.expression.Expression.Operator;
import dev.equipoise.kernels.error.BadInputException;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * Reads expressions: numbers, names, {@code + - * / ^}, parentheses, {@code min max exp expm1 log sqrt abs}. A sign
 * binds less than a power: {@code -2^2} is -4.
 */
public final class ExpressionReader {
    /** Longest text, in UTF-16 units. */
    public static final int MAX_LENGTH = 1000;

    private static final int MAX_DEPTH = 64;

    private final String text;
    private final String where;
    private final Set<String> names;
    private final Set<String> rows;
    private int at;
    private int depth;

    private ExpressionReader(
            final String text, final String where, final Set<String> names, final Set<String> rows) {
        this.text = text;
        this.where = where;
        this.names = names;
        this.rows = rows;
    }

    /**
     * The expression of a text.
     *
     * @param where where the text stands, for messages
     * @param names which names it may use, beside {@code t}
     * @param rows of which rows it may ask the entropy
     * @throws BadInputException naming the place and the column, counted from 1, of what cannot be read
     */
    public static Expression read(
            final String text, final String where, final Set<String> names, final Set<String> rows) {
        final ExpressionReader reader = new ExpressionReader(text, where, names, rows);
        if (text.length() > MAX_LENGTH) {
            throw reader.fault("expression too long", "keep it below " + MAX_LENGTH + " characters");
        }
        final Expression expression = reader.sum();
        if (reader.peek() != 0) {
            throw reader.fault("unexpected '" + reader.peek() + "'", "write an operator before it, or remove it");
        }
        return expression;
    }

    private BadInputException fault(final String what, final String remedy) {
        return new BadInputException(what, where + " column " + (at + 1), remedy);
    }

    private char peek() {
        while (at < text.length() && text.charAt(at) == ' ') {
            at++;
        }
        return at < text.length() ? text.charAt(at) : 0;
    }

    private boolean accept(final char wanted) {
        if (peek() != wanted) {
            return false;
        }
        at++;
        return true;
    }

    private Expression sum() {
        Expression left = product();
        while (true) {
            if (accept('+')) {
                left = new Binary(Operator.ADD, left, product());
            } else if (accept('-')) {
                left = new Binary(Operator.SUBTRACT, left, product());
            } else {
                return left;
            }
        }
    }

    private Expression product() {
        Expression left = signed();
        while (true) {
            if (accept('*')) {
                left = new Binary(Operator.MULTIPLY, left, signed());
            } else if (accept('/')) {
                left = new Binary(Operator.DIVIDE, left, signed());
            } else {
                return left;
            }
        }
    }

    private Expression signed() {
        descend();
        final Expression found = accept('-') ? Negative.negative(signed()) : power();
        depth--;
        return found;
    }

    private Expression power() {
        final Expression base = atom();
        return accept('^') ? new Binary(Operator.POWER, base, signed()) : base;
    }

    private void descend() {
        depth++;
        if (depth > MAX_DEPTH) {
            throw fault("expression nested too deep", "keep it below " + MAX_DEPTH + " levels");
        }
    }

    private Expression atom() {
        if (accept('(')) {
            final Expression inside = sum();
            close();
            return inside;
        }
        final char first = peek();
        if (first >= '0' && first <= '9' || first == '.') {
            return number();
        }
        if (isLetter(first)) {
            return named();
        }
        throw fault(first == 0 ? "expression ends too early" : "unexpected '" + first + "'",
                "write a number, a name or a parenthesis");
    }

    private void close() {
        if (!accept(')')) {
            throw fault("parenthesis that is not closed", "close it");
        }
    }

    private Expression number() {
        final int start = at;
        while (at < text.length() && isPartOfNumber(start)) {
            at++;
        }
        final double value;
        try {
            value = Double.parseDouble(text.substring(start, at));
        } catch (final NumberFormatException e) {
            throw new BadInputException(
                    "not a number", where + " column " + (start + 1), "write it as 0.5 or 1e-3", e);
        }
        if (!Double.isFinite(value)) {
            throw fault("number too large", "write a smaller one");
        }
        return Expression.of(value);
    }

    private boolean isPartOfNumber(final int start) {
        final char c = text.charAt(at);
        final boolean exponent = at > start && (text.charAt(at - 1) == 'e' || text.charAt(at - 1) == 'E');
        return c >= '0' && c <= '9' || c == '.' || c == 'e' || c == 'E' || exponent && (c == '-' || c == '+');
    }

    private Expression named() {
        final int start = at;
        while (at < text.length() && (isLetter(text.charAt(at)) || text.charAt(at) >= '0' && text.charAt(at) <= '9')) {
            at++;
        }
        final String name = text.substring(start, at);
        if (peek() == '(' && name.equals(Expression.Entropy.NAME)) {
            return entropy();
        }
        if (peek() == '(') {
            return call(name, start);
        }
        if (name.equals(Expression.Token.NAME)) {
            return new Expression.Token();
        }
        if (!names.contains(name)) {
            at = start;
            throw fault("unknown name \"" + name + "\"",
                    "use t, a number" + (names.isEmpty() ? "" : ", " + String.join(", ", names)));
        }
        return new Expression.Name(name);
    }

    private Expression entropy() {
        accept('(');
        peek();
        final int start = at;
        // Branches may be called what no name in an expression could be.
        while (at < text.length() && text.charAt(at) != ')') {
            at++;
        }
        final String row = text.substring(start, at).strip();
        if (!rows.contains(row)) {
            at = start;
            throw fault("entropy of no row: \"" + row + "\"", "write entropy(ROW) of " + String.join(", ", rows));
        }
        close();
        return new Expression.Entropy(row);
    }

    private Expression call(final String name, final int start) {
        final Function function = Function.named(name).orElseThrow(() -> {
            at = start;
            return fault(
                    "unknown function \"" + name + "\"",
                    "use min, max, exp, expm1, log, sqrt, abs or entropy(ROW)");
        });
        accept('(');
        final List<Expression> arguments = new ArrayList<>();
        do {
            arguments.add(sum());
        } while (accept(','));
        close();
        if (arguments.size() != function.arguments()) {
            throw fault(name + " of " + arguments.size() + " values", "give it " + function.arguments());
        }
        return new Call(function, arguments);
    }

    /** Whether a name may contain it anywhere. */
    private static boolean isLetter(final char c) {
        return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_';
    }

    /** Whether a text can be a name: a letter, then letters, digits and underscores, and nothing that means else. */
    public static boolean isName(final String text) {
        return text.matches("[A-Za-z_][A-Za-z0-9_]{0,63}")
                && !text.equals(Expression.Token.NAME)
                && !text.equals(Expression.Entropy.NAME)
                && Function.named(text).isEmpty();
    }
}
