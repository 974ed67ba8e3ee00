package dev.equipoise.bench.demo;

import dev.equipoise.bench.speed.Spread;
import dev.equipoise.bench.testbed.Evaluation;
import dev.equipoise.bench.testbed.Item;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.procedure.Decoding;
import dev.equipoise.decoding.procedure.MultipleChoice;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Audio;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.FinishReason;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.Part;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Timings;
import dev.equipoise.runtime.TokenListener;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;

/** Asks a model the items of a data file. Owns its engine; belongs to the thread that opened it. */
public final class ItemRunner implements AutoCloseable {
    /** Branches an engine for this needs cells for: no preset makes more as long as an answer to an item. */
    public static final int BRANCHES = 4;

    // Five beams of five candidates, and the prompt; their answers are short.
    private static final int SEQUENCES = 26;

    // Answers are one word; the rest shows a model that does not stop.
    private static final Limits LIMITS = new Limits(8, List.of());

    private final Model model;
    private final Engine engine;

    /**
     * Opens an engine.
     *
     * @param model not closed here
     * @param options with room for {@link #BRANCHES} branches
     */
    public ItemRunner(final Model model, final EngineOptions options) {
        this.model = model;
        this.engine = Engine.open(model, options.withMaxBranches(Math.max(options.maxBranches(), SEQUENCES)));
    }

    /**
     * An answer to an item.
     *
     * @param answer what the model said
     * @param nanos wall time from the request, media included, to the end of the answer
     * @param applied false when the strategy had nothing to act on in this item, which was then decoded plainly
     * @param choice how the answer was chosen, where the strategy chose among the item's options
     */
    public record Reply(Answer answer, long nanos, boolean applied, Optional<MultipleChoice.Choice> choice) {
        /** Generated tokens per second of the whole request. */
        public double tokensPerSecond() {
            return answer.tokens().size() * 1e9 / nanos;
        }
    }

    /**
     * The outcome of a data file.
     *
     * @param report accuracy and whom the answers follow
     * @param notApplied items in which the strategy had nothing to act on
     * @param speedRatio tokens per second of an item over those of the first strategy on it
     * @param conflict how two readings of the options disagreed, where the strategy chose among them
     */
    public record Outcome(
            Evaluation.Report report, int notApplied, Spread speedRatio, Optional<OptionConflict> conflict) {}

    /** The prompt of an item, its parts in the order in which the testbed model was trained on them. */
    public static Prompt prompt(final Item item) {
        final Prompt.Builder prompt = Prompt.builder();
        item.system().ifPresent(prompt::system);
        item.context().ifPresent(prompt::context);
        item.image().map(Image::read).ifPresent(prompt::image);
        item.audio().map(Audio::read).ifPresent(prompt::audio);
        return prompt.text(item.question()).build();
    }

    /** Encodes the media of an item, so that no later request is charged for it. */
    public void encode(final Item item) {
        prompt(item).parts().stream().filter(Part::isMedium).forEach(model::embed);
    }

    /** Asks one item. */
    public Reply ask(final Item item, final Strategy strategy) {
        final long start = System.nanoTime();
        final Prompt prompt = prompt(item);
        final Optional<MultipleChoice.Choice> choice = choose(strategy, prompt, item.options());
        if (choice.isPresent()) {
            return chosen(strategy, item.options().get(choice.get().answer()), choice.get(), start);
        }
        final Optional<Decoding.Prepared> prepared = prepare(strategy, prompt);
        final Decoding.Prepared carried = prepared.orElseGet(() ->
                Decoding.prepare(engine, Strategy.plain().withSampling(strategy.sampling()), prompt));
        final Answer answer = Decoding.run(engine, carried, LIMITS, 0, TokenListener.NONE);
        return new Reply(answer, System.nanoTime() - start, prepared.isPresent(), Optional.empty());
    }

    // The option stands for what would have been written: its tokens are the answer's.
    private Reply chosen(
            final Strategy strategy, final String option, final MultipleChoice.Choice choice, final long start) {
        final long nanos = System.nanoTime() - start;
        final Answer answer = new Answer(
                option,
                Arrays.stream(model.tokenize(option, false)).boxed().toList(),
                FinishReason.STOP,
                new Timings(nanos / 1e6, 0, Double.NaN),
                strategy.label(model.info().layers()),
                List.of(),
                List.of());
        return new Reply(answer, nanos, true, Optional.of(choice));
    }

    private Optional<MultipleChoice.Choice> choose(
            final Strategy strategy, final Prompt prompt, final List<String> options) {
        if (strategy.choosing().isEmpty() || options.size() < 2) {
            return Optional.empty();
        }
        try {
            return Optional.of(MultipleChoice.choose(engine, strategy, prompt, options));
        } catch (final BadInputException ignored) {
            return Optional.empty();
        }
    }

    /**
     * Asks every item with every strategy. Item by item, so that all strategies share its encoding, which none is
     * charged for, and whatever the machine does meanwhile falls on all of them.
     *
     * @param progress hears how many items are done
     * @return one outcome per strategy
     */
    public List<Outcome> evaluate(
            final List<Item> items, final List<Strategy> strategies, final IntConsumer progress) {
        final List<Evaluation> evaluations =
                strategies.stream().map(strategy -> new Evaluation()).toList();
        final List<List<OptionConflict.Reading>> readings =
                strategies.stream().<List<OptionConflict.Reading>>map(strategy -> new ArrayList<>()).toList();
        final int[] notApplied = new int[strategies.size()];
        for (int i = 0; i < items.size(); i++) {
            final Item item = items.get(i);
            encode(item);
            for (int turn = 0; turn < notApplied.length; turn++) {
                // Whoever comes first finds the caches full of the encoders' work: each strategy in its turn.
                final int s = (turn + i) % notApplied.length;
                final Reply reply = ask(item, strategies.get(s));
                evaluations.get(s).add(
                        item, reply.answer().text(), reply.answer().tokens().size(), reply.nanos());
                notApplied[s] += reply.applied() ? 0 : 1;
                final List<OptionConflict.Reading> read = readings.get(s);
                reply.choice().ifPresent(choice -> OptionConflict.Reading.of(item, choice).ifPresent(read::add));
            }
            progress.accept(i + 1);
        }
        final List<Outcome> outcomes = new ArrayList<>();
        final double[] first = evaluations.getFirst().tokensPerSecond();
        for (int s = 0; s < notApplied.length; s++) {
            final Evaluation evaluation = evaluations.get(s);
            outcomes.add(new Outcome(
                    evaluation.report(),
                    notApplied[s],
                    ratio(evaluation.tokensPerSecond(), first),
                    strategies.get(s).choosing().isPresent()
                            ? Optional.of(OptionConflict.of(readings.get(s)))
                            : Optional.empty()));
        }
        return outcomes;
    }

    private static Spread ratio(final double[] over, final double[] under) {
        return Spread.of(IntStream.range(0, over.length).mapToDouble(i -> over[i] / under[i]).toArray());
    }

    // A strategy refuses a prompt without what it acts on: a contrast of pictures a prompt without a picture.
    private Optional<Decoding.Prepared> prepare(final Strategy strategy, final Prompt prompt) {
        try {
            return Optional.of(Decoding.prepare(engine, strategy, prompt));
        } catch (final BadInputException ignored) {
            return Optional.empty();
        }
    }

    @Override
    public void close() {
        engine.close();
    }
}
