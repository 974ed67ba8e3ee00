package dev.equipoise.steering.vector;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.intervention.PositionVectors;
import java.nio.file.Path;
import java.util.Objects;

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

    private static final DirectionFile.Kind KIND =
            new DirectionFile.Kind(ARCHITECTURE, "visual.direction.", "visual direction", "n_embd", "n_positions");

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
        DirectionFile.require(!architecture.equals(ControlVectorFile.ARCHITECTURE),
                "vectors of a language model where directions of a picture encoder are wanted", path.toString(),
                "steer with it at layer or mlp, or extract visual ones: steer extract --method vti-visual");
        DirectionFile.require(architecture.equals(ARCHITECTURE),
                "not visual directions but architecture '" + architecture + "'",
                path.toString(), "name a file that steer extract --method vti-visual wrote");
        final DirectionFile read = DirectionFile.read(file, KIND);
        return new VisualVectorFile(
                read.modelHint(), new PositionVectors(Math.toIntExact(read.shape()[1]), read.directions()));
    }

    /**
     * Writes a file; an existing one is replaced only when the new one is complete.
     *
     * @throws BadInputException if the place cannot be written to
     */
    public void write(final Path path) {
        DirectionFile.write(path, KIND, modelHint, vectors.layers(), vectors::at, vectors.width(), vectors.positions());
    }
}
