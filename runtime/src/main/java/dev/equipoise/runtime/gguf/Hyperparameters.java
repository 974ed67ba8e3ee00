package dev.equipoise.runtime.gguf;

/** Typed metadata under a common prefix, each value compared with its range. */
final class Hyperparameters {
    private final GgufFile file;
    private final String prefix;

    Hyperparameters(final GgufFile file, final String prefix) {
        this.file = file;
        this.prefix = prefix;
    }

    String key(final String name) {
        return prefix + name;
    }

    boolean has(final String name) {
        return file.has(key(name));
    }

    int number(final String name, final int least, final int most) {
        return inRange(name, file.u32(key(name)), least, most);
    }

    /** The default is not compared with the range. */
    int number(final String name, final int least, final int most, final int otherwise) {
        return has(name) ? number(name, least, most) : otherwise;
    }

    /** A number for all layers or an array with one for each; only equal ones are supported. */
    int numberPerLayer(final String name, final int layers, final int least, final int most) {
        if (!(file.metadata().get(key(name)) instanceof final GgufValue.Wholes perLayer)) {
            return number(name, least, most);
        }
        final boolean sound = perLayer.size() == layers
                && (perLayer.type() == GgufValue.Type.U32 || perLayer.type() == GgufValue.Type.I32);
        if (!sound) {
            throw file.bad("key '" + key(name) + "' is not a number or " + layers + " numbers, one for each layer");
        }
        for (int i = 1; i < layers; i++) {
            if (perLayer.get(i) != perLayer.get(0)) {
                throw file.bad("key '" + key(name) + "' differs between layers, which is not supported");
            }
        }
        return inRange(name, perLayer.get(0), least, most);
    }

    void required(final String name, final float least, final float most) {
        if (!has(name)) {
            throw file.bad("missing key '" + key(name) + "'");
        }
        real(name, least, most);
    }

    /** An optional number; NaN is in no range. */
    void real(final String name, final float least, final float most) {
        if (has(name)) {
            final float value = file.f32(key(name));
            if (!(value >= least && value <= most)) {
                throw file.bad("key '" + key(name) + "' is " + value + ", not in " + least + " to " + most);
            }
        }
    }

    boolean flag(final String name) {
        return file.bool(key(name), false);
    }

    String text(final String name, final String otherwise) {
        return file.string(key(name), otherwise);
    }

    private int inRange(final String name, final long value, final long least, final long most) {
        if (value < least || value > most) {
            throw file.bad("key '" + key(name) + "' is " + value + ", not in " + least + " to " + most);
        }
        return (int) value;
    }
}
