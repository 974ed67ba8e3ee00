package dev.equipoise.decoding.procedure;

import dev.equipoise.decoding.Lowering;
import dev.equipoise.decoding.Pass;
import dev.equipoise.decoding.Plan;
import dev.equipoise.decoding.Preparation;
import dev.equipoise.decoding.Prompting;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.FinishReason;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.ModelInfo;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.StrategyLabel;
import dev.equipoise.runtime.Timings;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.TraceEntry;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.serving.EngineService;
import dev.equipoise.runtime.serving.Steps;
import dev.equipoise.runtime.serving.Ticket;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Runs any strategy: on an engine, for the thread that owns it, or on a service that shares one among threads. There
 * passes, looks at the prompt and the answer are requests like all others. The seed of noise and of draws is that of
 * the strategy's sampling.
 */
public final class Decoding {
    private static final double NANOS_PER_MILLI = 1e6;

    private Decoding() {}

    /**
     * A plan that is ready to run, and what it took to make it.
     *
     * @param plan the plan
     * @param trace one entry per pass: its name and the tokens that it generated; one per direction that the prompt
     *     showed, with the tokens that were read for it and its mean norm; and where tokens were chosen, the blocks
     *     that were looked at and how many tokens branches do not see
     * @param millis wall time of all
     * @param texts what passes wrote, by name
     */
    public record Prepared(Plan plan, List<TraceEntry> trace, double millis, Map<String, String> texts) {
        public Prepared {
            trace = List.copyOf(trace);
            texts = Map.copyOf(texts);
        }

        /** The same with something that only looks, behind all that acts on the first branch. */
        public Prepared reading(final Intervention.ReadAttention look) {
            return new Prepared(plan.reading(look), trace, millis, texts);
        }
    }

    /**
     * The plan as far as it is known before anything is decoded: texts of passes are their names in braces, weights
     * are equal, directions that the prompt is to show are an axis, and choices of tokens take all of their spans.
     */
    public static Plan outline(final Strategy strategy, final Prompt prompt, final ModelInfo model) {
        final Preparation unknown = Preparation.unknown(strategy, model);
        return Lowering.lower(strategy, prompt, strategy.sampling().seed(), model.layers(), unknown);
    }

    /**
     * Makes the strategy's passes, those whose findings are used, observes the directions that its edits are along,
     * looks at the request's attention where branches choose tokens by it, and makes the plan from what was found.
     *
     * @throws BadInputException as {@link Lowering#lower} and {@link Engine#submit} do, or when words that are to be
     *     weighed begin with the same token
     */
    public static Prepared prepare(final Engine engine, final Strategy strategy, final Prompt prompt) {
        return prepare(Steps.on(engine, TokenListener.NONE), strategy, prompt);
    }

    /** As {@link #prepare(Engine, Strategy, Prompt)}, as part of a procedure. */
    static Prepared prepare(final Steps steps, final Strategy strategy, final Prompt prompt) {
        final long start = System.nanoTime();
        // Refused before it has cost anything.
        Lowering.check(strategy, prompt, strategy.sampling().seed());
        final Map<String, String> texts = new HashMap<>();
        final Map<String, Double> weights = new HashMap<>();
        final List<TraceEntry> trace = new ArrayList<>();
        for (final Pass pass : strategy.resolved().passes()) {
            final Prompt asked = pass.prompt(prompt, strategy.passes(), texts);
            switch (pass) {
                case Pass.Generate generate -> {
                    final Answer answer = steps.answer(plain(asked, generate.maxTokens()));
                    texts.put(generate.name(), clean(answer.text()));
                    trace.add(new TraceEntry("prepare:" + generate.name(), List.of(), answer.tokens().size(), 0));
                }
                case Pass.Assess assess -> {
                    weights.putAll(weigh(steps, assess, asked));
                    trace.add(new TraceEntry("prepare:assess", List.of(), 0, 0));
                }
            }
        }
        final Preparation answered = new Preparation(texts, weights).completed(strategy.passes());
        final Map<Modality, LayerVectors> directions = new EnumMap<>(Modality.class);
        final Prompt worded = Lowering.worded(strategy, prompt, answered);
        for (final Modality modality : strategy.resolved().observed()) {
            final PromptDirections.Found shown = PromptDirections.of(steps, worded, modality);
            directions.put(modality, shown.directions());
            trace.add(shown.trace());
        }
        final int depth = steps.model().info().layers();
        final Preparation pointed = answered.pointing(directions);
        final Preparation found = Lowering.looking(strategy, prompt, depth, pointed)
                .map(branch -> look(steps, strategy, branch, pointed, trace))
                .orElse(pointed);
        final Plan plan = Lowering.lower(strategy, prompt, strategy.sampling().seed(), depth, found);
        return new Prepared(
                plan, trace, trace.isEmpty() ? 0 : (System.nanoTime() - start) / NANOS_PER_MILLI, texts);
    }

    private static Preparation look(
            final Steps steps,
            final Strategy strategy,
            final Branch branch,
            final Preparation before,
            final List<TraceEntry> trace) {
        final Preparation found = before.taking(
                Lowering.taken(strategy, steps.observe(branch), steps.model().info().layers()));
        trace.add(new TraceEntry(
                "prepare:tokens",
                List.copyOf(branch.interventions().getLast().layers()),
                found.taken().values().stream().mapToInt(taken -> taken.orElseThrow().size()).sum(),
                0));
        return found;
    }

