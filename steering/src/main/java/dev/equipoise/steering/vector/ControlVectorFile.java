package dev.equipoise.steering.vector;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.intervention.LayerVectors;
import java.nio.file.Path;
import java.util.Objects;

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

    private static final DirectionFile.Kind KIND =
            new DirectionFile.Kind(ARCHITECTURE, "direction.", "direction", "n_embd");

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
        DirectionFile.require(!architecture.equals(VisualVectorFile.ARCHITECTURE),
                "directions of a picture encoder where vectors of a language model are wanted", path.toString(),
                "steer with them at vision-mlp");
        DirectionFile.require(architecture.equals(ARCHITECTURE),
                "not control vectors but architecture '" + architecture + "'",
                path.toString(), "name a control-vector file, as steer extract writes it");
        final DirectionFile read = DirectionFile.read(file, KIND);
        return new ControlVectorFile(read.modelHint(), new LayerVectors(read.directions()));
    }

    /**
     * Writes a file; an existing one is replaced only when the new one is complete.
     *
     * @throws BadInputException if the place cannot be written to
     */
    public void write(final Path path) {
        DirectionFile.write(path, KIND, modelHint, vectors.layers(), vectors::at, vectors.width());
    }
}
