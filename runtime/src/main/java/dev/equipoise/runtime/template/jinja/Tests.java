package dev.equipoise.runtime.template.jinja;

import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Jinja's tests, the words after {@code is}. */
final class Tests {
    private Tests() {}

    static boolean apply(final String name, final Object value, final Arguments a, final Budget budget) {
        return switch (name) {
            case "defined" -> !(value instanceof Undefined);
            case "undefined" -> value instanceof Undefined;
            case "none" -> value == null;
            case "string" -> value instanceof String;
            case "number" -> Values.isNumber(value);
            case "integer" -> value instanceof Long;
            case "float" -> value instanceof Double;
            case "boolean" -> value instanceof Boolean;
            case "true" -> Boolean.TRUE.equals(value);
            case "false" -> Boolean.FALSE.equals(value);
            case "mapping" -> value instanceof Map;
            case "sequence" -> value instanceof String || value instanceof List || value instanceof Map
                    || value instanceof Undefined;
            case "iterable" -> value instanceof String || value instanceof List || value instanceof Map
                    || value instanceof Undefined;
            case "callable" -> value instanceof Function;
            case "odd" -> Math.floorMod(Values.whole(value), 2L) == 1;
            case "even" -> Math.floorMod(Values.whole(value), 2L) == 0;
            case "divisibleby" -> ((Long) Values.arithmetic("%", Values.whole(value),
                    Values.whole(a.require(0, "num")), budget)) == 0;
            case "lower" -> Values.string(value).equals(Values.string(value).toLowerCase(Locale.ROOT));
            case "upper" -> Values.string(value).equals(Values.string(value).toUpperCase(Locale.ROOT));
            case "in" -> Values.contains(a.require(0, "seq"), value, budget);
            case "sameas" -> value == a.require(0, "other")
                    || value instanceof Boolean && value.equals(a.require(0, "other"));
            case "equalto", "eq", "==" -> Values.equal(value, a.require(0, "other"), budget);
            case "ne", "!=" -> !Values.equal(value, a.require(0, "other"), budget);
            case "lt", "lessthan", "<" -> Values.compare(value, a.require(0, "other")) < 0;
            case "le", "<=" -> Values.compare(value, a.require(0, "other")) <= 0;
            case "gt", "greaterthan", ">" -> Values.compare(value, a.require(0, "other")) > 0;
            case "ge", ">=" -> Values.compare(value, a.require(0, "other")) >= 0;
            default -> throw new Fault("unknown test " + name);
        };
    }
}
