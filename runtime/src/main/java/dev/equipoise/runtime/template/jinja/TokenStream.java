package dev.equipoise.runtime.template.jinja;

import dev.equipoise.runtime.template.jinja.Token.Kind;
import java.util.List;

/** Tokens with one place of look-ahead. */
final class TokenStream {
    private final List<Token> tokens;
    private int position;

    TokenStream(final List<Token> tokens) {
        this.tokens = tokens;
    }

    Token peek() {
        return tokens.get(position);
    }

    /** The token {@code ahead} places after the next one, or the last one. */
    Token peek(final int ahead) {
        return tokens.get(Math.min(position + ahead, tokens.size() - 1));
    }

    Token previous() {
        return tokens.get(position - 1);
    }

    Token next() {
        final Token token = tokens.get(position);
        if (token.kind() != Kind.END) {
            position++;
        }
        return token;
    }

    boolean accept(final Kind kind, final String text) {
        final boolean found = peek().is(kind, text);
        if (found) {
            position++;
        }
        return found;
    }

    void expect(final Kind kind, final String text) {
        if (!accept(kind, text)) {
            throw fault("expected " + text + ", found " + peek().text());
        }
    }

    String name() {
        if (peek().kind() != Kind.NAME) {
            throw fault("expected a name, found " + peek().text());
        }
        return next().text();
    }

    JinjaException fault(final String message) {
        return new JinjaException(message, peek().line());
    }
}
