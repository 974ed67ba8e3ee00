package dev.equipoise.runtime.template.jinja;

import java.util.List;
import java.util.Optional;

/** What a template does, in order. Lines count from 1. */
sealed interface Node {
    record Data(String text) implements Node {}

    record Print(Expression value, int line) implements Node {}

    record If(List<Expression> conditions, List<List<Node>> bodies, List<Node> otherwise, int line) implements Node {}

    record For(
            List<String> targets,
            Expression source,
            Optional<Expression> condition,
            List<Node> body,
            List<Node> otherwise,
            int line)
            implements Node {}

    record Assign(List<String> targets, Expression value, int line) implements Node {}

    record AssignAttribute(String object, String attribute, Expression value, int line) implements Node {}

    record AssignBlock(String target, List<Node> body, List<Expression.Filter> filters, int line) implements Node {}

    record Macro(String name, List<String> parameters, List<Optional<Expression>> defaults, List<Node> body)
            implements Node {}

    /** A call whose callee may call the body back as {@code caller()}. */
    record CallBlock(Expression.Call call, List<Node> body, int line) implements Node {}

    record FilterBlock(List<Expression.Filter> filters, List<Node> body, int line) implements Node {}

    /** A tag pair that only marks a region, such as {@code generation}. */
    record Region(List<Node> body) implements Node {}

    record Break() implements Node {}

    record Continue() implements Node {}
}
