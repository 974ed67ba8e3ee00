package dev.equipoise.runtime.template.jinja;

import java.time.Clock;
import java.util.List;
import java.util.Map;

/** A parsed template. Immutable and safe for use from several threads. */
public final class Jinja {
    private final List<Node> nodes;

    private Jinja(final List<Node> nodes) {
        this.nodes = nodes;
    }

    /**
     * Parses a template.
     *
     * @throws JinjaException naming the line that cannot be read
     */
    public static Jinja parse(final String source) {
        return new Jinja(Parser.parse(source));
    }

    /**
     * Renders the template.
     *
     * @param variables values made of null, Boolean, Long, Double, String, List and Map
     * @param clock what {@code strftime_now} reads
     * @throws JinjaException when the template fails, refuses ({@code raise_exception}) or does too much
     */
    public String render(final Map<String, ?> variables, final Clock clock) {
        return new Interpreter(clock).render(nodes, variables);
    }
}
