package dev.equipoise.runtime.template.jinja;

import dev.equipoise.runtime.template.jinja.Expression.Arguments;
import dev.equipoise.runtime.template.jinja.Token.Kind;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Reads expressions with Jinja's precedence, loosest first: if-else, or, and, not, comparison, sum, ~, product, power,
 * sign, filters and tests.
 */
final class ExpressionParser {
    private static final int MAX_NESTING = 200;
    private static final Set<String> COMPARISONS = Set.of("==", "!=", "<", "<=", ">", ">=");
    // Names that end a test without parentheses: "x is defined and y".
    private static final Set<String> TEST_ENDS = Set.of("else", "or", "and", "is", "if", "in", "not", "recursive");

    private final TokenStream tokens;
    private int nesting;

    ExpressionParser(final TokenStream tokens) {
        this.tokens = tokens;
    }

    /** Names to assign to: {@code a}, {@code a, b} or {@code (a, b)}. */
    List<String> targets() {
        final boolean parenthesised = tokens.accept(Kind.OPERATOR, "(");
        final List<String> names = new ArrayList<>();
        do {
            names.add(tokens.name());
        } while (tokens.accept(Kind.OPERATOR, ","));
        if (parenthesised) {
            tokens.expect(Kind.OPERATOR, ")");
        }
        return names;
    }

    /** An expression, or several with commas between them as a list. */
    Expression tuple() {
        final Expression first = expression();
        if (!tokens.peek().is(Kind.OPERATOR, ",")) {
            return first;
        }
        final List<Expression> items = new ArrayList<>(List.of(first));
        while (tokens.accept(Kind.OPERATOR, ",")) {
            final Kind next = tokens.peek().kind();
            if (next == Kind.PRINT_CLOSE || next == Kind.TAG_CLOSE || tokens.peek().is(Kind.OPERATOR, ")")) {
                break;
            }
            items.add(expression());
        }
        return new Expression.ListOf(items);
    }

    Expression expression() {
        if (++nesting > MAX_NESTING) {
            throw tokens.fault("expression nested deeper than " + MAX_NESTING);
        }
        Expression result = withoutConditional();
        while (tokens.accept(Kind.NAME, "if")) {
            final Expression condition = withoutConditional();
            final Optional<Expression> otherwise =
                    tokens.accept(Kind.NAME, "else") ? Optional.of(expression()) : Optional.empty();
            result = new Expression.Conditional(condition, result, otherwise);
        }
        nesting--;
        return result;
    }

    /** An expression that leaves a following {@code if} alone, as the source of a loop needs. */
    Expression withoutConditional() {
        Expression left = and();
        while (tokens.accept(Kind.NAME, "or")) {
            left = new Expression.Or(left, and());
        }
        return left;
    }

    private Expression and() {
        Expression left = not();
        while (tokens.accept(Kind.NAME, "and")) {
            left = new Expression.And(left, not());
        }
        return left;
    }

    private Expression not() {
        int negations = 0;
        while (tokens.accept(Kind.NAME, "not")) {
            negations++;
        }
        final Expression operand = comparison();
        // A double negation is kept: it makes a truth value of anything.
        return switch (negations) {
            case 0 -> operand;
            default -> negations % 2 == 1 ? new Expression.Not(operand)
                    : new Expression.Not(new Expression.Not(operand));
        };
    }

    private Expression comparison() {
        final Expression first = sum();
        final List<Expression> operands = new ArrayList<>(List.of(first));
        final List<String> operators = new ArrayList<>();
        while (true) {
            final Token token = tokens.peek();
            if (token.kind() == Kind.OPERATOR && COMPARISONS.contains(token.text())) {
                operators.add(tokens.next().text());
            } else if (tokens.accept(Kind.NAME, "in")) {
                operators.add("in");
            } else if (token.is(Kind.NAME, "not") && tokens.peek(1).is(Kind.NAME, "in")) {
                tokens.next();
                tokens.next();
                operators.add("not in");
            } else {
                return operators.isEmpty() ? first : new Expression.Comparison(operands, operators);
            }
            operands.add(sum());
        }
    }

