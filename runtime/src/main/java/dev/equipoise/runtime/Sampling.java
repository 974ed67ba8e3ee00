package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Map;
import java.util.Optional;

/**
 * llama.cpp's sampler chain: grammar, bias, penalties, top-k, top-p, min-p, temperature, draw. Temperature 0 takes the
 * best token that grammar and penalties leave.
 *
 * @param temperature at least 0; 0 is greedy
 * @param topK keep the best k tokens; 0 keeps all
 * @param topP keep the smallest set with this mass, (0, 1]; 1 keeps all
 * @param minP drop tokens below this share of the best probability, [0, 1); 0 keeps all
 * @param repeatPenalty divides the logits of recent tokens, above 0; 1 is none
 * @param repeatWindow how many recent tokens the penalties see, at least 0
 * @param frequencyPenalty taken from the logit of a recent token for each time it occurs, -1000 to 1000; 0 is none
 * @param presencePenalty taken from the logit of a recent token once, -1000 to 1000; 0 is none
 * @param seed seed of the draw; equal seeds give equal tokens on equal logits
 * @param grammar GBNF grammar that the answer must follow
 * @param bias what is added to the logit of each word's first token, -1000 to 1000; a token at which words of different
 *     shifts begin is not shifted; words must not be empty
 */
public record Sampling(
        double temperature,
        int topK,
        double topP,
        double minP,
        double repeatPenalty,
        int repeatWindow,
        double frequencyPenalty,
        double presencePenalty,
        long seed,
        Optional<String> grammar,
        Map<String, Double> bias) {
    /** Tokens that a repetition penalty looks back at when nothing is said. */
    public static final int DEFAULT_REPEAT_WINDOW = 64;
    /** The largest shift of a logit. */
    public static final double MOST_BIAS = 1000;
    /** The largest penalty by frequency or presence. */
    public static final double MOST_PENALTY = 1000;

    public Sampling {
        require(temperature >= 0 && temperature <= 1e6, "temperature", temperature, "0..1000000");
        require(topK >= 0, "topK", topK, "0 or more");
        require(topP > 0 && topP <= 1, "topP", topP, "above 0, up to 1");
        require(minP >= 0 && minP < 1, "minP", minP, "0 up to, not including, 1");
        require(repeatPenalty > 0 && repeatPenalty <= 1e6, "repeatPenalty", repeatPenalty, "above 0, up to 1000000");
        require(repeatWindow >= 0, "repeatWindow", repeatWindow, "0 or more");
        require(Math.abs(frequencyPenalty) <= MOST_PENALTY, "frequencyPenalty", frequencyPenalty, "-1000..1000");
        require(Math.abs(presencePenalty) <= MOST_PENALTY, "presencePenalty", presencePenalty, "-1000..1000");
        if (grammar.filter(String::isBlank).isPresent()) {
            throw new BadInputException("empty grammar", "grammar", "write a GBNF rule called root, or leave it out");
        }
        bias = Map.copyOf(bias);
        bias.forEach((word, shift) -> require(
                !word.isEmpty() && shift >= -MOST_BIAS && shift <= MOST_BIAS, "bias", shift, "-1000..1000"));
    }

    /** A chain that shifts no logit and penalises by repetition alone. */
    public Sampling(
            final double temperature,
            final int topK,
            final double topP,
            final double minP,
            final double repeatPenalty,
            final int repeatWindow,
            final long seed,
            final Optional<String> grammar) {
        this(temperature, topK, topP, minP, repeatPenalty, repeatWindow, 0, 0, seed, grammar, Map.of());
    }

    private static void require(final boolean ok, final String name, final Number value, final String range) {
        if (!ok) {
            throw new BadInputException("sampling value out of range", name + " " + value, "choose " + range);
        }
    }

    /** The best token at every step. */
    public static Sampling greedy() {
        return new Sampling(0, 0, 1, 0, 1, DEFAULT_REPEAT_WINDOW, 0, Optional.empty());
    }

    /** This chain with other shifts of logits. */
    public Sampling withBias(final Map<String, Double> other) {
        return new Sampling(
                temperature, topK, topP, minP, repeatPenalty, repeatWindow, frequencyPenalty, presencePenalty, seed,
                grammar, other);
    }

    /** This chain with other penalties by frequency and presence. */
    public Sampling withPenalties(final double frequency, final double presence) {
        return new Sampling(
                temperature, topK, topP, minP, repeatPenalty, repeatWindow, frequency, presence, seed, grammar, bias);
    }

    /** True when recent tokens have an effect. */
    public boolean isPenalised() {
        return repeatWindow > 0 && (repeatPenalty != 1 || frequencyPenalty != 0 || presencePenalty != 0);
    }

    /** True when the best token of the row is the answer, so that no chain is needed. */
    public boolean isArgmax() {
        return temperature == 0 && !isPenalised() && grammar.isEmpty() && bias.isEmpty();
    }
}
