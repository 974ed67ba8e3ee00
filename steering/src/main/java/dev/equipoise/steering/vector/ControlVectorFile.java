package dev.equipoise.steering.vector;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgmlType;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.gguf.GgufTensor;
import dev.equipoise.runtime.gguf.GgufValue;
import dev.equipoise.runtime.gguf.GgufWriter;
import dev.equipoise.runtime.intervention.LayerVectors;
import java.nio.file.Path;
import java.util.Objects;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Steering vectors as llama.cpp and repeng exchange them: GGUF of architecture {@code controlvector} with one F32
 * tensor {@code direction.<n>} of {@code [n_embd]} per layer, n the block whose output it is added to, counted from 0,
 * the same in all three.
 *
 * <p>What the others make of it (llama.cpp v0.5.0, repeng at 021022a):
 * <ul>
 *   <li>{@code direction.0}: llama.cpp has no place for it and refuses the whole file, "invalid (zero) direction tensor
 *       layer index". repeng does not extract it unless asked. Here it is as good as any.
 *   <li>{@code controlvector.layer_count}: the number of tensors, not the model's depth. Written as u32, as repeng does
 *       (llama.cpp's generator: i32); read by nobody, here neither.
 *   <li>{@code controlvector.model_hint}: an architecture's name. repeng refuses a file without one, llama.cpp does not
 *       look at it.
 *   <li>A tensor that is no direction: refused by llama.cpp and here, skipped by repeng.
 * </ul>
 *
 * @param modelHint the architecture they were extracted from, empty if the file does not say
 * @param vectors layer to direction
 */
public record ControlVectorFile(String modelHint, LayerVectors vectors) {
    /** What the file's {@code general.architecture} is. */
    static final String ARCHITECTURE = "controlvector";

    private static final String MODEL_HINT = ARCHITECTURE + ".model_hint";
    private static final String LAYER_COUNT = ARCHITECTURE + ".layer_count";
    private static final String DIRECTION = "direction.";
    // No leading zeros: two names for one layer would be two directions.
    private static final Pattern NAME = Pattern.compile(Pattern.quote(DIRECTION) + "(0|[1-9]\\d{0,8})");

    public ControlVectorFile {
        Objects.requireNonNull(modelHint);
        Objects.requireNonNull(vectors);
    }

    /**
     * Reads a file.
     *
     * @throws BadInputException naming file and tensor, if it is not GGUF, of another architecture, without directions,
     *     or if a tensor is no direction, not F32, not of one dimension, of another width than the first or not finite
     */
    public static ControlVectorFile read(final Path path) {
        final GgufFile file = GgufFile.read(path);
        final String architecture = file.architecture();
        require(!architecture.equals(VisualVectorFile.ARCHITECTURE),
                "directions of a picture encoder where vectors of a language model are wanted", path.toString(),
                "steer with them at vision-mlp");
        require(architecture.equals(ARCHITECTURE), "not control vectors but architecture '" + architecture + "'",
                path.toString(), "name a control-vector file, as steer extract writes it");
        require(!file.tensors().isEmpty(), "control vectors without a direction", path.toString(),
                "extract them again");
        final long width = file.tensors().getFirst().extent(0);
        final SortedMap<Integer, float[]> vectors = new TreeMap<>();
        for (final GgufTensor tensor : file.tensors()) {
            vectors.put(layer(path, tensor), direction(file, tensor, width));
        }
        return new ControlVectorFile(file.string(MODEL_HINT, ""), new LayerVectors(vectors));
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
            writer.tensor(DIRECTION + layer, GgmlType.F32, new long[] {vectors.width()}, vectors.at(layer));
        }
        writer.write(path);
    }

    private static int layer(final Path path, final GgufTensor tensor) {
        final Matcher name = NAME.matcher(tensor.name());
        require(name.matches(), "a tensor that is no direction of a layer", where(path, tensor),
                "name tensors " + DIRECTION + "<layer>");
        return Integer.parseInt(name.group(1));
    }

    private static float[] direction(final GgufFile file, final GgufTensor tensor, final long width) {
        final String where = where(file.path(), tensor);
        require(tensor.type() == GgmlType.F32, "a direction of type " + tensor.type(), where, "store it as F32");
        require(tensor.hasShape(tensor.extent(0)), "a direction of several dimensions", where, "store it as [n_embd]");
        require(tensor.extent(0) == width, "directions of different widths",
                where + ", the first has " + width, "use one model's");
        final float[] values = file.floats(tensor);
        for (final float value : values) {
            require(Float.isFinite(value), "a direction that is not finite", where, "extract it again");
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
