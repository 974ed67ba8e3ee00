package dev.equipoise.steering.edit;

import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.PictureSteering;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.PositionVectors;
import java.util.List;
import java.util.Objects;
import java.util.Set;

/**
 * Steers the picture encoder: VTI's visual half. It is about how pictures are encoded, before the language model reads
 * anything, and so a part of the prompt rather than an intervention.
 *
 * @param source the file that the directions were read from, to be told in strategy files; of no consequence
 * @param directions one per block and position of the encoder
 * @param amount as {@link PictureSteering} says
 */
public record VisionEdit(String source, PositionVectors directions, double amount) implements Edit {
    /** How traces and explanations call it. */
    public static final String NAME = "vision:turn";

    public VisionEdit {
        Objects.requireNonNull(source);
        Objects.requireNonNull(directions);
    }

    /** The same by another amount. */
    public VisionEdit withAmount(final double other) {
        return new VisionEdit(source, directions, other);
    }

    /** What it makes of a prompt's pictures. */
    public PictureSteering steering() {
        return new PictureSteering(directions, amount);
    }

    @Override
    public String name() {
        return NAME;
    }

    @Override
    public boolean isIdle() {
        return amount == 0;
    }

    /** None: nothing of it acts inside the language model. */
    @Override
    public List<Intervention> resolve(final int depth, final Set<Modality> present) {
        return List.of();
    }
}
