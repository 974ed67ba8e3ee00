package dev.equipoise.runtime.template.jinja;

import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** {@code tojson} as chat templates know it: Python's separators, characters outside ASCII kept. */
final class Json {
    private final StringBuilder out = new StringBuilder();
    private final int indent;
    private final boolean sortKeys;
    private final String itemSeparator;
    private final String keySeparator;
    private final Budget budget;

    private Json(
            final int indent,
            final boolean sortKeys,
            final String itemSeparator,
            final String keySeparator,
            final Budget budget) {
        this.indent = indent;
        this.sortKeys = sortKeys;
        this.itemSeparator = itemSeparator;
        this.keySeparator = keySeparator;
        this.budget = budget;
    }

    /** {@code named} takes indent, sort_keys and separators. */
    static String write(final Object value, final Map<String, Object> named, final Budget budget) {
        final Object width = named.get("indent");
        final int indent = width == null ? -1 : (int) Math.clamp(Values.whole(width), 0L, 16L);
        final List<?> separators = named.get("separators") instanceof List<?> pair && pair.size() == 2
                ? pair : List.of(indent < 0 ? ", " : ",", ": ");
        final Json json = new Json(
                indent,
                Values.truth(named.get("sort_keys")),
                Values.string(separators.get(0)),
                Values.string(separators.get(1)),
                budget);
        json.value(value, 1);
        return json.out.toString();
    }

    private void value(final Object value, final int depth) {
        budget.charge(1);
        switch (value) {
            case null -> out.append("null");
            case Boolean bool -> out.append(bool);
            case Long number -> out.append(number);
            case Double number -> out.append(Values.decimal(number));
            case String text -> string(text);
            case List<?> list -> {
                out.append('[');
                final Iterator<?> items = list.iterator();
                while (items.hasNext()) {
                    line(depth);
                    value(items.next(), depth + 1);
                    out.append(items.hasNext() ? itemSeparator : "");
                }
                close(list.isEmpty(), depth, ']');
            }
            case Map<?, ?> map -> {
                out.append('{');
                final Map<Object, Object> ordered = sortKeys ? new TreeMap<>(Values::compare) : null;
                if (sortKeys) {
                    ordered.putAll(map);
                }
                final var entries = (sortKeys ? ordered : map).entrySet().iterator();
                while (entries.hasNext()) {
                    final var entry = entries.next();
                    line(depth);
                    string(Values.text(entry.getKey(), budget));
                    out.append(keySeparator);
                    value(entry.getValue(), depth + 1);
                    out.append(entries.hasNext() ? itemSeparator : "");
                }
                close(map.isEmpty(), depth, '}');
            }
            case Undefined undefined -> throw undefined.fault();
            default -> throw new Fault("not a JSON value: " + Values.typeName(value));
        }
    }

    private void line(final int depth) {
        if (indent >= 0) {
            budget.charge((long) indent * depth);
            out.append('\n').repeat(' ', indent * depth);
        }
    }

    private void close(final boolean empty, final int depth, final char bracket) {
        if (!empty) {
            line(depth - 1);
        }
        out.append(bracket);
    }

    private void string(final String text) {
        budget.charge(text.length());
        out.append('"');
        for (int i = 0; i < text.length(); i++) {
            final char c = text.charAt(i);
            final int escape = "\"\\\n\r\t\b\f".indexOf(c);
            if (escape >= 0) {
                out.append('\\').append("\"\\nrtbf".charAt(escape));
            } else if (c < 0x20) {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }
}
