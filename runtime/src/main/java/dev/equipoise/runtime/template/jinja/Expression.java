package dev.equipoise.runtime.template.jinja;

import java.util.List;
import java.util.Map;
import java.util.Optional;

/** What a template can compute. */
sealed interface Expression {
    record Literal(Object value) implements Expression {}

    record Name(String name) implements Expression {}

    record ListOf(List<Expression> items) implements Expression {}

    record DictOf(List<Expression> keys, List<Expression> values) implements Expression {}

    record Attribute(Expression object, String name) implements Expression {}

    record Index(Expression object, Expression index) implements Expression {}

    record Slice(
            Expression object, Optional<Expression> from, Optional<Expression> to, Optional<Expression> step)
            implements Expression {}

    record Call(Expression callee, Arguments arguments) implements Expression {}

    record Filter(Expression operand, String name, Arguments arguments) implements Expression {}

    record Test(Expression operand, String name, Arguments arguments, boolean negated) implements Expression {}

    record Negative(Expression operand) implements Expression {}

    record Not(Expression operand) implements Expression {}

    record And(Expression left, Expression right) implements Expression {}

    record Or(Expression left, Expression right) implements Expression {}

    record Binary(String operator, Expression left, Expression right) implements Expression {}

    /** {@code a < b <= c}: operator i stands between operand i and operand i+1. */
    record Comparison(List<Expression> operands, List<String> operators) implements Expression {}

    record Conditional(Expression condition, Expression then, Optional<Expression> otherwise) implements Expression {}

    record Arguments(List<Expression> positional, Map<String, Expression> named) {
        static final Arguments NONE = new Arguments(List.of(), Map.of());
    }
}
