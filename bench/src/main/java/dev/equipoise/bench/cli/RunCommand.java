package dev.equipoise.bench.cli;

import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.procedure.Decoding;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.TraceEntry;
import java.util.Locale;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Generates an answer. */
@Command(name = "run", description = "Generate an answer.")
final class RunCommand extends RequestCommand {
    @Option(
            names = "--logprobs",
            paramLabel = "N",
            description = "Report the log-probabilities of the N best tokens at every step (with --json).")
    private int logProbabilities;

    @Override
    protected void run(final Engine engine, final Strategy strategy, final Prompt request) {
        if (json()) {
            print(Decoding.run(engine, strategy, request, limits(), logProbabilities, TokenListener.NONE));
            return;
        }
        final Answer answer = Decoding.run(engine, strategy, request, limits(), logProbabilities, (token, text) -> {
            out().print(text);
            out().flush();
        });
        out().println();
        err().printf(
                Locale.ROOT,
                "%d tokens (%s), first after %.0f ms, %.1f tokens/s, strategy %s%n",
                answer.tokens().size(),
                answer.finish().label(),
                answer.timings().ttftMillis(),
                answer.timings().tokensPerSecond(),
                answer.strategy().name());
    }

    private void print(final Answer answer) {
        JsonDocument.print(out(), json -> {
            json.put("text", answer.text())
                    .put("tokens", answer.tokens())
                    .put("finish", answer.finish().label())
                    .object("timings", timings -> timings.put("ttft_ms", answer.timings().ttftMillis())
                            .put("decode_ms", answer.timings().decodeMillis())
                            .put("tokens_per_s", answer.timings().tokensPerSecond()))
                    .object("plan", plan -> plan.put("strategy", answer.strategy().name())
                            .put("fingerprint", answer.strategy().fingerprint()))
                    .objects("trace", answer.trace(), RunCommand::write);
            if (logProbabilities > 0) {
                json.objects("logprobs", answer.logProbabilities(), (token, drawn) -> token.put("token", drawn.token())
                        .put("logprob", drawn.logProbability())
                        .objects("top", drawn.top(), (candidate, one) -> candidate.put("token", one.token())
                                .put("logprob", one.logProbability())));
            }
        });
    }

    private static void write(final JsonDocument entry, final TraceEntry trace) {
        entry.put("intervention", trace.intervention())
                .put("layers", trace.layers())
                .put("tokens", trace.tokens())
                .put("mean_delta_norm", trace.meanDeltaNorm());
        trace.outcome().ifPresent(outcome -> entry.object("condition", condition -> condition.put(
                        "similarity", outcome.similarity())
                .putPlain("fired", outcome.fired())));
    }
}
