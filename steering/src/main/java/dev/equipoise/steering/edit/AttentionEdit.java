package dev.equipoise.steering.edit;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.intervention.Heads;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.steering.Layers;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Objects;
import java.util.OptionalInt;
import java.util.Set;

/** Changes what tokens attend to. */
public sealed interface AttentionEdit extends Edit {
    /** Blocks whose attention changes. */
    Layers layers();

    /** Heads whose attention changes. */
    default Heads heads() {
        return Heads.ALL;
    }

    /** The queries. */
    Scope queries();

    /** The edit's name in strategy files. */
    String edit();

    @Override
    default String name() {
        return "attention:" + edit();
    }

    private static void requireParts(final Object... parts) {
        for (final Object part : parts) {
            Objects.requireNonNull(part);
        }
    }

    /**
     * Multiplies the weights of a span's keys and renormalises.
     *
     * @param span whose keys
     * @param medium number of one picture or sound, empty for all of the span
     * @param factor 0..10000; 0 hides the span
     * @param layers blocks
     * @param heads which of their heads
     * @param queries tokens whose attention changes
     */
    record Multiply(
            Modality span, OptionalInt medium, double factor, Layers layers, Heads heads, Scope queries)
            implements AttentionEdit {
        /** Strategy files call it so. */
        public static final String EDIT = "multiply";

        public Multiply {
            requireParts(span, medium, layers, heads, queries);
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
        public List<Intervention> resolve(final int depth, final Set<Modality> present) {
            return List.of(new Intervention.Reweigh(
                    name(), EnumSet.of(span), medium, factor, layers.resolve(depth), heads, queries));
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
            requireParts(span, medium, layers);
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
        public List<Intervention> resolve(final int depth, final Set<Modality> present) {
            return List.of(new Intervention.Reweigh(
                    name(), EnumSet.of(span), medium, 0, layers.resolve(depth), queries()));
        }
    }

    /**
     * Divides scores by a temperature: more than 1 softens (Compose and Fuse, arXiv 2509.23744).
     *
     * @param tau 0.001..1000
     * @param layers blocks
     * @param heads which of their heads
     * @param queries tokens whose attention changes
     */
    record Temperature(double tau, Layers layers, Heads heads, Scope queries) implements AttentionEdit {
        /** Strategy files call it so. */
        public static final String EDIT = "temperature";

        public Temperature {
            requireParts(layers, heads, queries);
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
        public List<Intervention> resolve(final int depth, final Set<Modality> present) {
            return List.of(new Intervention.Soften(name(), tau, layers.resolve(depth), heads, queries));
        }
    }

    /**
     * Raises the scores s of a span's keys to {@code s + alpha |s|}: PAI's attention half (arXiv 2407.21771).
     *
     * @param span whose keys
     * @param alpha -100..100
     * @param layers blocks
     * @param heads which of their heads
     * @param queries tokens whose attention changes
     */
    record Pai(Modality span, double alpha, Layers layers, Heads heads, Scope queries)
            implements AttentionEdit {
        /** Strategy files call it so. */
        public static final String EDIT = "pai";

        public Pai {
            requireParts(span, layers, heads, queries);
        }

        @Override
        public String edit() {
            return EDIT;
        }

        @Override
        public boolean isIdle() {
            return alpha == 0;
        }

        @Override
        public List<Intervention> resolve(final int depth, final Set<Modality> present) {
            return List.of(new Intervention.RaiseScores(
                    name(), EnumSet.of(span), alpha, layers.resolve(depth), heads, queries));
        }
    }

    /**
     * Multiplies the scores of a span's keys, and those of the system text if there is one: VAF (arXiv 2503.13107).
     *
     * @param span whose keys
     * @param spanFactor -100..100
     * @param systemFactor -100..100
     * @param layers blocks
     * @param heads which of their heads
     * @param queries tokens whose attention changes
     */
    record Vaf(
            Modality span, double spanFactor, double systemFactor, Layers layers, Heads heads, Scope queries)
            implements AttentionEdit {
        /** Strategy files call it so. */
        public static final String EDIT = "vaf";

        public Vaf {
            requireParts(span, layers, heads, queries);
        }

        @Override
        public String edit() {
            return EDIT;
        }

        @Override
        public boolean isIdle() {
            return spanFactor == 1 && systemFactor == 1;
        }

        @Override
        public List<Intervention> resolve(final int depth, final Set<Modality> present) {
            final List<Intervention> both = new ArrayList<>();
            both.add(new Intervention.ScaleScores(
                    name(), EnumSet.of(span), spanFactor, layers.resolve(depth), heads, queries));
            if (systemFactor != 1 && present.contains(Modality.SYSTEM)) {
                both.add(new Intervention.ScaleScores(
                        name() + ":system",
                        EnumSet.of(Modality.SYSTEM),
                        systemFactor,
                        layers.resolve(depth),
                        heads,
                        queries));
            }
            return both;
        }
    }

    /**
     * Takes weight from attention sinks and gives it to a span, in heads that look at the span: VAR (ICLR 2025).
     *
     * @param span whose keys take
     * @param sinkDimensions by which a key is a sink, a property of the model
     * @param tau how large a state must be there, in root mean squares
     * @param rho largest share of sinks in what the span holds, 0..1
     * @param mass least that the span must hold, 0..1
     * @param sinkWeight what a sink's weight is multiplied by, 0..1
     * @param layers blocks
     * @param heads which of their heads
     * @param queries tokens whose attention changes
     */
    record Var(
            Modality span,
            List<Integer> sinkDimensions,
            double tau,
            double rho,
            double mass,
            double sinkWeight,
            Layers layers,
            Heads heads,
            Scope queries)
            implements AttentionEdit {
        /** Strategy files call it so. */
        public static final String EDIT = "var";

        public Var {
            requireParts(span, layers, heads, queries);
            sinkDimensions = List.copyOf(sinkDimensions);
        }

        @Override
        public String edit() {
            return EDIT;
        }

        @Override
        public boolean isIdle() {
            return sinkWeight == 1;
        }

        @Override
        public List<Intervention> resolve(final int depth, final Set<Modality> present) {
            return List.of(new Intervention.DrainSinks(
                    name(),
                    EnumSet.of(span),
                    sinkDimensions,
                    tau,
                    rho,
                    mass,
                    sinkWeight,
                    layers.resolve(depth),
                    heads,
                    queries));
        }
    }

    /**
     * Moves a fraction of one modality's weight to another where its share of both passes a threshold; rows keep their
     * sums. In the style of MoSEAR's attention reallocation (arXiv 2508.01181), whose formula is not known.
     *
     * @param from whose keys give
     * @param to whose keys take
     * @param threshold 0..1
     * @param fraction 0..1
     * @param layers blocks
     * @param heads which of their heads
     * @param queries tokens whose attention changes
     */
    record Reallocate(
            Modality from, Modality to, double threshold, double fraction, Layers layers, Heads heads,
            Scope queries)
            implements AttentionEdit {
        /** Strategy files call it so. */
        public static final String EDIT = "reallocate";

        public Reallocate {
            requireParts(from, to, layers, heads, queries);
        }

        @Override
        public String edit() {
            return EDIT;
        }

        @Override
        public boolean isIdle() {
            return fraction == 0;
        }

        @Override
        public List<Intervention> resolve(final int depth, final Set<Modality> present) {
            return List.of(new Intervention.MoveWeights(
                    name(),
                    EnumSet.of(from),
                    EnumSet.of(to),
                    threshold,
                    fraction,
                    layers.resolve(depth),
                    heads,
                    queries));
        }
    }

    /**
     * Lets attention sinks of the prompt gather from all of it, and turns what heads give other tokens to the sinks:
     * OutRo (arXiv 2603.14337), as {@link Intervention.TurnToSinks} says.
     *
     * @param threshold least size of a sink's largest element, 0..1e6
     * @param medianFactor least size of it in medians of all, 0..1e6
     * @param gamma 0..1000; 0: none is turned
     * @param temperature 0.001..1000
     * @param every blocks from one in which sinks gather to the next, 0: none gathers; empty: a seventh of the depth
     * @param layers blocks
     */
    record OutRo(
            double threshold, double medianFactor, double gamma, double temperature, OptionalInt every, Layers layers)
            implements AttentionEdit {
        /** Strategy files call it so. */
        public static final String EDIT = "outro";

        private static final int PARTS = 7;

        public OutRo {
            requireParts(every, layers);
        }

        /** Blocks from one in which sinks gather to the next, in a model of so many. */
        public int everyOf(final int depth) {
            return every.orElse(Math.max(1, depth / PARTS));
        }

        @Override
        public Scope queries() {
            return Scope.all();
        }

        @Override
        public String edit() {
            return EDIT;
        }

        @Override
        public boolean isIdle() {
            return gamma == 0 && every.isPresent() && every.getAsInt() == 0;
        }

        @Override
        public List<Intervention> resolve(final int depth, final Set<Modality> present) {
            return List.of(new Intervention.TurnToSinks(
                    name(), threshold, medianFactor, gamma, temperature, everyOf(depth), layers.resolve(depth)));
        }
    }
}
