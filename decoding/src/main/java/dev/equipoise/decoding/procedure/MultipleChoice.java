package dev.equipoise.decoding.procedure;

import dev.equipoise.decoding.Explanation;
import dev.equipoise.decoding.OptionRule;
import dev.equipoise.decoding.Pass;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.NextLogits;
import dev.equipoise.runtime.Part;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.TraceEntry;
import dev.equipoise.runtime.serving.EngineService;
import dev.equipoise.runtime.serving.Steps;
import dev.equipoise.runtime.serving.Ticket;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;

/**
 * Questions with given answers. They are judged by the row from which the answer would begin, whatever the strategy
 * combines that row from, where their first tokens tell them apart, as those of letters do; or by how likely all their
 * tokens are, by rows combined in the same way. One prefill scores all options. All methods that take an engine are for
 * the thread that owns it.
 */
public final class MultipleChoice {
    /** Branches that an engine needs for a choice of its own rule. */
    public static final int READINGS = 2;

    private static final String ENTITY_QUESTION = "What is this? Name it in a few words.";
    private static final int ENTITY_TOKENS = 16;

    private MultipleChoice() {}

    /**
     * What a row says of the options.
     *
     * @param options their words
     * @param logits the row at their first tokens, one each; -infinity for one that a cut-off took
     * @param trace what acted on the way to the row
     */
    public record Scores(List<String> options, double[] logits, List<TraceEntry> trace) {
        public Scores {
            options = List.copyOf(options);
            trace = List.copyOf(trace);
            logits = logits.clone();
            if (options.size() != logits.length || options.size() < 2) {
                throw new BadInputException(
                        "options and scores do not match",
                        options.size() + " and " + logits.length,
                        "give two or more");
            }
        }

        /** Scores that no request stands behind. */
        public Scores(final List<String> options, final double[] logits) {
            this(options, logits, List.of());
        }

        /** A copy. */
        @Override
        public double[] logits() {
            return logits.clone();
        }

        /** Probabilities among the options alone, 0..1, summing to 1. */
        public double[] probabilities() {
            final double largest = Arrays.stream(logits).max().orElseThrow();
            final double sum = Arrays.stream(logits).map(z -> Math.exp(z - largest)).sum();
            return Arrays.stream(logits).map(z -> Math.exp(z - largest) / sum).toArray();
        }

        /** Which option is the best; the first of equal ones. */
        public int best() {
            int best = 0;
            for (int i = 1; i < logits.length; i++) {
                best = logits[i] > logits[best] ? i : best;
            }
            return best;
        }

        /** The probability of the best option. */
        public double confidence() {
            return Arrays.stream(probabilities()).max().orElseThrow();
        }
    }

    /**
     * Scores the options of a question that ends the prompt.
     *
     * @param strategy any; its passes are made, its cut-off may leave options out
     * @throws BadInputException when two options begin with the same token, or the cut-off leaves none of them
     */
    public static Scores score(
            final Engine engine, final Strategy strategy, final Prompt prompt, final List<String> options) {
        return score(Steps.on(engine, TokenListener.NONE), strategy, prompt, options);
    }

    private static Scores score(
            final Steps steps, final Strategy strategy, final Prompt prompt, final List<String> options) {
        final int[] first = FirstTokens.of(steps.model(), options, "options");
        final NextLogits row = steps.logits(request(steps, strategy, prompt, 1));
        return left(strategy, read(options, first, row));
    }

    // What an answer of so many tokens would be drawn by.
    private static Request request(
            final Steps steps, final Strategy strategy, final Prompt prompt, final int tokens) {
        if (strategy.prompting().filter(words -> words.responses() > 0).isPresent()) {
            throw new BadInputException(
                    "options of a strategy that has several answers written down, one of which is drawn",
                    "strategy " + strategy.name(),
                    "generate an answer");
        }
        strategy.resolved().search().ifPresent(search -> {
            throw new BadInputException(
                    "options of a strategy that searches for an answer",
                    "strategy " + strategy.name(),
                    "leave the search out, or generate an answer");
        });
        return Decoding.prepare(steps, strategy, prompt).plan().request(new Limits(tokens, List.of()), 0);
    }

    private static Scores read(final List<String> options, final int[] first, final NextLogits row) {
        return new Scores(
                options, Arrays.stream(first).mapToDouble(token -> row.logits()[token]).toArray(), row.trace());
    }

    private static Scores left(final Strategy strategy, final Scores scores) {
        if (Arrays.stream(scores.logits()).allMatch(Double::isInfinite)) {
            throw new BadInputException(
                    "the cut-off leaves no option", "strategy " + strategy.name(), "lower beta, or set it to 0");
        }
        return scores;
    }

