package dev.equipoise.bench.cli;

import dev.equipoise.decoding.OptionRule;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.procedure.Decoding;
import dev.equipoise.decoding.procedure.MultipleChoice;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.FinishReason;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.ModelInfo;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.TraceEntry;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Generates an answer. */
@Command(
        name = "run",
        description = "Generate an answer. Its tokens/s are of decoding alone, from the first token to the last.")
final class RunCommand extends RequestCommand {
    private static final int MOST_ROWS = 64;

    @Option(
            names = "--logprobs",
            paramLabel = "N",
            description = "Report the log-probabilities of the N best tokens at every step (with --json).")
    private int logProbabilities;

    @Option(
            names = "--attention",
            description = "Report where the tokens look at which the answer is chosen, by modality and layer, and"
                    + " the indices of text dominance; the layers that are read leave the flash path.")
    private boolean attention;

    @Option(
            names = "--option",
            paramLabel = "TEXT",
            description = "An answer to choose among; give two or more. They are judged by their first tokens, or as"
                    + " --likelihood says; by strategy dcd by its own rule.")
    private List<String> options = List.of();

    @Option(
            names = "--likelihood",
            description = "Judge the options by how likely all their tokens are, which need not begin differently;"
                    + " longer ones have more to lose.")
    private boolean likelihood;

    @Override
    protected Room requirePlan(final Strategy asked, final Prompt request, final Optional<ModelInfo> model) {
        if (likelihood && asked.choosing().isPresent()) {
            throw new BadInputException(
                    "likelihoods for a rule of its own", "--likelihood, strategy " + asked.name(), "leave it out");
        }
        if (attention && asked.resolved().search().isPresent()) {
            throw new BadInputException(
                    "where an answer's tokens looked, of one that is searched for",
                    "--attention, strategy " + asked.name(),
                    "leave one of them out: a search reads tokens that are no part of its answer");
        }
        if (!options.isEmpty() && asked.choosing().isPresent()) {
            MultipleChoice.explain(asked, request);
            return Room.of(MultipleChoice.READINGS);
        }
        return super.requirePlan(asked, request, model);
    }

    @Override
    protected int room(final Model model, final Room plan) {
        if (!likelihood) {
            return plan.sequences();
        }
        // Rows, of all tokens but the last, and sequences for all at once, as far as it is no great cache of rows.
        final int reads = options.stream()
                .mapToInt(option -> Math.max(0, model.tokenize(option, false).length - 1))
                .sum();
        final int branches = plan.sequences();
        return Math.max(branches, Math.min(MOST_ROWS, branches * Math.max(options.size(), reads)));
    }

    @Override
    protected void requireOptions() {
        if (logProbabilities < 0 || logProbabilities > Request.MAX_LOG_PROBABILITIES) {
            throw new UsageException(new BadInputException(
                    "number of log-probabilities out of range",
                    "--logprobs " + logProbabilities,
                    "choose 0.." + Request.MAX_LOG_PROBABILITIES));
        }
        if (options.size() == 1) {
            throw new UsageException(new BadInputException("one option", "--option", "give two or more, or none"));
        }
        if (!options.isEmpty() && (attention || logProbabilities > 0)) {
            throw new UsageException(new BadInputException(
                    "options beside what is about generated tokens",
                    attention ? "--attention" : "--logprobs",
                    "leave it out: no token is generated"));
        }
        if (likelihood && options.isEmpty()) {
            throw new UsageException(new BadInputException(
                    "likelihoods of no options", "--likelihood", "add --option TEXT, two or more times"));
        }
    }

    @Override
    protected void run(final Engine engine, final Strategy strategy, final Prompt request) {
        if (!options.isEmpty()) {
            choose(engine, strategy, request);
            return;
        }
        final int depth = engine.model().info().layers();
        final Decoding.Prepared ready = Decoding.prepare(engine, strategy, request);
        final Decoding.Prepared prepared = attention ? ready.reading(AttentionReport.reader(depth)) : ready;
        if (json()) {
            print(Decoding.run(engine, prepared, limits(), logProbabilities, TokenListener.NONE), depth);
            return;
        }
        final Answer answer = Decoding.run(engine, prepared, limits(), logProbabilities, (token, text) -> {
            out().print(text);
            // Nobody reads on: what is still to come would be decoded for nothing.
            if (out().checkError()) {
                throw ResultStream.lost("its reader is gone, or there is no room");
            }
        });
        out().println();
        report(answer, depth).ifPresent(report -> report.print(err()));
        err().printf(
                Locale.ROOT,
                "%d tokens (%s), first after %.0f ms, %s, strategy %s%n",
                answer.tokens().size(),
                answer.finish().label(),
                answer.timings().ttftMillis(),
                speed(answer.timings().tokensPerSecond()),
                answer.strategy().name());
    }

    // Whichever rule: the option that is the answer, and what the rule sees of each.
    private void choose(final Engine engine, final Strategy strategy, final Prompt request) {
        final long start = System.nanoTime();
        final MultipleChoice.Scores scores;
        final int answer;
        List<double[]> tokens = List.of();
        if (strategy.choosing().isPresent()) {
            final MultipleChoice.Choice choice = MultipleChoice.choose(engine, strategy, request, options);
            scores = new MultipleChoice.Scores(options, choice.combined(), choice.perceived().trace());
            answer = choice.answer();
        } else if (likelihood) {
            final MultipleChoice.Likelihoods found =
                    MultipleChoice.likelihoods(engine, strategy, request, options);
            scores = found.scores();
            tokens = found.tokens();
            answer = scores.best();
        } else {
            scores = MultipleChoice.score(engine, strategy, request, options);
            answer = scores.best();
        }
        final double millis = (System.nanoTime() - start) / 1e6;
        final String name = strategy.choosing().map(OptionRule::label).orElse(likelihood ? "likelihood" : "options");
        final List<double[]> byToken = tokens;
        final List<TraceEntry> trace = new ArrayList<>(scores.trace());
        trace.add(new TraceEntry("choose:" + name, List.of(), 0, 0));
        if (!json()) {
            out().println(options.get(answer));
            err().printf(
                    Locale.ROOT, "chosen of %d after %.0f ms, strategy %s%n", options.size(), millis, strategy.name());
            return;
        }
        JsonDocument.print(out(), json -> json.put("text", options.get(answer))
                .put("tokens", List.<Integer>of())
                .put("finish", FinishReason.STOP.label())
                .object("timings", timings ->
                        timings.put("ttft_ms", millis).put("decode_ms", 0).put("tokens_per_s", Double.NaN))
                .object("plan", plan -> plan.put("strategy", strategy.name())
                        .put("fingerprint", strategy.fingerprint()))
                .objects("trace", trace, RunCommand::write)
                .objects("options", IntStream.range(0, options.size()).boxed().toList(), (entry, option) -> {
                    entry.put("text", options.get(option)).put("logit", scores.logits()[option]);
                    if (likelihood) {
                        entry.put("logprobs", byToken.get(option));
                    }
                }));
    }

    private static String speed(final double tokensPerSecond) {
        return Double.isNaN(tokensPerSecond)
                ? "too few for a speed"
                : String.format(Locale.ROOT, "%.1f tokens/s", tokensPerSecond);
    }

    private Optional<AttentionReport> report(final Answer answer, final int depth) {
        return attention
                ? answer.trace().stream()
                        .flatMap(entry -> entry.attention().stream())
                        .findFirst()
                        .map(mass -> new AttentionReport(mass, depth))
                : Optional.empty();
    }

    private void print(final Answer answer, final int depth) {
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
            report(answer, depth).ifPresent(report -> report.write(json));
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
