package dev.equipoise.decoding;

import dev.equipoise.decoding.expression.Expression;
import dev.equipoise.decoding.spec.Range;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.PixelNoise;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/**
 * How the base branch's next-token logits z are corrected by those of other branches, z'. The order is always the
 * same: contrast, then the plausibility cut-off, then the sampler chain. {@link LinearContrast} is the mechanism; the
 * methods here are short ways of writing one of its contrasts.
 *
 * <p>Plausibility beta, 0..1: a token stays only if its base logit is at least the largest one plus ln(beta); 0 keeps
 * all. Alpha, 0..100: the strength in {@code (1 + alpha) z - alpha z'}.
 */
public sealed interface Contrast
        permits Contrast.Plausibility,
                Contrast.Vcd,
                Contrast.Icd,
                Contrast.M3id,
                Contrast.Cad,
                LinearContrast {
    /** Allowed strengths. */
    Range ALPHA = Range.of(0, 100);
    /** Allowed plausibility cut-offs. */
    Range BETA = Range.of(0, 1);
    /** Allowed steps of VCD's diffusion schedule. */
    Range NOISE_STEP = Range.of(0, PixelNoise.MAX_STEP);
    /** Allowed growth rates per generated token. */
    Range LAMBDA = Range.of(0, 100);
    /** Allowed caps of a growing weight. */
    Range MAX_WEIGHT = Range.of(0, 10_000);

    /** The method's name in strategy files. */
    String method();

    /** The plausibility cut-off. */
    double beta();

    /**
     * The same, spelled out.
     *
     * @param present the modalities of the prompt, for a method that chooses among them
     * @throws BadInputException when there is none to choose
     */
    LinearContrast linear(Set<Modality> present);

    private static LinearContrast pair(
            final String second,
            final Variation variation,
            final Expression weight,
            final boolean logProbabilities,
            final double beta) {
        final Expression rest = new Expression.Negative(weight).simplified();
        return new LinearContrast(
                Map.of(),
                Map.of(second, variation),
                Map.of(LinearContrast.BASE, Expression.sum(Expression.of(1), weight), second, rest),
                logProbabilities,
                beta,
                LinearContrast.BASE);
    }

    /**
     * No second branch: the cut-off alone. The control that tells what of a contrast's effect is the cut-off's.
     *
     * @param beta see {@link Contrast}
     */
    record Plausibility(double beta) implements Contrast {
        /** Strategy files call it so. */
        public static final String METHOD = "plausibility";

        public Plausibility {
            beta = BETA.require("beta", beta);
        }

        @Override
        public String method() {
            return METHOD;
        }

        @Override
        public LinearContrast linear(final Set<Modality> present) {
            return new LinearContrast(
                    Map.of(),
                    Map.of(),
                    Map.of(LinearContrast.BASE, Expression.of(1)),
                    false,
                    beta,
                    LinearContrast.BASE);
        }
    }

    /**
     * Visual contrastive decoding (arXiv 2311.16922): the second branch sees every picture noised.
     *
     * @param alpha see {@link Contrast}
     * @param beta see {@link Contrast}
     * @param noiseStep step of the diffusion schedule, 0..999
     * @param seed seed of the noise; empty takes the request's
     */
    record Vcd(double alpha, double beta, int noiseStep, Optional<Long> seed) implements Contrast {
        /** Strategy files call it so. */
        public static final String METHOD = "vcd";

        public Vcd {
            alpha = ALPHA.require("alpha", alpha);
            beta = BETA.require("beta", beta);
            NOISE_STEP.require("noiseStep", noiseStep);
            Objects.requireNonNull(seed);
        }

        @Override
        public String method() {
            return METHOD;
        }

        @Override
        public LinearContrast linear(final Set<Modality> present) {
            final Variation noised = Variation.noised(new Variation.Noise(noiseStep, seed));
            return pair("noised", noised, Expression.of(alpha), false, beta);
        }
    }

    /**
     * Instruction contrastive decoding (arXiv 2403.18715): the second branch has a disturbing system text.
     *
     * @param alpha see {@link Contrast}
     * @param beta see {@link Contrast}
     * @param instruction the system text of the second branch, in place of the prompt's own
     */
    record Icd(double alpha, double beta, String instruction) implements Contrast {
        /** Strategy files call it so. */
        public static final String METHOD = "icd";

        public Icd {
            alpha = ALPHA.require("alpha", alpha);
            beta = BETA.require("beta", beta);
            Objects.requireNonNull(instruction);
        }

        @Override
        public String method() {
            return METHOD;
        }

        @Override
        public LinearContrast linear(final Set<Modality> present) {
            final Variation disturbed = Variation.saying(Modality.SYSTEM, instruction);
            return pair("disturbed", disturbed, Expression.of(alpha), false, beta);
        }
    }

    /**
     * Multi-modal mutual-information decoding (arXiv 2403.14003), on log-probabilities l and l':
     * {@code l + w(t) (l - l')} with {@code w(t) = min(maxWeight, e^(lambda t) - 1)} for the t-th generated token,
     * counted from 1.
     *
     * @param lambda growth per token, 0..100
     * @param beta see {@link Contrast}
     * @param maxWeight cap of w, 0..10000
     * @param without the modality that the second branch lacks
     */
    record M3id(double lambda, double beta, double maxWeight, Modality without) implements Contrast {
        /** Strategy files call it so. */
        public static final String METHOD = "m3id";

        public M3id {
            lambda = LAMBDA.require("lambda", lambda);
            beta = BETA.require("beta", beta);
            maxWeight = MAX_WEIGHT.require("maxWeight", maxWeight);
            Objects.requireNonNull(without);
        }

        @Override
        public String method() {
            return METHOD;
        }

        @Override
        public LinearContrast linear(final Set<Modality> present) {
            return pair("without-" + without.label(), Variation.lacking(without), weight(), true, beta);
        }

        private Expression weight() {
            return new Expression.Call(
                    Expression.Function.MIN,
                    List.of(
                            Expression.of(maxWeight),
                            new Expression.Call(
                                    Expression.Function.EXPM1,
                                    List.of(new Expression.Binary(
                                            Expression.Operator.MULTIPLY,
                                            Expression.of(lambda),
                                            new Expression.Token())))));
        }
    }

    /**
     * Context-aware decoding (arXiv 2305.14739): the second branch lacks the evidence.
     *
     * @param alpha see {@link Contrast}
     * @param beta see {@link Contrast}
     * @param without the modality that the second branch lacks; empty: the note if there is one, else the pictures
     */
    record Cad(double alpha, double beta, Optional<Modality> without) implements Contrast {
        /** Strategy files call it so. */
        public static final String METHOD = "cad";

        public Cad {
            alpha = ALPHA.require("alpha", alpha);
            beta = BETA.require("beta", beta);
            Objects.requireNonNull(without);
        }

        @Override
        public String method() {
            return METHOD;
        }

        @Override
        public LinearContrast linear(final Set<Modality> present) {
            final Modality evidence = without.orElseGet(() -> {
                if (present.contains(Modality.CONTEXT)) {
                    return Modality.CONTEXT;
                }
                if (present.contains(Modality.IMAGE)) {
                    return Modality.IMAGE;
                }
                throw new BadInputException(
                        "nothing to contrast: the prompt has no note and no picture",
                        "strategy " + METHOD,
                        "add a note or a picture, or choose a strategy that needs none");
            });
            final Variation lacking = Variation.lacking(evidence);
            return pair("without-" + evidence.label(), lacking, Expression.of(alpha), false, beta);
        }
    }
}
