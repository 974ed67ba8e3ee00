package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.Mmproj;
import dev.equipoise.runtime.intervention.PositionVectors;
import java.util.Objects;

/**
 * Turns what the feed-forward part of each block of the picture encoder adds to the residual, at each position: m
 * becomes {@code |m| unit(unit(m) + amount unit(d))} with d the direction of block and position, as VTI does (arXiv
 * 2410.15778). Where d or m is zero, m stays.
 *
 * @param directions blocks and positions
 * @param amount within +-1e6; VTI's strength times 0.1
 */
public record PictureSteering(PositionVectors directions, double amount) {
    /** Largest magnitude of an amount. */
    public static final double MOST = 1e6;

    public PictureSteering {
        Objects.requireNonNull(directions);
        if (!(Math.abs(amount) <= MOST)) {
            throw new BadInputException("amount out of range", String.valueOf(amount), "choose within +-" + MOST);
        }
    }

    /**
     * Refuses directions of another encoder.
     *
     * @throws BadInputException naming what does not fit
     */
    void requireFits(final Mmproj.Vision encoder) {
        final int width = directions.width();
        if (width != encoder.width() || directions.positions() != encoder.positions()) {
            throw new BadInputException(
                    "visual directions of another picture encoder",
                    directions.positions() + " positions, " + width + " wide; the model's has " + encoder.positions()
                            + ", " + encoder.width() + " wide",
                    "extract them with the model's own mmproj file");
        }
        if (directions.layers().last() >= encoder.blocks()) {
            throw new BadInputException(
                    "no block " + directions.layers().last() + " in a picture encoder that runs " + encoder.blocks(),
                    "visual directions, layers " + directions.layers(),
                    "extract them with the model's own mmproj file");
        }
    }
}