    private Expression sum() {
        Expression left = concatenation();
        while (tokens.peek().is(Kind.OPERATOR, "+") || tokens.peek().is(Kind.OPERATOR, "-")) {
            left = new Expression.Binary(tokens.next().text(), left, concatenation());
        }
        return left;
    }

    private Expression concatenation() {
        Expression left = product();
        while (tokens.accept(Kind.OPERATOR, "~")) {
            left = new Expression.Binary("~", left, product());
        }
        return left;
    }

    private Expression product() {
        Expression left = power();
        while (tokens.peek().kind() == Kind.OPERATOR
                && Set.of("*", "/", "//", "%").contains(tokens.peek().text())) {
            left = new Expression.Binary(tokens.next().text(), left, power());
        }
        return left;
    }

    private Expression power() {
        Expression left = unary(true);
        while (tokens.accept(Kind.OPERATOR, "**")) {
            left = new Expression.Binary("**", left, unary(true));
        }
        return left;
    }

    private Expression unary(final boolean filters) {
        if (++nesting > MAX_NESTING) {
            throw tokens.fault("expression nested deeper than " + MAX_NESTING);
        }
        final Expression operand;
        if (tokens.accept(Kind.OPERATOR, "-")) {
            operand = new Expression.Negative(unary(false));
        } else if (tokens.accept(Kind.OPERATOR, "+")) {
            operand = unary(false);
        } else {
            operand = postfix(primary());
        }
        nesting--;
        return filters ? filtersAndTests(operand) : operand;
    }

    private Expression primary() {
        final Token token = tokens.next();
        switch (token.kind()) {
            case NAME:
                return switch (token.text()) {
                    case "true", "True" -> new Expression.Literal(true);
                    case "false", "False" -> new Expression.Literal(false);
                    case "none", "None" -> new Expression.Literal(null);
                    default -> new Expression.Name(token.text());
                };
            case STRING:
                final StringBuilder text = new StringBuilder(token.text());
                while (tokens.peek().kind() == Kind.STRING) {
                    text.append(tokens.next().text());
                }
                return new Expression.Literal(text.toString());
            case INTEGER, FLOAT:
                return number(token);
            default:
                return switch (token.text()) {
                    case "(" -> parenthesised();
                    case "[" -> new Expression.ListOf(items("]"));
                    case "{" -> dict();
                    default -> throw tokens.fault("unexpected " + token.text());
                };
        }
    }

    private Expression number(final Token token) {
        final String digits = token.text().replace("_", "");
        try {
            return new Expression.Literal(
                    token.kind() == Kind.FLOAT ? (Object) Double.valueOf(digits) : (Object) Long.valueOf(digits));
        } catch (final NumberFormatException e) {
            throw tokens.fault("number out of range " + token.text());
        }
    }

    private Expression parenthesised() {
        if (tokens.accept(Kind.OPERATOR, ")")) {
            return new Expression.ListOf(List.of());
        }
        final Expression inner = tuple();
        tokens.expect(Kind.OPERATOR, ")");
        return inner;
    }

    private List<Expression> items(final String end) {
        final List<Expression> items = new ArrayList<>();
        while (!tokens.accept(Kind.OPERATOR, end)) {
            if (!items.isEmpty()) {
                tokens.expect(Kind.OPERATOR, ",");
                if (tokens.accept(Kind.OPERATOR, end)) {
                    break;
                }
            }
            items.add(expression());
        }
        return items;
    }

    private Expression dict() {
        final List<Expression> keys = new ArrayList<>();
        final List<Expression> values = new ArrayList<>();
        while (!tokens.accept(Kind.OPERATOR, "}")) {
            if (!keys.isEmpty()) {
                tokens.expect(Kind.OPERATOR, ",");
                if (tokens.accept(Kind.OPERATOR, "}")) {
                    break;
                }
            }
            keys.add(expression());
            tokens.expect(Kind.OPERATOR, ":");
            values.add(expression());
        }
        return new Expression.DictOf(keys, values);
    }

