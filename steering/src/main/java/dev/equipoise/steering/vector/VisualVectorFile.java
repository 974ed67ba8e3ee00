package dev.equipoise.steering.vector;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgmlType;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.gguf.GgufTensor;
import dev.equipoise.runtime.gguf.GgufValue;
import dev.equipoise.runtime.gguf.GgufWriter;
import dev.equipoise.runtime.intervention.PositionVectors;
import java.nio.file.Path;
import java.util.Objects;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Directions of a picture encoder: GGUF of architecture {@code visualvector} with one F32 tensor
 * {@code visual.direction.<n>} of {@code [n_embd, n_positions]} per block n of the encoder, counted from 0. Beside
 * {@link ControlVectorFile}, which has one direction a block of the language model and which neither llama.cpp nor this
 * takes in its place.
 *
 * @param modelHint the architecture of the language model that the encoder came with, empty if the file does not say
 * @param vectors block to directions
 */
public record VisualVectorFile(String modelHint, PositionVectors vectors) {
    /** What the file's {@code general.architecture} is. */
    public static final String ARCHITECTURE = "visualvector";

    private static final String MODEL_HINT = ARCHITECTURE + ".model_hint";
    private static final String LAYER_COUNT = ARCHITECTURE + ".layer_count";
    private static final String DIRECTION = "visual.direction.";
    // No leading zeros: two names for one layer would be two directions.
    private static final Pattern NAME = Pattern.compile(Pattern.quote(DIRECTION) + "(0|[1-9]\\d{0,8})");

    public VisualVectorFile {
        Objects.requireNonNull(modelHint);
        Objects.requireNonNull(vectors);
    }

    /** Whether a file says that it is one. */
    public static boolean isOne(final Path path) {
        return GgufFile.read(path).architecture().equals(ARCHITECTURE);
    }

    /**
     * Reads a file.
     *
     * @throws BadInputException naming file and tensor, if it is not GGUF, of another architecture, without directions,
     *     or if a tensor is no direction, not F32, not of two dimensions, of another shape than the first or not finite
     */
    public static VisualVectorFile read(final Path path) {
        final GgufFile file = GgufFile.read(path);
        final String architecture = file.architecture();
        require(!architecture.equals(ControlVectorFile.ARCHITECTURE),
                "vectors of a language model where directions of a picture encoder are wanted", path.toString(),
                "steer with it at layer or mlp, or extract visual ones: steer extract --method vti-visual");
        require(architecture.equals(ARCHITECTURE), "not visual directions but architecture '" + architecture + "'",
                path.toString(), "name a file that steer extract --method vti-visual wrote");
        require(!file.tensors().isEmpty(), "visual directions without a direction", path.toString(),
                "extract them again");
        final GgufTensor first = file.tensors().getFirst();
        final SortedMap<Integer, float[]> vectors = new TreeMap<>();
        for (final GgufTensor tensor : file.tensors()) {
            vectors.put(layer(path, tensor), directions(file, tensor, first));
        }
        return new VisualVectorFile(
                file.string(MODEL_HINT, ""), new PositionVectors(Math.toIntExact(first.extent(1)), vectors));
    }

    /**
     * Writes a file; an existing one is replaced only when the new one is complete.
     *
     * @throws BadInputException if the place cannot be written to
     */
    public void write(final Path path) {
        final GgufWriter writer = new GgufWriter()
                .put("general.architecture", ARCHITECTURE)
                .put(MODEL_HINT, modelHint)
                .put(LAYER_COUNT, GgufValue.u32(vectors.layers().size()));
        for (final int layer : vectors.layers()) {
            writer.tensor(DIRECTION + layer, GgmlType.F32, new long[] {vectors.width(), vectors.positions()},
                    vectors.at(layer));
        }
        writer.write(path);
    }

    private static int layer(final Path path, final GgufTensor tensor) {
        final Matcher name = NAME.matcher(tensor.name());
        require(name.matches(), "a tensor that is no visual direction", where(path, tensor),
                "name tensors " + DIRECTION + "<block>");
        return Integer.parseInt(name.group(1));
    }

    private static float[] directions(final GgufFile file, final GgufTensor tensor, final GgufTensor first) {
        final String where = where(file.path(), tensor);
        require(tensor.type() == GgmlType.F32, "visual directions of type " + tensor.type(), where,
                "store them as F32");
        require(tensor.hasShape(tensor.extent(0), tensor.extent(1)), "visual directions not of two dimensions", where,
                "store them as [n_embd, n_positions]");
        require(tensor.hasShape(first.extent(0), first.extent(1)), "visual directions of different shapes",
                where + ", the first is " + first, "use one encoder's");
        final float[] values = file.floats(tensor);
        for (final float value : values) {
            require(Float.isFinite(value), "a visual direction that is not finite", where, "extract it again");
        }
        return values;
    }

    private static String where(final Path path, final GgufTensor tensor) {
        return path + " tensor '" + tensor + "'";
    }

    private static void require(final boolean ok, final String what, final String where, final String remedy) {
        if (!ok) {
            throw new BadInputException(what, where, remedy);
        }
    }
}
