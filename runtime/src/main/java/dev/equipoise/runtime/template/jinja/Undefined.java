package dev.equipoise.runtime.template.jinja;

/**
 * The value of a name that nobody set: false, empty and printed as nothing, but an error in any operation.
 *
 * @param name what was asked for
 */
record Undefined(String name) {
    Fault fault() {
        return new Fault("'" + name + "' is undefined");
    }
}
