package dev.equipoise.steering.edit;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.steering.Layers;
import java.util.EnumSet;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.Set;

/** Changes what tokens attend to. */
public sealed interface AttentionEdit extends Edit {
    /** Blocks whose attention changes. */
    Layers layers();

    /** The queries. */
    Scope queries();

    /** The edit's name in strategy files. */
    String edit();

    @Override
    default String name() {
        return "attention:" + edit();
    }

    /**
     * Multiplies the weights of a span's keys and renormalises.
     *
     * @param span whose keys
     * @param medium number of one picture or sound, empty for all of the span
     * @param factor 0..10000; 0 hides the span
     * @param layers blocks
     * @param queries tokens whose attention changes
     */
    record Multiply(Modality span, OptionalInt medium, double factor, Layers layers, Scope queries)
            implements AttentionEdit {
        /** Strategy files call it so. */
        public static final String EDIT = "multiply";

        public Multiply {
            Objects.requireNonNull(span);
            Objects.requireNonNull(medium);
            Objects.requireNonNull(layers);
            Objects.requireNonNull(queries);
        }

        @Override
        public String edit() {
            return EDIT;
        }

        @Override
        public boolean isIdle() {
            return factor == 1;
        }

        @Override
        public Intervention resolve(final int depth) {
            return new Intervention.Reweigh(
                    name(), EnumSet.of(span), medium, factor, layers.resolve(depth), queries);
        }
    }

    /**
     * Hides a span from tokens of other modalities.
     *
     * @param span what is hidden
     * @param medium number of one picture or sound, empty for all of the span
     * @param from the modalities that may not see it; generated tokens are text
     * @param layers blocks
     */
    record Mask(Modality span, OptionalInt medium, Set<Modality> from, Layers layers) implements AttentionEdit {
        /** Strategy files call it so. */
        public static final String EDIT = "mask";

        public Mask {
            Objects.requireNonNull(span);
            Objects.requireNonNull(medium);
            Objects.requireNonNull(layers);
            from = Set.copyOf(from);
            if (from.isEmpty() || from.contains(span)) {
                throw new BadInputException(
                        from.isEmpty() ? "a mask from nobody" : "a span hidden from itself",
                        "mask " + span.label() + " from " + from,
                        "name other modalities");
            }
        }

        @Override
        public Scope queries() {
            return Scope.all().of(from);
        }

        @Override
        public String edit() {
            return EDIT;
        }

        @Override
        public boolean isIdle() {
            return false;
        }

        @Override
        public Intervention resolve(final int depth) {
            return new Intervention.Reweigh(name(), EnumSet.of(span), medium, 0, layers.resolve(depth), queries());
        }
    }

    /**
     * Divides scores by a temperature: more than 1 softens (Compose and Fuse, arXiv 2509.23744).
     *
     * @param tau 0.001..1000
     * @param layers blocks
     * @param queries tokens whose attention changes
     */
    record Temperature(double tau, Layers layers, Scope queries) implements AttentionEdit {
        /** Strategy files call it so. */
        public static final String EDIT = "temperature";

        public Temperature {
            Objects.requireNonNull(layers);
            Objects.requireNonNull(queries);
        }

        @Override
        public String edit() {
            return EDIT;
        }

        @Override
        public boolean isIdle() {
            return tau == 1;
        }

        @Override
        public Intervention resolve(final int depth) {
            return new Intervention.Soften(name(), tau, layers.resolve(depth), queries);
        }
    }
}
