package dev.equipoise.runtime.intervention;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import java.util.Collections;
import java.util.EnumSet;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;

/**
 * Something that acts inside the network on tokens of one branch. Several compose in the order in which the branch
 * names them; each block's interventions act on what those before them left.
 */
public sealed interface Intervention {
    /** How traces and explanations call it. */
    String name();

    /** The tokens it acts on; for attention, the queries. */
    Scope scope();

    /** The layers it acts at, ascending; empty for what acts on the input embeddings. */
    SortedSet<Integer> layers();

    /** What steering does to a hidden state h of {@code [width]}, given the layer's vector v and an amount a. */
    enum Operation {
        /** {@code h + a v}: CAA, MC2, repeng. */
        ADD,
        /** {@code h + a v}, rescaled to the norm that h had. */
        ADD_NORM_PRESERVING,
        /** {@code h - (h.r) r} with the unit vector r of v: directional ablation (arXiv 2406.11717). */
        ABLATE,
        /** {@code h + (a - h.r) r} with the unit vector r of v: the component along r becomes a. */
        CLAMP,
        /**
         * {@code h - P h + |P h| (cos(a) b1 + sin(a) b2)}, a in radians, with b1 the unit vector of v, b2 that of the
         * second vector made orthogonal to it, and P the projection onto their plane: angular steering.
         */
        ROTATE
    }

    /**
     * Changes the output of blocks along a direction.
     *
     * @param name for the trace
     * @param operation what happens
     * @param vectors one per layer; the layers that have one are those it acts at
     * @param second the other vector of the plane, for {@link Operation#ROTATE} only, at the same layers
     * @param amount scale, target or angle, as the operation says; ignored by {@link Operation#ABLATE}
     * @param scope tokens
     */
    record Steer(
            String name,
            Operation operation,
            LayerVectors vectors,
            Optional<LayerVectors> second,
            double amount,
            Scope scope)
            implements Intervention {
        public Steer {
            Objects.requireNonNull(name);
            Objects.requireNonNull(operation);
            Objects.requireNonNull(scope);
            require(Double.isFinite(amount) && Float.isFinite((float) amount), "an amount that is not finite", name,
                    "choose a finite one");
            require(second.isPresent() == (operation == Operation.ROTATE), "a plane needs two vectors", name,
                    "give rotate a second vector, and nothing else one");
            second.ifPresent(other -> require(
                    other.layers().equals(vectors.layers()) && other.width() == vectors.width(),
                    "the two vectors of a plane differ in layers or width", name, "give both the same layers"));
        }

        @Override
        public SortedSet<Integer> layers() {
            return vectors.layers();
        }
    }

    /**
     * Multiplies the attention weights of a span's keys by a factor and renormalises each row: exactly an additive
     * {@code ln factor} on their scores before the softmax, with flash attention on. Factor 0 hides the span.
     *
     * @param name for the trace
     * @param span whose keys
     * @param medium number of one picture or sound, empty for all of the modalities
     * @param factor at least 0
     * @param layers blocks whose attention changes
     * @param scope queries
     */
    record Reweigh(
            String name,
            Set<Modality> span,
            OptionalInt medium,
            double factor,
            SortedSet<Integer> layers,
            Scope scope)
            implements Intervention {
        /** Beyond this a factor is a mistake: its logarithm would swamp every score. */
        public static final double MAX_FACTOR = 1e4;

        public Reweigh {
            Objects.requireNonNull(name);
            Objects.requireNonNull(medium);
            Objects.requireNonNull(scope);
            span = Set.copyOf(span);
            layers = copy(layers, name);
            require(!span.isEmpty(), "attention to no modality", name, "name a span");
            require(factor >= 0 && factor <= MAX_FACTOR, "attention factor out of range", name + " " + factor,
                    "choose 0.." + MAX_FACTOR);
        }
    }

    /**
     * Divides the attention scores of some queries by a temperature, by scaling the queries.
     *
     * @param name for the trace
     * @param tau above 0; more than 1 softens
     * @param layers blocks whose attention changes
     * @param scope queries
     */
    record Soften(String name, double tau, SortedSet<Integer> layers, Scope scope) implements Intervention {
        public Soften {
            Objects.requireNonNull(name);
            Objects.requireNonNull(scope);
            layers = copy(layers, name);
            require(tau >= 1e-3 && tau <= 1e3, "attention temperature out of range", name + " " + tau,
                    "choose 0.001..1000");
        }
    }

    /**
     * Replaces the input embeddings of some modalities by zeros; positions stay.
     *
     * @param name for the trace
     * @param modalities whose prompt tokens
     */
    record Silence(String name, Set<Modality> modalities) implements Intervention {
        public Silence {
            Objects.requireNonNull(name);
            modalities = Set.copyOf(modalities);
            require(!modalities.isEmpty(), "nothing to silence", name, "name a modality");
        }

        @Override
        public Scope scope() {
            return Scope.all().during(EnumSet.of(Phase.PROMPT)).of(modalities);
        }

        @Override
        public SortedSet<Integer> layers() {
            return new TreeSet<>();
        }
    }

    private static SortedSet<Integer> copy(final SortedSet<Integer> layers, final String name) {
        require(!layers.isEmpty() && layers.first() >= 0, "no layer to act at", name, "name layers, counted from 0");
        return Collections.unmodifiableSortedSet(new TreeSet<>(layers));
    }

    private static void require(final boolean ok, final String what, final String where, final String remedy) {
        if (!ok) {
            throw new BadInputException(what, where, remedy);
        }
    }
}
