package dev.equipoise.runtime.template.jinja;

import java.util.List;
import java.util.Map;

/** The arguments of one call, read by place or by name as Python does. */
record Arguments(List<Object> positional, Map<String, Object> named) {
    static final Arguments NONE = new Arguments(List.of(), Map.of());

    boolean has(final int place, final String name) {
        return place < positional.size() || named.containsKey(name);
    }

    Object get(final int place, final String name, final Object otherwise) {
        return place < positional.size() ? positional.get(place) : named.getOrDefault(name, otherwise);
    }

    Object require(final int place, final String name) {
        if (!has(place, name)) {
            throw new Fault("missing argument " + name);
        }
        return get(place, name, null);
    }

    /** A string, or null when it is absent or none. */
    String text(final int place, final String name) {
        final Object value = get(place, name, null);
        return value == null ? null : Values.string(value);
    }

    long whole(final int place, final String name, final long otherwise) {
        return Values.whole(get(place, name, otherwise));
    }

    boolean flag(final int place, final String name, final boolean otherwise) {
        return Values.truth(get(place, name, otherwise));
    }
}
