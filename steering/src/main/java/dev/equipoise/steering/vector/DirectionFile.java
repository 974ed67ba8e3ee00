package dev.equipoise.steering.vector;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgmlType;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.gguf.GgufTensor;
import dev.equipoise.runtime.gguf.GgufValue;
import dev.equipoise.runtime.gguf.GgufWriter;
import java.nio.file.Path;
import java.util.Collections;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.function.IntFunction;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What {@link ControlVectorFile} and {@link VisualVectorFile} have in common: GGUF in which every tensor is F32, of one
 * shape, and named after the block that it is for. Which of the two a file is stands in its architecture.
 *
 * @param modelHint an architecture's name, empty if the file does not say
 * @param shape of every tensor, the width first
 * @param directions block, counted from 0, to values; not empty
 */
record DirectionFile(String modelHint, long[] shape, SortedMap<Integer, float[]> directions) {
    /**
     * A kind of such files.
     *
     * @param architecture what {@code general.architecture} is
     * @param prefix of tensors' names, before the block
     * @param tensor what a tensor is, in messages
     * @param axes names of its extents, in messages
     */
    record Kind(String architecture, String prefix, String tensor, String... axes) {
        private String modelHint() {
            return architecture + ".model_hint";
        }

        private String layerCount() {
            return architecture + ".layer_count";
        }
    }

    DirectionFile {
        directions = Collections.unmodifiableSortedMap(directions);
    }

    /**
     * Reads the tensors of a file whose architecture has been looked at.
     *
     * @throws BadInputException naming file and tensor, if there is none, or if one is not F32, of other axes than the
     *     kind's, of another shape than the first, not finite, or not named after a block
     */
    static DirectionFile read(final GgufFile file, final Kind kind) {
        require(!file.tensors().isEmpty(), "a file without a direction", file.path().toString(),
                "extract it again");
        final long[] shape = new long[kind.axes().length];
        for (int axis = 0; axis < shape.length; axis++) {
            shape[axis] = file.tensors().getFirst().extent(axis);
        }
        final SortedMap<Integer, float[]> directions = new TreeMap<>();
        for (final GgufTensor tensor : file.tensors()) {
            directions.put(layer(file.path(), tensor, kind), values(file, tensor, kind, shape));
        }
        return new DirectionFile(file.string(kind.modelHint(), ""), shape, directions);
    }

    /**
     * Writes a file; an existing one is replaced only when the new one is complete.
     *
     * @param values of a layer, as many as the shape has
     * @throws BadInputException if the place cannot be written to
     */
    static void write(
            final Path path,
            final Kind kind,
            final String modelHint,
            final SortedSet<Integer> layers,
            final IntFunction<float[]> values,
            final long... shape) {
        final GgufWriter writer = new GgufWriter()
                .put("general.architecture", kind.architecture())
                .put(kind.modelHint(), modelHint)
                .put(kind.layerCount(), GgufValue.u32(layers.size()));
        for (final int layer : layers) {
            writer.tensor(kind.prefix() + layer, GgmlType.F32, shape, values.apply(layer));
        }
        writer.write(path);
    }

    private static int layer(final Path path, final GgufTensor tensor, final Kind kind) {
        // No leading zeros: two names for one layer would be two directions.
        final Matcher name =
                Pattern.compile(Pattern.quote(kind.prefix()) + "(0|[1-9]\\d{0,8})").matcher(tensor.name());
        require(name.matches(), "a tensor that is no " + kind.tensor() + " of a layer", where(path, tensor),
                "name tensors " + kind.prefix() + "<layer>");
        return Integer.parseInt(name.group(1));
    }

    private static float[] values(
            final GgufFile file, final GgufTensor tensor, final Kind kind, final long[] shape) {
        final String where = where(file.path(), tensor);
        require(tensor.type() == GgmlType.F32, "a " + kind.tensor() + " of type " + tensor.type(), where,
                "store it as F32");
        final long[] own = new long[shape.length];
        for (int axis = 0; axis < own.length; axis++) {
            own[axis] = tensor.extent(axis);
        }
        final String axes = "[" + String.join(", ", kind.axes()) + "]";
        require(tensor.hasShape(own), "a " + kind.tensor() + " of other dimensions than " + axes, where,
                "store it as " + axes);
        require(tensor.hasShape(shape), kind.tensor() + "s of different shapes",
                where + ", the first is " + file.tensors().getFirst(), "use one model's");
        final float[] values = file.floats(tensor);
        for (final float value : values) {
            require(Float.isFinite(value), "a " + kind.tensor() + " that is not finite", where, "extract it again");
        }
        return values;
    }

    private static String where(final Path path, final GgufTensor tensor) {
        return path + " tensor '" + tensor + "'";
    }

    /** Refuses a file. */
    static void require(final boolean ok, final String what, final String where, final String remedy) {
        if (!ok) {
            throw new BadInputException(what, where, remedy);
        }
    }
}