    /**
     * The answer of a strategy. Its time to the first token includes the passes; its trace begins with them. Where
     * several answers were written down, the text is the one drawn and the tokens are those of all.
     *
     * @param logProbabilities how many top log-probabilities to report per token, 0 for none
     * @param listener hears the answer, not the passes
     */
    public static Answer run(
            final Engine engine,
            final Strategy strategy,
            final Prompt prompt,
            final Limits limits,
            final int logProbabilities,
            final TokenListener listener) {
        return run(engine, prepare(engine, strategy, prompt), limits, logProbabilities, listener);
    }

    /** As {@link #run(Engine, Strategy, Prompt, Limits, int, TokenListener)} after {@link #prepare}. */
    public static Answer run(
            final Engine engine,
            final Prepared prepared,
            final Limits limits,
            final int logProbabilities,
            final TokenListener listener) {
        return run(Steps.on(engine, listener), prepared, limits, logProbabilities);
    }

    /**
     * Submits a strategy to a service that shares its engine among threads. Its passes, what it looks at in the prompt
     * and its answer take their turns among all other requests, by the place that it is given now; the ticket's tokens
     * are the answer's. One that is cancelled before its answer has begun, or before it is drawn, ends with an empty
     * one.
     *
     * @param logProbabilities how many top log-probabilities to report per token, 0 for none
     * @throws BadInputException as {@link Lowering#lower} does, or when it could never run there, with the numbers;
     *     texts of passes are counted as their names in braces, so that one that writes more may still be refused when
     *     it has been made
     * @throws dev.equipoise.kernels.error.UnavailableException if too many are waiting already, with the number
     * @throws dev.equipoise.kernels.error.LifetimeException if the service is closed
     */
    public static Ticket<Answer> submit(
            final EngineService service,
            final Strategy strategy,
            final Prompt prompt,
            final Limits limits,
            final int logProbabilities) {
        Lowering.check(strategy, prompt, strategy.sampling().seed());
        final Request outline =
                outline(strategy, prompt, service.model().info()).request(limits, logProbabilities);
        if (!needsSteps(strategy)) {
            return service.submit(outline);
        }
        service.require(outline);
        return service.submit(
                steps -> run(steps, prepare(steps, strategy, prompt), limits, logProbabilities),
                new Answer(
                        "",
                        List.of(),
                        FinishReason.CANCELLED,
                        new Timings(0, 0, 0),
                        strategy.label(service.model().info().layers()),
                        List.of(),
                        List.of()));
    }

    // Whether more happens than one request that can be written down now.
    private static boolean needsSteps(final Strategy strategy) {
        final Strategy resolved = strategy.resolved();
        return responses(strategy) > 0
                || !resolved.passes().isEmpty()
                || !resolved.observed().isEmpty()
                || !resolved.choices().isEmpty();
    }

    private static int responses(final Strategy strategy) {
        return strategy.prompting().map(Prompting::responses).orElse(0);
    }

    private static Answer run(
            final Steps steps, final Prepared prepared, final Limits limits, final int logProbabilities) {
        final Strategy strategy = prepared.plan().strategy();
        final Optional<Prompting> asked = strategy.prompting().filter(words -> words.responses() > 0);
        final Request request = prepared.plan().request(limits, logProbabilities);
        final Answer answer = asked.isPresent() ? steps.answer(request) : steps.stream(request);
        final List<TraceEntry> trace = new ArrayList<>(prepared.trace());
        trace.addAll(answer.trace());
        final Optional<String> drawn = asked.flatMap(words -> {
            final List<String> written = new ArrayList<>();
            words.batches().forEach(name -> written.add(prepared.texts().get(name)));
            written.add(answer.text());
            final Verbalised.Drawn one = Verbalised.draw(written, strategy.sampling().seed());
            trace.add(one.trace());
            return one.text();
        });
        if (asked.isPresent() && !answer.tokens().isEmpty()) {
            steps.say(answer.tokens().getLast(), drawn.orElse(answer.text()));
        }
        return new Answer(
                drawn.orElse(answer.text()),
                answer.tokens(),
                answer.finish(),
                new Timings(
                        answer.timings().ttftMillis() + prepared.millis(),
                        answer.timings().decodeMillis(),
                        answer.timings().tokensPerSecond()),
                answer.strategy(),
                trace,
                answer.logProbabilities());
    }

    private static Request plain(final Prompt prompt, final int maxTokens) {
        return new Request(
                List.of(new Branch("pass", prompt)),
                Optional.empty(),
                Sampling.greedy(),
                new Limits(maxTokens, List.of()),
                0,
                StrategyLabel.PLAIN);
    }

    // A model may break a character in two; such halves cannot be part of a prompt.
    private static String clean(final String text) {
        return text.replace("\uFFFD", "").replace("\0", "").strip();
    }

    /** What the model writes when it is asked as a pass says, fit to be part of a prompt. */
    static String write(final Steps steps, final Pass.Generate pass, final Prompt asked) {
        return clean(steps.answer(plain(asked, pass.maxTokens())).text());
    }

    private static Map<String, Double> weigh(final Steps steps, final Pass.Assess assess, final Prompt asked) {
        final List<String> names = List.copyOf(assess.words().keySet());
        final List<String> words = List.copyOf(assess.words().values());
        final int[] tokens = FirstTokens.of(steps.model(), words, "prepare, words");
        final float[] row = steps.logits(Request.plain(asked)).logits();
        final double[] shares = new MultipleChoice.Scores(
                        words, Arrays.stream(tokens).mapToDouble(token -> row[token]).toArray())
                .probabilities();
        final Map<String, Double> weights = new HashMap<>();
        for (int i = 0; i < shares.length; i++) {
            weights.put(names.get(i), shares[i]);
        }
        return weights;
    }
}
