package dev.equipoise.runtime.template.jinja;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Predicate;

/** Jinja's filters, as far as chat templates use them. */
final class Filters {
    private Filters() {}

    static Object apply(final String name, final Object value, final Arguments a, final Budget budget) {
        return switch (name) {
            case "trim" -> Strings.strip(text(value, budget), a.text(0, "chars"), true, true);
            case "upper" -> text(value, budget).toUpperCase(Locale.ROOT);
            case "lower" -> text(value, budget).toLowerCase(Locale.ROOT);
            case "title" -> Strings.title(text(value, budget));
            case "capitalize" -> Strings.capitalize(text(value, budget));
            case "replace" -> Strings.replace(
                    text(value, budget), Values.string(a.require(0, "old")), Values.string(a.require(1, "new")),
                    a.whole(2, "count", -1), budget);
            case "indent" -> indent(text(value, budget), a, budget);
            case "string", "safe" -> text(value, budget);
            case "escape", "e" -> escape(text(value, budget), budget);
            case "tojson" -> Json.write(value, a.positional().isEmpty() ? a.named()
                    : with(a.named(), "indent", a.positional().getFirst()), budget);
            case "default", "d" -> value instanceof Undefined || a.flag(1, "boolean", false) && !Values.truth(value)
                    ? a.get(0, "default_value", "") : value;
            case "length", "count" -> size(value);
            case "int" -> integer(value, a);
            case "float" -> real(value, a);
            case "abs" -> value instanceof Double number ? (Object) Math.abs(number)
                    : (Object) Math.abs(Values.whole(value));
            case "round" -> round(Values.number(value), a);
            default -> ofSequence(name, value, a, budget);
        };
    }

    private static Object ofSequence(final String name, final Object value, final Arguments a, final Budget budget) {
        final List<?> items = switch (name) {
            case "items", "dictsort" -> List.of();
            // Jinja lets these five go through none.
            case "map", "select", "reject", "selectattr", "rejectattr" ->
                value == null ? List.of() : Values.items(value, budget);
            default -> Values.items(value, budget);
        };
        budget.charge(items.size());
        return switch (name) {
            case "list" -> new ArrayList<Object>(items);
            case "first" -> items.isEmpty() ? new Undefined("first") : items.getFirst();
            case "last" -> items.isEmpty() ? new Undefined("last") : items.getLast();
            case "join" -> joinFilter(items, a, budget);
            case "reverse" -> value instanceof String text
                    ? new StringBuilder(text).reverse().toString() : new ArrayList<Object>(items).reversed();
            case "sort" -> sorted(items, a, budget);
            case "min" -> items.isEmpty() ? new Undefined("min") : Collections.min(items, Values::compare);
            case "max" -> items.isEmpty() ? new Undefined("max") : Collections.max(items, Values::compare);
            case "sum" -> items.stream().map(item -> attribute(item, a.text(0, "attribute")))
                    .reduce(a.get(1, "start", 0L), (x, y) -> Values.arithmetic("+", x, y, budget));
            case "unique" -> unique(items, budget);
            case "items" -> value instanceof Undefined ? List.of() : Methods.pairs(dict(value), budget);
            case "dictsort" -> sorted(Methods.pairs(dict(value), budget), new Arguments(
                    List.of(), Map.of("attribute", 0L)), budget);
            case "map" -> map(items, a, budget);
            case "select" -> select(items, a, 0, item -> item, true, budget);
            case "reject" -> select(items, a, 0, item -> item, false, budget);
            case "selectattr" -> select(items, a, 1, by(a), true, budget);
            case "rejectattr" -> select(items, a, 1, by(a), false, budget);
            default -> throw new Fault("unknown filter " + name);
        };
    }

    private static String text(final Object value, final Budget budget) {
        final String text = Values.text(value, budget);
        budget.charge(text.length());
        return text;
    }

    private static Map<String, Object> with(final Map<String, Object> map, final String key, final Object value) {
        final Map<String, Object> extended = new LinkedHashMap<>(map);
        extended.put(key, value);
        return extended;
    }

    private static Map<?, ?> dict(final Object value) {
        if (value instanceof Map<?, ?> map) {
            return map;
        }
        throw new Fault("expected a dict, found " + Values.typeName(value));
    }

    private static long size(final Object value) {
        return switch (value) {
            case String text -> text.codePointCount(0, text.length());
            case List<?> list -> list.size();
            case Map<?, ?> map -> map.size();
            case Undefined undefined -> 0;
            case null, default -> throw new Fault(Values.typeName(value) + " has no length");
        };
    }

    private static Object integer(final Object value, final Arguments a) {
        try {
            return switch (value) {
                case String text -> Long.valueOf(text.strip());
                case Double number -> number.longValue();
                case null, default -> Values.whole(value);
            };
        } catch (final NumberFormatException | Fault e) {
            return a.get(0, "default", 0L);
        }
    }

    private static Object real(final Object value, final Arguments a) {
        try {
            return value instanceof String text ? Double.valueOf(text.strip()) : (Object) Values.number(value);
        } catch (final NumberFormatException | Fault e) {
            return a.get(0, "default", 0.0);
        }
    }

