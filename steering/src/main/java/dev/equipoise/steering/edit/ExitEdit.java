package dev.equipoise.steering.edit;

import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.Divergence;
import dev.equipoise.steering.Exits;
import java.util.List;
import java.util.Objects;
import java.util.Set;

/** Lets what earlier blocks would have said act on the logits. */
public sealed interface ExitEdit extends Edit {
    /** Which outputs. */
    Exits layers();

    /** The edit's name in strategy files. */
    String method();

    @Override
    default String name() {
        return "exits:" + method();
    }

    /**
     * {@code (1 - weight) z + weight mean_l z_l}: VISTA's token-logit augmentation (arXiv 2502.03628).
     *
     * @param layers exits
     * @param weight 0..1
     * @param normed whether block outputs pass the final norm before the head
     */
    record Average(Exits layers, double weight, boolean normed) implements ExitEdit {
        /** Strategy files call it so. */
        public static final String METHOD = "average";

        public Average {
            Objects.requireNonNull(layers);
        }

        @Override
        public String method() {
            return METHOD;
        }

        @Override
        public boolean isIdle() {
            return weight == 0;
        }

        @Override
        public List<Intervention> resolve(final int depth, final Set<Modality> present) {
            return List.of(new Intervention.AverageExits(name(), layers.resolve(depth), weight, normed));
        }
    }

    /**
     * The log-probabilities less those of the earlier block that differs most: DoLa (arXiv 2309.03883).
     *
     * @param layers candidates
     * @param relativeTop tokens less likely than this times the likeliest are cut off, 0..1
     * @param normed whether outputs of blocks pass the final norm before the head
     * @param divergence by which it differs most
     */
    record Contrast(Exits layers, double relativeTop, boolean normed, Divergence divergence) implements ExitEdit {
        /** Strategy files call it so. */
        public static final String METHOD = "contrast";

        public Contrast {
            Objects.requireNonNull(layers);
            Objects.requireNonNull(divergence);
        }

        @Override
        public String method() {
            return METHOD;
        }

        @Override
        public boolean isIdle() {
            return false;
        }

        @Override
        public List<Intervention> resolve(final int depth, final Set<Modality> present) {
            return List.of(
                    new Intervention.ContrastExits(name(), layers.resolve(depth), relativeTop, normed, divergence));
        }
    }
}