    /**
     * How likely the options are as answers, all their tokens counted: the prompts are read once and all options in one
     * decode behind them, as far as the engine has branches ({@link Engine#logProbabilities(Request, List)}). Unlike
     * {@link #score}, options may begin alike; longer ones have more to lose.
     *
     * @param strategy any without penalties and a grammar; its passes are made, and its rows combine at every token as
     *     they would in writing the option: gate, coefficients, cut-off, merges, shifts of logits. What says how a
     *     token is drawn from such a row has no effect.
     * @return by option, in their order
     * @throws BadInputException when an option has no token, the cut-off leaves no option, there are fewer than two, or
     *     the strategy has several answers written down
     */
    public static Likelihoods likelihoods(
            final Engine engine, final Strategy strategy, final Prompt prompt, final List<String> options) {
        final List<int[]> tokens =
                options.stream().map(option -> engine.model().tokenize(option, false)).toList();
        final int longest = tokens.stream().mapToInt(each -> each.length).max().orElse(0);
        final Request request =
                request(Steps.on(engine, TokenListener.NONE), strategy, prompt, Math.max(1, longest));
        final Engine.Continued found = engine.continued(request, tokens);
        final double[] sums = found.logProbabilities().stream()
                .mapToDouble(each -> Arrays.stream(each).sum())
                .toArray();
        return new Likelihoods(left(strategy, new Scores(options, sums, found.trace())), found.logProbabilities());
    }

    /**
     * How likely options are.
     *
     * @param scores the sums of their tokens' log-probabilities, in nats, as logits; -infinity for an option with a
     *     token that a cut-off took
     * @param tokens of each option, by token, the log-probability given the prompt and the tokens before it
     */
    public record Likelihoods(Scores scores, List<double[]> tokens) {
        public Likelihoods {
            tokens = List.copyOf(tokens);
        }
    }

    /**
     * Dynamic contrastive decoding's choice (arXiv 2410.03659): where two readings agree, their answer; else the
     * options' logits, each reading weighed by its confidence, the less confident one subtracted. No strength, no
     * cut-off; not linear in the logits, since the weights come from them.
     *
     * @param perceived from the media
     * @param told from words
     * @param combined the weighed logits, or those of {@code perceived} where both agree
     * @param answer which option
     * @param agreed whether both readings had the same answer
     */
    public record Choice(Scores perceived, Scores told, double[] combined, int answer, boolean agreed) {
        public Choice {
            combined = combined.clone();
        }

        /** A copy. */
        @Override
        public double[] combined() {
            return combined.clone();
        }

        /**
         * How much the readings disagree about an option: {@code |ln(p_perceived / p_told)|}, at least 0; the
         * paper's conflict metric when it is the right one.
         */
        public double conflict(final int option) {
            return Math.abs(
                    Math.log(perceived.probabilities()[option]) - Math.log(told.probabilities()[option]));
        }
    }

    /** The rule on two readings of the same options. */
    public static Choice choose(final Scores perceived, final Scores told) {
        if (!perceived.options().equals(told.options())) {
            throw new BadInputException("readings of different options", "options", "score the same options twice");
        }
        if (perceived.best() == told.best()) {
            return new Choice(perceived, told, perceived.logits(), perceived.best(), true);
        }
        // On equal confidence the media count, as in the official code.
        final boolean trustTold = told.confidence() > perceived.confidence();
        final Scores trusted = trustTold ? told : perceived;
        final Scores doubted = trustTold ? perceived : told;
        final double[] combined = new double[trusted.options().size()];
        for (int i = 0; i < combined.length; i++) {
            combined[i] = trusted.confidence() * trusted.logits()[i] - doubted.confidence() * doubted.logits()[i];
        }
        return new Choice(perceived, told, combined, new Scores(perceived.options(), combined).best(), false);
    }

    /**
     * One of given options by a strategy that chooses among them.
     *
     * @throws BadInputException when the strategy is for answers in the model's own words, or as {@link #dynamic}
     */
    public static Choice choose(
            final Engine engine, final Strategy strategy, final Prompt prompt, final List<String> options) {
        return choose(Steps.on(engine, TokenListener.NONE), strategy, prompt, options);
    }

    private static Choice choose(
            final Steps steps, final Strategy strategy, final Prompt prompt, final List<String> options) {
        return switch (rule(strategy)) {
            case DCD -> dynamic(steps, prompt, options);
        };
    }

    /**
     * Submits a choice to a service that shares its engine among threads; all that it reads and writes are requests
     * that take their turns among the others. Nothing is streamed.
     *
     * @return what {@link #choose(Engine, Strategy, Prompt, List)} gives; nothing, if it was cancelled
     * @throws BadInputException as there, before anything is read, or when the readings could never be made there, with
     *     the numbers
     * @throws dev.equipoise.kernels.error.UnavailableException if too many are waiting already, with the number
     * @throws dev.equipoise.kernels.error.LifetimeException if the service is closed
     */
    public static Ticket<Optional<Choice>> submit(
            final EngineService service, final Strategy strategy, final Prompt prompt, final List<String> options) {
        rule(strategy);
        requireMedia(prompt);
        FirstTokens.of(service.model(), options, "options");
        service.require(readings(prompt, withoutMedia(prompt)));
        final List<String> asked = List.copyOf(options);
        return service.submit(steps -> Optional.of(choose(steps, strategy, prompt, asked)), Optional.empty());
    }

