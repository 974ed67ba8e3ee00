package dev.equipoise.runtime.template.jinja;

import java.util.HashMap;
import java.util.Map;

/** Names and their values; what a loop or macro sets is gone when it ends. */
final class Scope {
    private final Scope outer;
    private final Map<String, Object> values = new HashMap<>();

    Scope(final Scope outer) {
        this.outer = outer;
    }

    void set(final String name, final Object value) {
        values.put(name, value);
    }

    Object get(final String name) {
        for (Scope scope = this; scope != null; scope = scope.outer) {
            if (scope.values.containsKey(name)) {
                return scope.values.get(name);
            }
        }
        return new Undefined(name);
    }
}