    private static double round(final double value, final Arguments a) {
        final double scale = Math.pow(10, a.whole(0, "precision", 0));
        return switch (a.get(1, "method", "common") instanceof String method ? method : "") {
            case "ceil" -> Math.ceil(value * scale) / scale;
            case "floor" -> Math.floor(value * scale) / scale;
            default -> Math.rint(value * scale) / scale;
        };
    }

    private static String indent(final String text, final Arguments a, final Budget budget) {
        final Object width = a.get(0, "width", 4L);
        final String margin = width instanceof String literal ? literal
                : Strings.repeat(" ", Values.whole(width), budget);
        final boolean blank = a.flag(2, "blank", false);
        final StringBuilder out = new StringBuilder();
        boolean first = true;
        for (final String line : text.split("\n", -1)) {
            final boolean indented = first ? a.flag(1, "first", false) : blank || !line.isEmpty();
            budget.charge(line.length() + margin.length() + 1L);
            out.append(first ? "" : "\n").append(indented ? margin : "").append(line);
            first = false;
        }
        return out.toString();
    }

    private static String escape(final String text, final Budget budget) {
        budget.charge(6L * text.length());
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("'", "&#39;")
                .replace("\"", "&#34;");
    }

    private static Object joinFilter(final List<?> items, final Arguments a, final Budget budget) {
        final String attribute = a.text(1, "attribute");
        final List<?> texts = attribute == null ? items
                : items.stream().map(item -> attribute(item, attribute)).toList();
        final String separator = a.text(0, "d");
        return join(texts.stream().map(item -> Values.text(item, budget)).toList(),
                separator == null ? "" : separator, budget);
    }

    static String join(final List<?> items, final String separator, final Budget budget) {
        final StringBuilder out = new StringBuilder();
        for (int i = 0; i < items.size(); i++) {
            final String item = Values.string(items.get(i));
            budget.charge(item.length() + separator.length());
            out.append(i == 0 ? "" : separator).append(item);
        }
        return out.toString();
    }

    private static Object sorted(final List<?> items, final Arguments a, final Budget budget) {
        budget.charge(items.size());
        final Object attribute = a.get(2, "attribute", null);
        final Comparator<Object> order = (x, y) -> {
            budget.charge(1);
            return Values.compare(sortKey(x, attribute), sortKey(y, attribute));
        };
        final List<Object> sorted = new ArrayList<>(items);
        sorted.sort(a.flag(0, "reverse", false) ? order.reversed() : order);
        return sorted;
    }

    // Jinja sorts texts without regard to case unless told otherwise.
    private static Object sortKey(final Object item, final Object attribute) {
        final Object key = attribute == null ? item
                : attribute instanceof String path ? attribute(item, path) : Values.index(item, attribute);
        return key instanceof String text ? text.toLowerCase(Locale.ROOT) : key;
    }

    private static List<Object> unique(final List<?> items, final Budget budget) {
        final List<Object> kept = new ArrayList<>();
        for (final Object item : items) {
            if (!Values.contains(kept, item, budget)) {
                kept.add(item);
            }
        }
        return kept;
    }

    /** {@code item.a.b}; no path: the item itself. */
    private static Object attribute(final Object item, final String path) {
        Object value = item;
        for (final Object key : path == null ? List.of() : Strings.split(path, ".", -1)) {
            value = Values.index(value, key);
        }
        return value;
    }

    private static List<Object> map(final List<?> items, final Arguments a, final Budget budget) {
        final List<Object> mapped = new ArrayList<>();
        final String attribute = a.positional().isEmpty() ? a.text(0, "attribute") : null;
        for (final Object item : items) {
            if (attribute == null) {
                mapped.add(apply(Values.string(a.require(0, "filter")), item,
                        new Arguments(a.positional().subList(1, a.positional().size()), a.named()), budget));
            } else {
                final Object found = attribute(item, attribute);
                mapped.add(found instanceof Undefined ? a.named().getOrDefault("default", found) : found);
            }
        }
        return mapped;
    }

    private static java.util.function.Function<Object, Object> by(final Arguments a) {
        final String path = Values.string(a.require(0, "attribute"));
        return item -> attribute(item, path);
    }

    private static List<Object> select(
            final List<?> items,
            final Arguments a,
            final int testPlace,
            final java.util.function.Function<Object, Object> key,
            final boolean wanted,
            final Budget budget) {
        final Predicate<Object> test;
        if (a.positional().size() > testPlace) {
            final String name = Values.string(a.positional().get(testPlace));
            final Arguments rest =
                    new Arguments(a.positional().subList(testPlace + 1, a.positional().size()), Map.of());
            test = item -> Tests.apply(name, item, rest, budget);
        } else {
            test = Values::truth;
        }
        final List<Object> kept = new ArrayList<>();
        for (final Object item : items) {
            if (test.test(key.apply(item)) == wanted) {
                kept.add(item);
            }
        }
        return kept;
    }
}