    /**
     * Submits the options of a question for scoring, as {@link #submit} does a choice.
     *
     * @return what {@link #score(Engine, Strategy, Prompt, List)} gives; nothing, if it was cancelled
     * @throws BadInputException as there, and when it could never be read there, with the numbers
     * @throws dev.equipoise.kernels.error.UnavailableException if too many are waiting already, with the number
     * @throws dev.equipoise.kernels.error.LifetimeException if the service is closed
     */
    public static Ticket<Optional<Scores>> submitScores(
            final EngineService service, final Strategy strategy, final Prompt prompt, final List<String> options) {
        FirstTokens.of(service.model(), options, "options");
        service.require(Decoding.outline(strategy, prompt, service.model().info())
                .request(new Limits(1, List.of()), 0));
        final List<String> asked = List.copyOf(options);
        return service.submit(steps -> Optional.of(score(steps, strategy, prompt, asked)), Optional.empty());
    }

    private static OptionRule rule(final Strategy strategy) {
        return strategy.choosing().orElseThrow(() -> new BadInputException(
                "a strategy that does not choose among options", "strategy " + strategy.name(), "generate an answer"));
    }

    /**
     * What {@link #choose} would do with a prompt, in words; nothing is decoded.
     *
     * @throws BadInputException as there
     */
    public static Explanation explain(final Strategy strategy, final Prompt prompt) {
        rule(strategy);
        requireMedia(prompt);
        final boolean noted = prompt.modalities().contains(Modality.CONTEXT);
        final List<Explanation.Step> steps = new ArrayList<>();
        if (!noted) {
            steps.add(new Explanation.Step(
                    "prepare:entity",
                    "asks \"" + ENTITY_QUESTION + "\" and puts the answer into words as a note",
                    List.of(),
                    "once, for the reading from words",
                    "one more prompt, and up to " + ENTITY_TOKENS + " tokens"));
        }
        steps.add(new Explanation.Step(
                "choose:" + strategy.choosing().orElseThrow().label(),
                "the options' logits at the first token, from both readings: where they agree, their answer; else"
                        + " c z - c' z' with the softmax confidences c > c' among the options",
                List.of(),
                "the options, at the first token",
                "two prompts are read as branches of one batch, no token is generated"));
        return new Explanation(
                List.of(
                        new Explanation.BranchLine(
                                "perceived",
                                noted ? "context: left out" : "nothing: the request as it is",
                                OptionalInt.empty()),
                        new Explanation.BranchLine(
                                "told",
                                "image and audio: left out" + (noted ? "" : "; context: what the model perceives"),
                                OptionalInt.empty())),
                steps);
    }

    private static void requireMedia(final Prompt prompt) {
        if (Collections.disjoint(prompt.modalities(), Set.of(Modality.IMAGE, Modality.AUDIO))) {
            throw new BadInputException(
                    "nothing to contrast: the prompt has no picture and no sound", "dcd", "add one");
        }
    }

    /**
     * Asks twice, in one batch, and chooses: from the media without the note, and from words without the media. A
     * prompt without a note has in its place what the model itself says the media show, which the paper's data give;
     * that is our inference.
     *
     * @throws BadInputException when the prompt has no picture and no sound
     */
    public static Choice dynamic(final Engine engine, final Prompt prompt, final List<String> options) {
        return dynamic(Steps.on(engine, TokenListener.NONE), prompt, options);
    }

    private static Choice dynamic(final Steps steps, final Prompt prompt, final List<String> options) {
        final Set<Modality> present = prompt.modalities();
        requireMedia(prompt);
        Prompt told = withoutMedia(prompt);
        if (!present.contains(Modality.CONTEXT)) {
            final Pass.Generate entity = new Pass.Generate(
                    "entity", ENTITY_QUESTION, Set.of(), ENTITY_TOKENS);
            final String named = Decoding.write(steps, entity, entity.prompt(prompt, List.of(), Map.of()));
            final List<Part> parts = new ArrayList<>(told.parts());
            final int question = parts.indexOf(parts.stream()
                    .filter(part -> part.modality() == Modality.TEXT)
                    .findFirst()
                    .orElseThrow(() -> new BadInputException("no question", "dcd", "add one")));
            parts.add(question, new Part.Words(Modality.CONTEXT, "This is an image of " + named + "."));
            told = new Prompt(parts);
        }
        final int[] first = FirstTokens.of(steps.model(), options, "options");
        final List<Scores> read = steps
                .rows(readings(prompt, told))
                .stream()
                .map(row -> read(options, first, row))
                .toList();
        return choose(read.getFirst(), read.getLast());
    }

    private static Prompt withoutMedia(final Prompt prompt) {
        return prompt.without(Modality.IMAGE).without(Modality.AUDIO);
    }

    private static Request readings(final Prompt prompt, final Prompt told) {
        return Request.apart(List.of(
                new Branch("perceived", prompt.without(Modality.CONTEXT)), new Branch("told", told)));
    }
}
