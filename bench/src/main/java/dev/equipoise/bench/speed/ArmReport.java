package dev.equipoise.bench.speed;

import java.util.List;
import java.util.Optional;

/**
 * What was measured of one arm.
 *
 * @param name the strategy, or the program of llama.cpp with its options
 * @param remark what a reader must know to read the figures
 * @param branches sequences that each step advances
 * @param promptTokens columns of the base branch's prompt
 * @param ttft arrival, before tokenisation, to the first token; empty for other programs
 * @param itl one token to the next; empty for other programs
 * @param millisPerToken mean time per token of each round
 * @param ratioToPlain time per token over that of our plain decoding in the same round
 */
public record ArmReport(
        String name,
        Optional<String> remark,
        int branches,
        int promptTokens,
        Optional<Latency> ttft,
        Optional<Latency> itl,
        List<Double> millisPerToken,
        Spread ratioToPlain) {
    public ArmReport {
        millisPerToken = List.copyOf(millisPerToken);
    }

    /** Tokens per second at the median round; a token is one for all branches together. */
    public double tokensPerSecond() {
        return 1000 / Spread.of(values(millisPerToken)).median();
    }

    /** The ratio, round by round, of what two arms took for a token. */
    static Spread ratio(final List<Double> over, final List<Double> under) {
        final double[] ratios = new double[over.size()];
        for (int round = 0; round < ratios.length; round++) {
            ratios[round] = over.get(round) / under.get(round);
        }
        return Spread.of(ratios);
    }

    private static double[] values(final List<Double> list) {
        return list.stream().mapToDouble(Double::doubleValue).toArray();
    }
}
