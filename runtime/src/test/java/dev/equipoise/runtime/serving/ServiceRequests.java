package dev.equipoise.runtime.serving;

import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.CoefficientSchedule;
import dev.equipoise.runtime.Combination;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.FlashAttention;
import dev.equipoise.runtime.KvType;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.StrategyLabel;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** Requests for a service on a tiny random model, and the engine's options. */
final class ServiceRequests {
    // Single precision throughout, so that what else runs does not turn a near tie of a random model.
    static final EngineOptions OPTIONS = EngineOptions.defaults()
            .withContext(512)
            .withMicroBatch(16)
            .withThreads(1)
            .withKvType(KvType.F32)
            .withFlashAttention(FlashAttention.OFF);

    private ServiceRequests() {
    }

    /** A plain request. */
    static Request plain(final String text, final Sampling sampling, final int tokens) {
        return request(Optional.empty(), sampling, tokens, text);
    }

    /** A plain greedy request. */
    static Request plain(final String text, final int tokens) {
        return plain(text, Sampling.greedy(), tokens);
    }

    /** A greedy contrast of two prompts. */
    static Request contrast(final String base, final String other, final int tokens) {
        return request(
                Optional.of(new Combination(CoefficientSchedule.fixed(2, -1), false, 0.1)),
                Sampling.greedy(),
                tokens,
                base,
                other);
    }

    /** A request with a branch for each prompt. */
    static Request request(
            final Optional<Combination> combination,
            final Sampling sampling,
            final int tokens,
            final String... prompts) {
        final List<Branch> branches = new ArrayList<>();
        for (final String text : prompts) {
            branches.add(new Branch(text, Prompt.builder().text(text).build()));
        }
        return new Request(
                branches, combination, sampling, new Limits(tokens, List.of()), 0, new StrategyLabel("test", "test"));
    }
}
