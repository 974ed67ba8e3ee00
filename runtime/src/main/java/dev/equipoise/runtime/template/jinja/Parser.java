package dev.equipoise.runtime.template.jinja;

import dev.equipoise.runtime.template.jinja.Token.Kind;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** Reads the tags of a template; {@link ExpressionParser} reads what stands inside them. */
final class Parser {
    private static final int MAX_NESTING = 100;

    private final TokenStream tokens;
    private final ExpressionParser expressions;
    private int nesting;

    private Parser(final TokenStream tokens) {
        this.tokens = tokens;
        this.expressions = new ExpressionParser(tokens);
    }

    static List<Node> parse(final String template) {
        final Parser parser = new Parser(new TokenStream(Lexer.tokens(template)));
        return parser.body(Set.of());
    }

    /** Nodes up to a tag named in {@code ends}, whose opening and name are consumed; no ends: all the rest. */
    private List<Node> body(final Set<String> ends) {
        if (++nesting > MAX_NESTING) {
            throw tokens.fault("tags nested deeper than " + MAX_NESTING);
        }
        final List<Node> nodes = new ArrayList<>();
        while (true) {
            final Token token = tokens.next();
            switch (token.kind()) {
                case DATA -> nodes.add(new Node.Data(token.text()));
                case PRINT_OPEN -> {
                    nodes.add(new Node.Print(expressions.tuple(), token.line()));
                    tokens.expect(Kind.PRINT_CLOSE, "}}");
                }
                case TAG_OPEN -> {
                    final String tag = tokens.name();
                    if (ends.contains(tag)) {
                        nesting--;
                        return List.copyOf(nodes);
                    }
                    nodes.add(statement(tag, token.line()));
                }
                case END -> {
                    if (!ends.isEmpty()) {
                        throw tokens.fault("missing " + String.join(" or ", ends.stream().sorted().toList()));
                    }
                    nesting--;
                    return List.copyOf(nodes);
                }
                default -> throw tokens.fault("unexpected " + token.text());
            }
        }
    }

    private Node statement(final String tag, final int line) {
        return switch (tag) {
            case "if" -> ifTag(line);
            case "for" -> forTag(line);
            case "set" -> setTag(line);
            case "macro" -> macroTag();
            case "call" -> {
                if (!(expressions.expression() instanceof Expression.Call call)) {
                    throw tokens.fault("call needs a call");
                }
                yield new Node.CallBlock(call, block("endcall"), line);
            }
            case "filter" -> {
                final List<Expression.Filter> filters = expressions.filterChain();
                yield new Node.FilterBlock(filters, block("endfilter"), line);
            }
            case "generation" -> new Node.Region(block("endgeneration"));
            case "break" -> {
                closeTag();
                yield new Node.Break();
            }
            case "continue" -> {
                closeTag();
                yield new Node.Continue();
            }
            default -> throw tokens.fault("unknown tag " + tag);
        };
    }

    private Node ifTag(final int line) {
        final List<Expression> conditions = new ArrayList<>();
        final List<List<Node>> bodies = new ArrayList<>();
        String tag = "elif";
        while (tag.equals("elif")) {
            conditions.add(expressions.expression());
            closeTag();
            bodies.add(body(Set.of("elif", "else", "endif")));
            tag = tokens.previous().text();
        }
        List<Node> otherwise = List.of();
        if (tag.equals("else")) {
            closeTag();
            otherwise = body(Set.of("endif"));
        }
        closeTag();
        return new Node.If(conditions, bodies, otherwise, line);
    }

    private Node forTag(final int line) {
        final List<String> targets = expressions.targets();
        tokens.expect(Kind.NAME, "in");
        final Expression source = expressions.withoutConditional();
        final Optional<Expression> condition =
                tokens.accept(Kind.NAME, "if") ? Optional.of(expressions.expression()) : Optional.empty();
        if (tokens.peek().is(Kind.NAME, "recursive")) {
            throw tokens.fault("recursive loops are not supported");
        }
        closeTag();
        final List<Node> body = body(Set.of("else", "endfor"));
        List<Node> otherwise = List.of();
        if (tokens.previous().text().equals("else")) {
            closeTag();
            otherwise = body(Set.of("endfor"));
        }
        closeTag();
        return new Node.For(targets, source, condition, body, otherwise, line);
    }

    private Node setTag(final int line) {
        final List<String> targets = expressions.targets();
        if (targets.size() == 1 && tokens.accept(Kind.OPERATOR, ".")) {
            final String attribute = tokens.name();
            tokens.expect(Kind.OPERATOR, "=");
            final Expression value = expressions.tuple();
            closeTag();
            return new Node.AssignAttribute(targets.getFirst(), attribute, value, line);
        }
        if (tokens.accept(Kind.OPERATOR, "=")) {
            final Expression value = expressions.tuple();
            closeTag();
            return new Node.Assign(targets, value, line);
        }
        if (targets.size() != 1) {
            throw tokens.fault("a set block has one target");
        }
        final List<Expression.Filter> filters =
                tokens.accept(Kind.OPERATOR, "|") ? expressions.filterChain() : List.of();
        return new Node.AssignBlock(targets.getFirst(), block("endset"), filters, line);
    }

    private Node macroTag() {
        final String name = tokens.name();
        final List<String> parameters = new ArrayList<>();
        final List<Optional<Expression>> defaults = new ArrayList<>();
        tokens.expect(Kind.OPERATOR, "(");
        while (!tokens.accept(Kind.OPERATOR, ")")) {
            if (!parameters.isEmpty()) {
                tokens.expect(Kind.OPERATOR, ",");
            }
            parameters.add(tokens.name());
            defaults.add(
                    tokens.accept(Kind.OPERATOR, "=") ? Optional.of(expressions.expression()) : Optional.empty());
        }
        return new Node.Macro(name, parameters, defaults, block("endmacro"));
    }

    /** The rest of the opening tag, the body and the closing tag, which may repeat a name ({@code endmacro x}). */
    private List<Node> block(final String end) {
        closeTag();
        final List<Node> body = body(Set.of(end));
        if (tokens.peek().kind() == Kind.NAME) {
            tokens.next();
        }
        closeTag();
        return body;
    }

    private void closeTag() {
        tokens.expect(Kind.TAG_CLOSE, "%}");
    }
}
