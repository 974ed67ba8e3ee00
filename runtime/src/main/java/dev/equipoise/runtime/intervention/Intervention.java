package dev.equipoise.runtime.intervention;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
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

    /** The heads it acts on; of consequence for attention only. */
    default Heads heads() {
        return Heads.ALL;
    }

    /** On what it depends whether it acts at all. */
    default Optional<When> when() {
        return Optional.empty();
    }

    /** Whether it changes what tokens attend to, and does not only look or act on what comes of it. */
    default boolean editsAttention() {
        return switch (this) {
            case Reweigh reweigh -> true;
            case Soften soften -> true;
            case RaiseScores raise -> true;
            case ScaleScores scale -> true;
            case MoveWeights move -> true;
            case DrainSinks drain -> true;
            case Hide hide -> true;
            case HideAttended hide -> true;
            case MuteAttended mute -> true;
            case TurnToSinks turn -> true;
            case Steer steer -> false;
            case Silence silence -> false;
            case Mute mute -> false;
            case ReadAttention read -> false;
            case ReadStates read -> false;
            case AverageExits exits -> false;
            case ContrastExits exits -> false;
        };
    }

    /** Which of a block's tensors an intervention acts on, each of {@code [width]} per token. */
    enum Place {
        /** The output of the block. */
        LAYER,
        /** What its feed-forward part adds to the residual. */
        MLP,
        /** What its attention adds to the residual. */
        ATTENTION,
        /** What both its norms hand on. */
        NORM,
        /** Not of a block: what enters the first one, before any factor that a model puts on its embeddings. */
        EMBEDDING;

        /** The lower-case name used in strategy files. */
        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

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
        ROTATE,
        /** {@code |h| unit(unit(h) + a r)} with the unit vector r of v: VTI's edit (arXiv 2410.15778). */
        TURN,
        /** {@link #TURN} by {@code a (1 + max(0, -cos(h, v)))}: VISTA's edit (arXiv 2502.03628). */
        TURN_AWARE,
        /** {@link #ROTATE} where {@code h.b1 > 0}: adaptive angular steering. */
        ROTATE_TOWARD,
        /**
         * {@code h + a v}, rescaled to the norm that h had where it is longer: CAST's preventive norm (arXiv
         * 2409.05907), each token by itself, where the published code rescales all tokens of a pass if one has grown.
         */
        ADD_NORM_CAPPED,
        /** {@code h + a sign(h.v) v}: RepE's piecewise-linear operator (arXiv 2310.01405). */
        ADD_SIGNED;

        /** Whether it acts in a plane, which takes two vectors. */
        public boolean isPlanar() {
            return this == ROTATE || this == ROTATE_TOWARD;
        }

        /** Whether the amount is a strength, at 0 of which h stays as it is. */
        public boolean isIdleAtZero() {
            return switch (this) {
                case ADD, ADD_NORM_PRESERVING, ADD_NORM_CAPPED, ADD_SIGNED, TURN, TURN_AWARE -> true;
                case ABLATE, CLAMP, ROTATE, ROTATE_TOWARD -> false;
            };
        }
    }

    /**
     * Changes hidden states along a direction.
     *
     * @param name for the trace
     * @param operation what happens
     * @param place where in the block
     * @param vectors one per layer; the layers that have one are those it acts at; {@link Place#EMBEDDING} takes one
     *     for layer 0
     * @param second the other vector of the plane, for planar operations only, at the same layers
     * @param amount scale, target or angle, as the operation says; ignored by {@link Operation#ABLATE}
     * @param scope tokens
     * @param when on what it depends whether it acts at all
     */
    record Steer(
            String name,
            Operation operation,
            Place place,
            LayerVectors vectors,
            Optional<LayerVectors> second,
            double amount,
            Scope scope,
            Optional<When> when)
            implements Intervention {
        public Steer {
            Objects.requireNonNull(name);
            Objects.requireNonNull(when);
            Objects.requireNonNull(operation);
            Objects.requireNonNull(place);
            Objects.requireNonNull(scope);
            require(Double.isFinite(amount) && Float.isFinite((float) amount), "an amount that is not finite", name,
                    "choose a finite one");
            require(second.isPresent() == operation.isPlanar(), "a plane needs two vectors", name,
                    "give rotations a second vector, and nothing else one");
            requireEntered(place, vectors.layers(), name);
            second.ifPresent(other -> require(
                    other.layers().equals(vectors.layers()) && other.width() == vectors.width(),
                    "the two vectors of a plane differ in layers or width", name, "give both the same layers"));
        }

        /** Steering that depends on nothing. */
        public Steer(
                final String name,
                final Operation operation,
                final Place place,
                final LayerVectors vectors,
                final Optional<LayerVectors> second,
                final double amount,
                final Scope scope) {
            this(name, operation, place, vectors, second, amount, scope, Optional.empty());
        }

        /** Steering of the outputs of blocks. */
        public Steer(
                final String name,
                final Operation operation,
                final LayerVectors vectors,
                final Optional<LayerVectors> second,
                final double amount,
                final Scope scope) {
            this(name, operation, Place.LAYER, vectors, second, amount, scope);
        }

        @Override
        public SortedSet<Integer> layers() {
            return place == Place.EMBEDDING ? Collections.emptySortedSet() : vectors.layers();
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
     * @param heads which of their heads
     * @param scope queries
     */
    record Reweigh(
            String name,
            Set<Modality> span,
            OptionalInt medium,
            double factor,
            SortedSet<Integer> layers,
            Heads heads,
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
            Objects.requireNonNull(heads);
        }

        /** The same for all heads. */
        public Reweigh(
                final String name,
                final Set<Modality> span,
                final OptionalInt medium,
                final double factor,
                final SortedSet<Integer> layers,
                final Scope scope) {
            this(name, span, medium, factor, layers, Heads.ALL, scope);
        }
    }

    /**
     * Divides the attention scores of some queries by a temperature, by scaling the queries.
     *
     * @param name for the trace
     * @param tau above 0; more than 1 softens
     * @param layers blocks whose attention changes
     * @param heads which of their heads
     * @param scope queries
     */
    record Soften(String name, double tau, SortedSet<Integer> layers, Heads heads, Scope scope)
            implements Intervention {
        public Soften {
            Objects.requireNonNull(name);
            Objects.requireNonNull(heads);
            Objects.requireNonNull(scope);
            layers = copy(layers, name);
            require(tau >= 1e-3 && tau <= 1e3, "attention temperature out of range", name + " " + tau,
                    "choose 0.001..1000");
        }

        /** The same for all heads. */
        public Soften(final String name, final double tau, final SortedSet<Integer> layers, final Scope scope) {
            this(name, tau, layers, Heads.ALL, scope);
        }
    }

    /**
     * Raises the scores s of a span's keys to {@code s + alpha |s|} before the softmax: PAI's attention half
     * (arXiv 2407.21771). Its layers leave the flash path.
     *
     * @param name for the trace
     * @param span whose keys
     * @param alpha -100..100
     * @param layers blocks whose attention changes
     * @param heads which of their heads
     * @param scope queries
     */
    record RaiseScores(
            String name, Set<Modality> span, double alpha, SortedSet<Integer> layers, Heads heads, Scope scope)
            implements Intervention {
        public RaiseScores {
            span = checked(name, span, heads, scope);
            layers = copy(layers, name);
            require(Math.abs(alpha) <= MAX_SCORE_FACTOR, "alpha out of range", name + " " + alpha,
                    "choose -100..100");
        }
    }

    /**
     * Multiplies the scores of a span's keys before the softmax, as VAF does (arXiv 2503.13107). A negative score falls
     * when the factor is above 1. Its layers leave the flash path.
     *
     * @param name for the trace
     * @param span whose keys
     * @param factor -100..100
     * @param layers blocks whose attention changes
     * @param heads which of their heads
     * @param scope queries
     */
    record ScaleScores(
            String name, Set<Modality> span, double factor, SortedSet<Integer> layers, Heads heads, Scope scope)
            implements Intervention {
        public ScaleScores {
            span = checked(name, span, heads, scope);
            layers = copy(layers, name);
            require(Math.abs(factor) <= MAX_SCORE_FACTOR, "factor out of range", name + " " + factor,
                    "choose -100..100");
        }
    }

    /**
     * Moves a fraction of the weight on one span to another, in proportion to what is there, where the first holds more
     * than a threshold of what both hold; rows keep their sums. In the style of MoSEAR's attention reallocation (arXiv
     * 2508.01181), whose formula is not known. Its layers leave the flash path.
     *
     * @param name for the trace
     * @param from whose keys give
     * @param to whose keys take
     * @param threshold 0..1
     * @param fraction 0..1
     * @param layers blocks whose attention changes
     * @param heads which of their heads
     * @param scope queries
     */
    record MoveWeights(
            String name,
            Set<Modality> from,
            Set<Modality> to,
            double threshold,
            double fraction,
            SortedSet<Integer> layers,
            Heads heads,
            Scope scope)
            implements Intervention {
        public MoveWeights {
            from = checked(name, from, heads, scope);
            to = checked(name, to, heads, scope);
            layers = copy(layers, name);
            require(Collections.disjoint(from, to), "weight moved from a span to itself", name,
                    "name two spans that have nothing in common");
            require(isShare(threshold) && isShare(fraction), "threshold or fraction out of range",
                    name + " " + threshold + ", " + fraction, "choose 0..1");
        }
    }

    /**
     * Takes weight from attention sinks and gives it to a span, in heads that look at the span and not at its sinks:
     * VAR (ICLR 2025). A key is a sink at a layer when some {@code |x_d|} of the state that enters it is more than tau
     * times the root mean square. Its layers leave the flash path.
     *
     * @param name for the trace
     * @param span whose keys take
     * @param dimensions d, each below the model's width; which ones is a property of the model
     * @param tau at least 0
     * @param rho largest share of sinks in what the span holds, 0..1
     * @param mass least that the span must hold, 0..1
     * @param keep what a sink's weight is multiplied by, 0..1
     * @param layers blocks whose attention changes
     * @param heads which of their heads
     * @param scope queries
     */
    record DrainSinks(
            String name,
            Set<Modality> span,
            List<Integer> dimensions,
            double tau,
            double rho,
            double mass,
            double keep,
            SortedSet<Integer> layers,
            Heads heads,
            Scope scope)
            implements Intervention {
        public DrainSinks {
            span = checked(name, span, heads, scope);
            dimensions = List.copyOf(dimensions);
            layers = copy(layers, name);
            require(!dimensions.isEmpty() && dimensions.stream().allMatch(d -> d >= 0),
                    "no dimension to know sinks by", name, "name those of the model's massive activations");
            require(tau >= 0 && tau <= Float.MAX_VALUE && isShare(rho) && isShare(mass) && isShare(keep),
                    "tau, rho, mass or sinkWeight out of range",
                    name + " " + tau + ", " + rho + ", " + mass + ", " + keep,
                    "choose tau at least 0 and the others 0..1");
        }
    }

    /**
     * Changes nothing and notes how attention is shared out: {@link AttentionMass}. Its layers leave the flash path.
     *
     * @param name for the trace
     * @param layers blocks
     * @param scope queries
     */
    record ReadAttention(String name, SortedSet<Integer> layers, Scope scope) implements Intervention {
        public ReadAttention {
            Objects.requireNonNull(name);
            Objects.requireNonNull(scope);
            layers = copy(layers, name);
        }
    }

    /**
     * Changes nothing and notes the mean of hidden states.
     *
     * @param name for the trace
     * @param place which states
     * @param layers blocks; 0 for {@link Place#EMBEDDING}
     * @param scope tokens
     */
    record ReadStates(String name, Place place, SortedSet<Integer> layers, Scope scope) implements Intervention {
        public ReadStates {
            Objects.requireNonNull(name);
            Objects.requireNonNull(place);
            Objects.requireNonNull(scope);
            layers = copy(layers, name);
            requireEntered(place, layers, name);
        }
    }

    /**
     * Mixes into the logits the mean of what earlier blocks would have said: {@code (1 - w) z + w mean_l z_l}, VISTA's
     * token-logit augmentation (arXiv 2502.03628).
     *
     * @param name for the trace
     * @param layers blocks, and {@link #EMBEDDING}
     * @param weight w, 0..1
     * @param normed whether their outputs pass the final norm before the head; not so in the published code
     */
    record AverageExits(String name, SortedSet<Integer> layers, double weight, boolean normed)
            implements Intervention {
        public AverageExits {
            Objects.requireNonNull(name);
            layers = copy(layers, EMBEDDING, name);
            require(isShare(weight), "weight out of range", name + " " + weight, "choose 0..1");
        }

        @Override
        public Scope scope() {
            return Scope.all().within(Reach.LAST);
        }
    }

    /** How far two distributions P and Q are from each other, in nats, with {@code M = (P + Q) / 2}. */
    enum Divergence {
        /** {@code KL(P, M) / 2 + KL(Q, M) / 2}, as DoLa's paper has it. */
        JENSEN_SHANNON,
        /**
         * {@code KL(M, P) / 2 + KL(M, Q) / 2}, as DoLa's published code has it: its calls of a library's function have
         * the distributions the other way round. Unlike the first it has no bound, and words that one of them gives
         * hardly a chance decide it.
         */
        ARITHMETIC_GEOMETRIC;

        /** The name used in strategy files. */
        public String label() {
            return name().toLowerCase(Locale.ROOT).replace('_', '-');
        }
    }

    /**
     * Contrasts the logits with those of the earlier block whose distribution is farthest from theirs: DoLa (arXiv
     * 2309.03883), {@code ln softmax(z) - ln softmax(z_M)}.
     *
     * @param name for the trace
     * @param layers candidates for M: blocks, and {@link #EMBEDDING}
     * @param relativeTop tokens less likely than this times the likeliest are cut off, 0..1
     * @param normed whether their outputs pass the final norm before the head; not so in the published code
     * @param divergence what says which is farthest, the first of equals
     */
    record ContrastExits(
            String name, SortedSet<Integer> layers, double relativeTop, boolean normed, Divergence divergence)
            implements Intervention {
        public ContrastExits {
            Objects.requireNonNull(name);
            Objects.requireNonNull(divergence);
            layers = copy(layers, EMBEDDING, name);
            require(isShare(relativeTop), "relativeTop out of range", name + " " + relativeTop, "choose 0..1");
        }

        /** The same with every token left in. */
        public ContrastExits whole() {
            return new ContrastExits(name, layers, 0, normed, divergence);
        }

        @Override
        public Scope scope() {
            return Scope.all().within(Reach.LAST);
        }
    }

    /**
     * Replaces the input embeddings of prompt tokens by zeros; positions stay.
     *
     * @param name for the trace
     * @param modalities whose prompt tokens
     * @param tokens which of them, as columns of the prompt; empty: all
     */
    record Silence(String name, Set<Modality> modalities, Optional<SortedSet<Integer>> tokens)
            implements Intervention {
        public Silence {
            Objects.requireNonNull(name);
            modalities = Set.copyOf(modalities);
            tokens = columns(tokens, name);
            require(!modalities.isEmpty(), "nothing to silence", name, "name a modality");
        }

        /** All tokens of some modalities. */
        public Silence(final String name, final Set<Modality> modalities) {
            this(name, modalities, Optional.empty());
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

    /**
     * Hides keys of prompt tokens from queries, their own included: their weight is 0 wherever a query sees
     * anything else. Flash attention stays. All of a branch's interventions of this kind hide the same tokens; system
     * texts cannot be hidden.
     *
     * @param name for the trace
     * @param span whose tokens; generated ones are text
     * @param tokens which of them, as columns of the prompt, and of the tokens behind it where they are chosen when
     *     these are there ({@link dev.equipoise.runtime.Rechoice}); empty: all of the prompt's
     * @param layers blocks whose attention changes
     * @param scope queries
     */
    record Hide(
            String name,
            Set<Modality> span,
            Optional<SortedSet<Integer>> tokens,
            SortedSet<Integer> layers,
            Scope scope)
            implements Intervention {
        public Hide {
            Objects.requireNonNull(name);
            Objects.requireNonNull(scope);
            span = Set.copyOf(span);
            tokens = columns(tokens, name);
            layers = copy(layers, name);
            require(!span.isEmpty() && !span.contains(Modality.SYSTEM), "a span that cannot be hidden", name,
                    "name pictures, sounds, the note or the user's words");
        }

        /** The same from every query. */
        public Hide(
                final String name,
                final Set<Modality> span,
                final Optional<SortedSet<Integer>> tokens,
                final SortedSet<Integer> layers) {
            this(name, span, tokens, layers, Scope.all());
        }
    }

    /**
     * Hides from each query the keys of a span but for those that this very query attends to least in an earlier
     * block, by the mean of its heads there, of equal ones the first (SID, arXiv 2408.02032). Both happen in one
     * decode; keys that the query does not see in that block are left as they are. That block leaves the flash path,
     * the others stay. A branch has one at most.
     *
     * @param name for the trace
     * @param span whose tokens: pictures, sounds or the note, which are all there before a token is generated
     * @param keep how many stay, of all that the prompt has of the span
     * @param looked the block whose attention chooses, at least 0
     * @param layers blocks whose attention changes, all of them later
     * @param scope queries
     */
    record HideAttended(
            String name, Set<Modality> span, Keep keep, int looked, SortedSet<Integer> layers, Scope scope)
            implements Intervention {
        public HideAttended {
            Objects.requireNonNull(name);
            Objects.requireNonNull(keep);
            Objects.requireNonNull(scope);
            span = Set.copyOf(span);
            layers = copy(layers, name);
            require(
                    !span.isEmpty() && !span.contains(Modality.SYSTEM) && !span.contains(Modality.TEXT),
                    "a span of which nothing can be chosen", name, "name pictures, sounds or the note");
            require(looked >= 0 && looked < layers.first(), "a block that looks at keys after they are hidden",
                    name + ": block " + looked + ", hidden in " + layers, "name an earlier one");
        }
    }

    /**
     * Takes away what attention adds to the residual at prompt tokens: they keep their keys and values, which others
     * see, and learn nothing from others in these blocks.
     *
     * @param name for the trace
     * @param modalities whose tokens; generated ones are text
     * @param tokens which of them, as columns of the prompt, and of the tokens behind it where they are chosen when
     *     these are there ({@link dev.equipoise.runtime.Rechoice}); empty: all of the prompt's
     * @param layers blocks
     */
    record Mute(String name, Set<Modality> modalities, Optional<SortedSet<Integer>> tokens, SortedSet<Integer> layers)
            implements Intervention {
        public Mute {
            Objects.requireNonNull(name);
            modalities = Set.copyOf(modalities);
            tokens = columns(tokens, name);
            layers = copy(layers, name);
            require(!modalities.isEmpty(), "nothing to mute", name, "name a modality");
        }

        @Override
        public Scope scope() {
            return Scope.all().during(EnumSet.of(Phase.PROMPT)).of(modalities);
        }
    }

    /**
     * Takes away, in each head of each block by itself, what prompt tokens attend to: where the branch's latest token
     * attends to one of them with more than a threshold, in that head and in the same pass, that one's own weights
     * there become 0. It keeps its key and value, which others see (AVCD's official code, kaistmm/AVCD). From the first
     * such token to the latest all is read in one micro-batch; these blocks leave the flash path.
     *
     * @param name for the trace
     * @param modalities whose tokens; generated ones are text
     * @param tokens which of them, chosen with the threshold when these are there, as only a {@link
     *     dev.equipoise.runtime.Rechoice} does; empty before
     * @param above the threshold, 0..1
     * @param layers blocks
     */
    record MuteAttended(
            String name,
            Set<Modality> modalities,
            Optional<SortedSet<Integer>> tokens,
            double above,
            SortedSet<Integer> layers)
            implements Intervention {
        public MuteAttended {
            Objects.requireNonNull(name);
            modalities = Set.copyOf(modalities);
            tokens = columns(tokens, name);
            layers = copy(layers, name);
            require(!modalities.isEmpty(), "nothing to mute", name, "name a modality");
            require(isShare(above), "a threshold that no weight is near", name + ": " + above, "choose 0..1");
        }

        @Override
        public Scope scope() {
            return Scope.all().during(EnumSet.of(Phase.PROMPT)).of(modalities);
        }
    }

    /**
     * Lets a prompt's attention sinks gather, and turns other tokens to them: OutRo (arXiv 2603.14337), as its
     * published code runs (kaistmm/OutRo). In each of the blocks, sinks are the prompt tokens whose state, as it enters
     * the block, has an element of at least {@code threshold} and at least {@code medianFactor} times the median of all
     * elements of the prompt's states there, in absolute values.
     *
     * <p>Gather: in every {@code every}-th block, counted from block 0, sinks that have not done so in this pass get in
     * each head what their own query finds in the whole prompt, later tokens included. Turn: in every block that has
     * sinks, what each head gives a prompt token, o, becomes {@code o + gamma tanh(relu(cos(o, v)) / temperature) |o .
     * v| / (|v|^2 + 1e-8) v} at the length of o, v being the mean value of the sinks; not that of tokens which are
     * sinks there or were in a block before. Both act before the heads are projected.
     *
     * <p>A token behind the prompt is turned to the prompt's sinks in blocks whose sinks the prompt's first token is
     * not one of: for that one the code takes every token that is read alone.
     *
     * <p>The prompt is read in one micro-batch, words as rows among those of its media. These blocks leave the flash
     * path. A branch has one at most, and no other attention edit; it stands in no merge, gate or choice for every
     * token.
     *
     * @param name for the trace
     * @param threshold 0..1e6
     * @param medianFactor 0..1e6
     * @param gamma 0..1000; 0: none is turned
     * @param temperature 0.001..1000
     * @param every 1 or more; 0: none gathers
     * @param layers blocks
     */
    record TurnToSinks(
            String name,
            double threshold,
            double medianFactor,
            double gamma,
            double temperature,
            int every,
            SortedSet<Integer> layers)
            implements Intervention {
        private static final double MOST_STATE = 1e6;
        private static final double MOST_GAMMA = 1000;
        private static final double LEAST_TEMPERATURE = 1e-3;
        // What single precision holds.
        private static final int MOST_BLOCKS = 1 << 24;

        public TurnToSinks {
            Objects.requireNonNull(name);
            layers = copy(layers, name);
            require(threshold >= 0 && threshold <= MOST_STATE && medianFactor >= 0 && medianFactor <= MOST_STATE,
                    "threshold or medianFactor out of range",
                    name + " " + threshold + ", " + medianFactor,
                    "choose 0..1e6");
            require(gamma >= 0 && gamma <= MOST_GAMMA && temperature >= LEAST_TEMPERATURE
                            && temperature <= 1 / LEAST_TEMPERATURE,
                    "gamma or temperature out of range",
                    name + " " + gamma + ", " + temperature,
                    "choose gamma 0..1000 and temperature 0.001..1000");
            require(every >= 0 && every <= MOST_BLOCKS, "blocks at no distance", name + " " + every,
                    "choose 1 or more");
        }

        @Override
        public Scope scope() {
            return Scope.all();
        }
    }

    /** The input embeddings, where a layer is an exit. */
    int EMBEDDING = -1;

    /** Beyond this, what multiplies scores is a mistake. */
    double MAX_SCORE_FACTOR = 100;

    private static boolean isShare(final double value) {
        return value >= 0 && value <= 1;
    }

    private static Set<Modality> checked(
            final String name, final Set<Modality> span, final Heads heads, final Scope scope) {
        Objects.requireNonNull(name);
        Objects.requireNonNull(heads);
        Objects.requireNonNull(scope);
        require(!span.isEmpty(), "attention to no modality", name, "name a span");
        return Set.copyOf(span);
    }

    private static Optional<SortedSet<Integer>> columns(final Optional<SortedSet<Integer>> tokens, final String name) {
        return tokens.map(given -> {
            require(!given.isEmpty() && given.first() >= 0, "no token to act on", name,
                    "name columns of the prompt, counted from 0");
            return Collections.unmodifiableSortedSet(new TreeSet<>(given));
        });
    }

    private static SortedSet<Integer> copy(final SortedSet<Integer> layers, final String name) {
        return copy(layers, 0, name);
    }

    private static SortedSet<Integer> copy(final SortedSet<Integer> layers, final int least, final String name) {
        require(!layers.isEmpty() && layers.first() >= least, "no layer to act at", name,
                "name layers, counted from 0");
        return Collections.unmodifiableSortedSet(new TreeSet<>(layers));
    }

    private static void requireEntered(final Place place, final SortedSet<Integer> layers, final String name) {
        require(place != Place.EMBEDDING || layers.size() == 1 && layers.first() == 0,
                "embeddings that enter another block than the first", name + ": layers " + layers, "say layer 0");
    }

    private static void require(final boolean ok, final String what, final String where, final String remedy) {
        if (!ok) {
            throw new BadInputException(what, where, remedy);
        }
    }
}
