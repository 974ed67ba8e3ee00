package dev.equipoise.runtime.intervention;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.Intervention.Place;
import java.util.Locale;
import java.util.Objects;

/**
 * What a prompt's hidden states must be like for something to act: conditional activation steering (CAST, arXiv
 * 2409.05907). With the pooled state h of the prompt behind a block and the block's direction c, both
 * {@code [width]}, the similarity is {@code cos(h, tanh(p))}, {@code p = (c.h / c.c) c}.
 *
 * @param name for the trace
 * @param place of which states, {@link Place#LAYER} or {@link Place#EMBEDDING}, what enters the first block
 * @param direction c, at exactly one layer: h is the output of that block, which the paper calls the input of the next;
 *     of what enters the first block, the layer is of no consequence
 * @param pooling which prompt tokens h is of
 * @param side where the similarity must lie; the published code says "smaller" for {@link Side#ABOVE}
 * @param threshold -1..1
 */
public record Condition(
        String name, Place place, LayerVectors direction, Pooling pooling, Side side, double threshold) {
    /** Which tokens of the prompt. */
    public enum Pooling {
        /** The mean of all of them. */
        MEAN,
        /** The last one. */
        LAST;

        /** The lower-case name used in strategy files. */
        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** Where the similarity must lie, seen from the threshold. */
    public enum Side {
        /** Above it. */
        ABOVE,
        /** Below it. */
        BELOW;

        /** The lower-case name used in strategy files. */
        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    public Condition {
        Objects.requireNonNull(name);
        Objects.requireNonNull(pooling);
        Objects.requireNonNull(side);
        if (place != Place.LAYER && place != Place.EMBEDDING) {
            throw new BadInputException(
                    "a condition at another place", name + ": " + place,
                    "read the output of a block, or what enters the first");
        }
        if (direction.layers().size() != 1) {
            throw new BadInputException(
                    "a condition on several layers", name + ": " + direction.layers(), "give each a condition");
        }
        if (squares(direction.at(direction.layers().first())) == 0) {
            throw new BadInputException("a condition's direction of length 0", name, "extract it from other pairs");
        }
        if (!(threshold >= -1 && threshold <= 1)) {
            throw new BadInputException(
                    "a similarity out of range", name + " " + threshold, "choose a threshold of -1..1");
        }
    }

    /** A condition on the output of a block. */
    public Condition(
            final String name,
            final LayerVectors direction,
            final Pooling pooling,
            final Side side,
            final double threshold) {
        this(name, Place.LAYER, direction, pooling, side, threshold);
    }

    /** The block whose output it is read from; 0 where it is what enters that. */
    public int readAt() {
        return place == Place.EMBEDDING ? 0 : layer();
    }

    /** The layer that the direction is of: the block whose output it is about, unless it is what enters the first. */
    public int layer() {
        return direction.layers().first();
    }

    /**
     * The similarity, -1..1; 0 where it has no value, since one of the two is 0.
     *
     * @param state h, {@code [width]}
     */
    public double similarity(final float[] state) {
        final float[] c = direction.at(layer());
        double along = 0;
        for (int i = 0; i < c.length; i++) {
            along += (double) c[i] * state[i];
        }
        final double scale = along / squares(c);
        double dot = 0;
        double projected = 0;
        for (int i = 0; i < c.length; i++) {
            final double p = Math.tanh(scale * c[i]);
            dot += p * state[i];
            projected += p * p;
        }
        final double norms = Math.sqrt(projected) * Math.sqrt(squares(state));
        return norms == 0 ? 0 : dot / norms;
    }

    /** Whether a similarity meets it; at the threshold none does. */
    public boolean holds(final double similarity) {
        return switch (side) {
            case ABOVE -> similarity > threshold;
            case BELOW -> similarity < threshold;
        };
    }

    private static double squares(final float[] x) {
        double sum = 0;
        for (final float value : x) {
            sum += (double) value * value;
        }
        return sum;
    }
}
