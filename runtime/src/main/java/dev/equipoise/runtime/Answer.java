package dev.equipoise.runtime;

import java.util.List;

/**
 * What came out of a request.
 *
 * @param text the answer without stop texts
 * @param tokens generated ids, the end-of-turn token not included
 * @param finish why it ended
 * @param timings wall time
 * @param strategy whose plan was carried out
 * @param trace one entry per intervention
 * @param logProbabilities per token, empty unless asked for
 */
public record Answer(
        String text,
        List<Integer> tokens,
        FinishReason finish,
        Timings timings,
        StrategyLabel strategy,
        List<TraceEntry> trace,
        List<TokenLogProbabilities> logProbabilities) {
    public Answer {
        tokens = List.copyOf(tokens);
        trace = List.copyOf(trace);
        logProbabilities = List.copyOf(logProbabilities);
    }
}
