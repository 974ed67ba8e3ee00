package dev.equipoise.decoding;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.intervention.Merge;
import java.math.BigDecimal;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;

/**
 * Fork-merge decoding (arXiv 2505.20873): two branches, in each of which one modality is silenced, are joined at the
 * output of a block and go on as one. The paper's layer and its weights per token are not known for certain.
 *
 * @param silence the two modalities; the first branch lacks the first, the second the second
 * @param how what silencing means
 * @param place the block after which the branches are joined
 * @param alpha weights 0..1 by modality: for a silenced one, of the branch in which it is present ({@link
 *     #PRESENT} if not named); for all others and generated tokens, of the first branch ({@link Merge#EVEN})
 */
public record ForkMerge(List<Modality> silence, How how, Place place, Map<Modality, Double> alpha) {
    /** The published weight of the branch in which a token's modality is present (VideoLLaMA2). */
    public static final double PRESENT = 0.8;

    /** What silencing means. */
    public enum How {
        /** Input embeddings become zeros, positions stay. */
        ZEROS,
        /** No token of another modality attends to the span, below the merge. */
        MASK;

        /** The name in strategy files. */
        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    public ForkMerge {
        silence = List.copyOf(silence);
        alpha = Map.copyOf(alpha);
        Objects.requireNonNull(how);
        Objects.requireNonNull(place);
        if (silence.size() != 2 || silence.get(0) == silence.get(1)) {
            throw new BadInputException(
                    "fork-merge silences two different modalities", "forkMerge.silence " + silence, "name two");
        }
        alpha.forEach((modality, weight) -> {
            if (!(weight >= 0 && weight <= 1)) {
                throw new BadInputException(
                        "alpha out of range", "forkMerge.alpha." + modality.label(), "choose 0..1");
            }
        });
    }

    /** The first branch's weights, spelled out for every modality. */
    public Map<Modality, Double> weights() {
        final Map<Modality, Double> weights = new EnumMap<>(Modality.class);
        for (final Modality modality : Modality.values()) {
            final int silenced = silence.indexOf(modality);
            final double given = alpha.getOrDefault(modality, silenced < 0 ? Merge.EVEN : PRESENT);
            weights.put(modality, silenced == 0 ? 1 - given : given);
        }
        return weights;
    }

    /** A block, by number or by depth. */
    public sealed interface Place {
        /**
         * The block's number in a model; a share never reaches the last block, behind which nothing is left.
         *
         * @param depth its number of blocks
         */
        int resolve(int depth);

        /**
         * By number.
         *
         * @param layer counted from 0
         */
        record Block(int layer) implements Place {
            @Override
            public int resolve(final int depth) {
                return layer;
            }

            @Override
            public String toString() {
                return Integer.toString(layer);
            }
        }

        /**
         * By depth.
         *
         * @param percent 0..100 of the model's blocks
         */
        record Share(double percent) implements Place {
            @Override
            public int resolve(final int depth) {
                return Math.max(0, Math.min((int) (percent * depth / 100), depth - 2));
            }

            @Override
            public String toString() {
                return BigDecimal.valueOf(percent).toPlainString() + "%";
            }
        }
    }
}
