package dev.equipoise.bench.cli;

import dev.equipoise.decoding.Plan;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.procedure.Decoding;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.NextLogits;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Span;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;

/** Shows the row from which the first token would be drawn. */
@Command(
        name = "logits",
        description = "Next-token logits at the end of the prompt, combined by the strategy.",
        footer = RequestCommand.NOTHING_DRAWN)
final class LogitsCommand extends RequestCommand {
    // What a person looks at; --json has them all.
    private static final int SHOWN = 10;

    @Override
    protected void run(final Engine engine, final Strategy strategy, final Prompt request) {
        final Plan plan = Decoding.prepare(engine, strategy, request).plan();
        final NextLogits next = engine.logits(plan.request(limits(), 0));
        if (json()) {
            JsonDocument.print(out(), json -> json.put("prompt_tokens", next.promptTokens())
                    .objects("spans", next.spans(), (span, from) -> span.put("modality", from.modality().label())
                            .put("start", from.start())
                            .put("length", from.length()))
                    .put("n_vocab", next.logits().length)
                    .put("logits", next.logits()));
            return;
        }
        out().println(next.promptTokens().length + " prompt tokens: " + next.spans().stream()
                .map(LogitsCommand::words)
                .collect(Collectors.joining(", ")));
        IntStream.range(0, next.logits().length)
                .boxed()
                // What the cut-off took cannot be drawn.
                .filter(token -> next.logits()[token] != Float.NEGATIVE_INFINITY)
                .sorted(Comparator.comparing((Integer token) -> next.logits()[token]).reversed())
                .limit(SHOWN)
                .forEach(token -> out().printf(
                        Locale.ROOT,
                        "%10.4f  %6d  %s%n",
                        next.logits()[token],
                        token,
                        Terminal.quoted(engine.model().text(List.of(token)))));
    }

    private static String words(final Span span) {
        return span.modality().label() + " " + span.start() + "-" + (span.start() + span.length() - 1);
    }
}