    private Expression postfix(final Expression start) {
        Expression result = start;
        while (true) {
            if (tokens.accept(Kind.OPERATOR, ".")) {
                final Token key = tokens.next();
                result = switch (key.kind()) {
                    case NAME -> new Expression.Attribute(result, key.text());
                    case INTEGER -> new Expression.Index(result, number(key));
                    default -> throw tokens.fault("expected a name after the dot, found " + key.text());
                };
            } else if (tokens.accept(Kind.OPERATOR, "[")) {
                result = subscript(result);
            } else if (tokens.accept(Kind.OPERATOR, "(")) {
                result = new Expression.Call(result, arguments());
            } else {
                return result;
            }
        }
    }

    private Expression subscript(final Expression object) {
        final List<Optional<Expression>> bounds = new ArrayList<>();
        do {
            final Token next = tokens.peek();
            bounds.add(next.is(Kind.OPERATOR, ":") || next.is(Kind.OPERATOR, "]")
                    ? Optional.empty() : Optional.of(expression()));
        } while (bounds.size() < 3 && tokens.accept(Kind.OPERATOR, ":"));
        tokens.expect(Kind.OPERATOR, "]");
        if (bounds.size() == 1) {
            return new Expression.Index(object, bounds.getFirst().orElseThrow(() -> tokens.fault("empty index")));
        }
        return new Expression.Slice(
                object, bounds.get(0), bounds.get(1), bounds.size() == 3 ? bounds.get(2) : Optional.empty());
    }

    private Arguments arguments() {
        final List<Expression> positional = new ArrayList<>();
        final Map<String, Expression> named = new LinkedHashMap<>();
        while (!tokens.accept(Kind.OPERATOR, ")")) {
            if (!positional.isEmpty() || !named.isEmpty()) {
                tokens.expect(Kind.OPERATOR, ",");
                if (tokens.accept(Kind.OPERATOR, ")")) {
                    break;
                }
            }
            if (tokens.peek().kind() == Kind.NAME && tokens.peek(1).is(Kind.OPERATOR, "=")) {
                final String name = tokens.name();
                tokens.next();
                named.put(name, expression());
            } else {
                positional.add(expression());
            }
        }
        return new Arguments(positional, named);
    }

    private Expression filtersAndTests(final Expression start) {
        Expression result = start;
        while (true) {
            if (tokens.accept(Kind.OPERATOR, "|")) {
                result = filter(result);
            } else if (tokens.accept(Kind.NAME, "is")) {
                result = test(result);
            } else if (tokens.accept(Kind.OPERATOR, "(")) {
                result = new Expression.Call(result, arguments());
            } else {
                return result;
            }
        }
    }

    private Expression.Filter filter(final Expression operand) {
        final String name = tokens.name();
        return new Expression.Filter(
                operand, name, tokens.accept(Kind.OPERATOR, "(") ? arguments() : Arguments.NONE);
    }

    /** {@code trim | upper}, for blocks whose text is the operand. */
    List<Expression.Filter> filterChain() {
        final List<Expression.Filter> chain = new ArrayList<>();
        do {
            chain.add(filter(new Expression.Literal("")));
        } while (tokens.accept(Kind.OPERATOR, "|"));
        return chain;
    }

    private Expression test(final Expression operand) {
        final boolean negated = tokens.accept(Kind.NAME, "not");
        final Token name = tokens.peek();
        final String test = name.kind() == Kind.OPERATOR ? tokens.next().text() : tokens.name();
        if (tokens.accept(Kind.OPERATOR, "(")) {
            return new Expression.Test(operand, test, arguments(), negated);
        }
        final Token next = tokens.peek();
        final boolean argument = switch (next.kind()) {
            case STRING, INTEGER, FLOAT -> true;
            case NAME -> !TEST_ENDS.contains(next.text());
            case OPERATOR -> next.text().equals("[") || next.text().equals("{");
            default -> false;
        };
        return new Expression.Test(
                operand,
                test,
                argument ? new Arguments(List.of(postfix(primary())), Map.of()) : Arguments.NONE,
                negated);
    }
}
