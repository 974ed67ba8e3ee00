package dev.equipoise.runtime.template.jinja;

import java.util.List;
import java.util.Map;

/** Something that a template can call: a function, a method bound to its object, or a macro. */
@FunctionalInterface
interface Function {
    Object call(List<Object> positional, Map<String, Object> named);
}
