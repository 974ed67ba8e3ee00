package dev.equipoise.runtime.oracle;

import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Combination;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Gate;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Rechoice;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Span;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Keep;
import dev.equipoise.runtime.intervention.Merge;
import dev.equipoise.runtime.intervention.Phase;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.oracle.InterventionOracle.Act;
import dev.equipoise.runtime.oracle.LlamaOracle.Input;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;

/**
 * A whole request, the slow way: every branch by a plain forward pass over its prompt and the tokens so far, with what
 * acts inside by its formula, on tokens that are chosen for this very row where the request has them chosen anew; a
 * merge by two passes that become one; then, unless a gate is shut, the weighted sum and the cut-off.
 *
 * <p>Scopes are read here a second time, from what their documentation says. Models with a chat template, whose
 * instruction ends before the prompt does, and conditions are not its business.
 */
public final class RequestOracle {
    private final LlamaOracle oracle;
    private final Engine engine;
    private final Map<Prompt, PromptColumns> read = new HashMap<>();

    /**
     * A row of logits, and how much of one row's error may be in it.
     *
     * @param logits {@code [vocabulary]}, negative infinity where the cut-off acted
     * @param base the first branch's logits, whose size says how large an error may be
     * @param weight the sum of the sizes of the weights by which rows went into it
     * @param margin logits of tokens less the cut-off's limit, {@code [vocabulary]}: near 0 either side may cut
     */
    public record Row(double[] logits, double[] base, double weight, double[] margin) {}

    /**
     * An oracle beside an engine.
     *
     * @param engine tokenises prompts and encodes media, and does nothing else here
     */
    public RequestOracle(final LlamaOracle oracle, final Engine engine) {
        this.oracle = oracle;
        this.engine = engine;
    }

    /** The row from which the next token is drawn, when these were generated already. */
    public Row row(final Request request, final List<Integer> generated) {
        return step(request, generated).row();
    }

    /**
     * What a branch that nothing is chosen for shows behind the last token.
     *
     * @param logits {@code [vocabulary]}
     * @param heads the last token's attention in the last block, as edited, {@code [heads][columns]}
     */
    public record Shown(double[] logits, double[][] heads) {}

    /** What a branch shows when these were generated already. */
    public Shown shown(final Branch branch, final List<Integer> generated) {
        final int layer = engine.model().info().layers() - 1;
        final List<Intervention> all = new ArrayList<>(branch.interventions());
        all.add(new Intervention.ReadAttention("last block", new TreeSet<>(Set.of(layer)), Scope.all()));
        final PromptColumns of = read(branch.prompt());
        final InterventionOracle inside = inside(new Branch(branch.name(), branch.prompt(), all), of);
        final double[] logits = oracle.run(of.inputs(generated), inside).last();
        return new Shown(logits, inside.attendedByHead(layer, of.size() + generated.size() - 1));
    }

    /**
     * One step.
     *
     * @param changed whether the rows were combined and the best token is another than the base row's
     */
    private record Step(Row row, boolean changed) {}

    private Step step(final Request request, final List<Integer> generated) {
        final List<Branch> branches = request.branches();
        final Branch first = branches.getFirst();
        final InterventionOracle inside = inside(first, read(first.prompt()));
        final double[] base = request.merge()
                .map(merge -> merged(first, branches.get(1), merge, generated))
                .orElseGet(() -> oracle.run(read(first.prompt()).inputs(generated), inside).last());
        final boolean shut = request.gate().isPresent() && !isOpen(request.gate().get(), request, generated, base);
        if (shut || request.combination().isEmpty()) {
            return new Step(alone(first, base), false);
        }
        final List<Branch> read = request.rechoice()
                .map(rechoice -> chosen(request, rechoice, generated.size(), inside))
                .orElse(branches);
        final List<double[]> rows = new ArrayList<>(List.of(base));
        read.subList(request.merge().isPresent() ? 2 : 1, read.size()).forEach(one -> rows.add(run(one, generated)));
        final Row combined =
                combined(request.combination().get(), rows.toArray(double[][]::new), generated.size() + 1);
        return new Step(combined, best(combined.logits()) != best(base));
    }

    // The branches as they are read for the next token, given what acted in the base's pass, which looked.
    private List<Branch> chosen(
            final Request request, final Rechoice rechoice, final int generated, final InterventionOracle base) {
        final List<Branch> branches = request.branches();
        final PromptColumns of = read(branches.getFirst().prompt());
        final int last = of.size() + generated - 1;
        final List<Span> spans =
                IntStream.rangeClosed(0, last).mapToObj(t -> new Span(of.whose(t), t, 1)).toList();
        final List<float[][]> heads = new ArrayList<>();
        for (final int layer : branches.getFirst().interventions().get(rechoice.look()).layers()) {
            heads.add(Arrays.stream(base.attendedByHead(layer, last))
                    .map(RequestOracle::narrow)
                    .toArray(float[][]::new));
        }
        final List<Rechoice.Taken> taken = NotedChoice.noted(rechoice.choice(), last + 1)
                .orElseGet(() -> rechoice.choice().choose(new Rechoice.Seen(spans, heads)));
        final List<Branch> read = new ArrayList<>();
        for (int b = 0; b < branches.size(); b++) {
            final List<Intervention> interventions = new ArrayList<>(branches.get(b).interventions());
            if (rechoice.chosen().get(b).isPresent()) {
                final int k = rechoice.chosen().get(b).getAsInt();
                final Intervention open = interventions.remove(k);
                if (!taken.get(b).columns().isEmpty()) {
                    interventions.add(k, named(open, taken.get(b)));
                }
            }
            read.add(new Branch(branches.get(b).name(), branches.get(b).prompt(), interventions));
        }
        return read;
    }

    private static float[] narrow(final double[] wide) {
        final float[] row = new float[wide.length];
        for (int t = 0; t < row.length; t++) {
            row[t] = (float) wide[t];
        }
        return row;
    }

    private static Intervention named(final Intervention open, final Rechoice.Taken taken) {
        final Optional<SortedSet<Integer>> columns = Optional.of(taken.columns());
        return switch (open) {
            case Intervention.Hide hide ->
                new Intervention.Hide(hide.name(), hide.span(), columns, hide.layers(), hide.scope());
            case Intervention.Mute mute ->
                new Intervention.Mute(mute.name(), mute.modalities(), columns, mute.layers());
            case Intervention.MuteAttended mute -> new Intervention.MuteAttended(
                    mute.name(), mute.modalities(), columns, taken.above(), mute.layers());
            default -> throw new IllegalArgumentException(open.name());
        };
    }

    private boolean isOpen(
            final Gate gate, final Request request, final List<Integer> generated, final double[] base) {
        return switch (gate) {
            case Gate.Entropy(double above) -> entropy(base) > above;
            case Gate.Confidence(double below) ->
                Math.exp(Arrays.stream(ContrastOracle.logSoftmax(base)).max().orElseThrow()) < below;
            case Gate.Disagreement(int every) -> generated.size() % every == 0
                    || step(request, generated.subList(0, generated.size() - 1)).changed();
        };
    }

    private static int best(final double[] row) {
        int best = 0;
        for (int y = 1; y < row.length; y++) {
            best = row[y] > row[best] ? y : best;
        }
        return best;
    }

    // Nats.
    private static double entropy(final double[] row) {
        return -Arrays.stream(ContrastOracle.logSoftmax(row))
                .filter(Double::isFinite)
                .map(log -> Math.exp(log) * log)
                .sum();
    }

    private static Row alone(final Branch branch, final double[] row) {
        // Early exits that are contrasted are two rows of log-probabilities, some of them cut.
        final boolean exits = branch.interventions().stream().anyMatch(Intervention.ContrastExits.class::isInstance);
        return new Row(row, Arrays.stream(row).filter(Double::isFinite).toArray(), exits ? 4 : 1, far(row));
    }

    private static double[] far(final double[] row) {
        final double[] margin = new double[row.length];
        Arrays.fill(margin, Double.POSITIVE_INFINITY);
        return margin;
    }

    private static Row combined(final Combination how, final double[][] rows, final int index) {
        final float[] narrow = new float[rows.length];
        final float[] entropies = new float[rows.length];
        for (int b = 0; b < rows.length; b++) {
            entropies[b] = (float) entropy(rows[b]);
        }
        how.coefficients().at(index, entropies, narrow);
        final double[] coefficients = new double[rows.length];
        double weight = 0;
        for (int b = 0; b < rows.length; b++) {
            coefficients[b] = narrow[b];
            // A log-probability errs as its logit does, and as the sum that all share does.
            weight += (how.logProbabilities() ? 2 : 1) * Math.abs(narrow[b]);
        }
        final double[][] of = how.logProbabilities()
                ? Arrays.stream(rows).map(ContrastOracle::logSoftmax).toArray(double[][]::new)
                : rows;
        final double[] sum = ContrastOracle.weightedSum(of, coefficients);
        final double[] margin = far(sum);
        if (how.plausibility() > 0) {
            final double limit = Arrays.stream(rows[0]).max().orElseThrow() + Math.log(how.plausibility());
            Arrays.setAll(margin, y -> rows[0][y] - limit);
        }
        final double[] kept = ContrastOracle.cutOff(rows[0], sum, how.plausibility());
        how.cutOffValue().ifPresent(value ->
                Arrays.setAll(kept, y -> Double.isInfinite(kept[y]) ? (float) value : kept[y]));
        return new Row(kept, rows[0], Math.max(1, weight), margin);
    }

    private double[] run(final Branch branch, final List<Integer> generated) {
        final PromptColumns of = read(branch.prompt());
        return oracle.run(of.inputs(generated), inside(branch, of)).last();
    }

    private double[] merged(
            final Branch first, final Branch second, final Merge merge, final List<Integer> generated) {
        final PromptColumns of = read(first.prompt());
        final List<Input> inputs = of.inputs(generated);
        final double[] weights = new double[inputs.size()];
        Arrays.setAll(weights, t -> merge.weight(of.whose(t)));
        final InterventionOracle one = inside(first, of);
        final InterventionOracle other = inside(second, read(second.prompt()));
        return oracle.runMerged(inputs, one, other, merge.layer(), weights).last();
    }

    private PromptColumns read(final Prompt prompt) {
        return read.computeIfAbsent(prompt, unread -> PromptColumns.of(engine, unread));
    }

    private static InterventionOracle inside(final Branch branch, final PromptColumns of) {
        return new InterventionOracle(
                branch.interventions().stream().map(one -> act(one, of)).toArray(Act[]::new));
    }

    private static Act act(final Intervention what, final PromptColumns of) {
        if (what.when().isPresent()) {
            throw new IllegalArgumentException(what.name() + " depends on a condition");
        }
        final IntPredicate on = on(what.scope(), of);
        return switch (what) {
            case Intervention.Reweigh reweigh -> new Act(what, on, keys(reweigh.span(), reweigh.medium(), of));
            case Intervention.RaiseScores raise -> new Act(what, on, keys(raise.span(), OptionalInt.empty(), of));
            case Intervention.ScaleScores scale -> new Act(what, on, keys(scale.span(), OptionalInt.empty(), of));
            case Intervention.MoveWeights move -> new Act(
                    what, on, keys(move.from(), OptionalInt.empty(), of), keys(move.to(), OptionalInt.empty(), of));
            case Intervention.DrainSinks drain -> new Act(what, on, keys(drain.span(), OptionalInt.empty(), of));
            case Intervention.Hide hide -> new Act(what, on, meant(hide.span(), hide.tokens().orElse(null), of));
            case Intervention.HideAttended hide -> {
                final IntPredicate span = meant(hide.span(), null, of);
                final int all = (int) IntStream.range(0, of.size()).filter(span).count();
                yield new Act(
                        new Intervention.HideAttended(
                                hide.name(), hide.span(), Keep.of(hide.keep().in(all)), hide.looked(),
                                hide.layers(), hide.scope()),
                        on,
                        span);
            }
            case Intervention.Mute mute ->
                new Act(what, meant(mute.modalities(), mute.tokens().orElse(null), of));
            case Intervention.MuteAttended mute ->
                new Act(what, meant(mute.modalities(), mute.tokens().orElse(null), of));
            case Intervention.Silence silence ->
                new Act(what, meant(silence.modalities(), silence.tokens().orElse(null), of));
            default -> new Act(what, on);
        };
    }

    private static IntPredicate keys(final Set<Modality> span, final OptionalInt medium, final PromptColumns of) {
        return t -> span.contains(of.whose(t)) && (medium.isEmpty() || medium.getAsInt() == of.medium(t));
    }

    // Generated tokens only where they are named.
    private static IntPredicate meant(
            final Set<Modality> span, final SortedSet<Integer> tokens, final PromptColumns of) {
        return t -> span.contains(of.whose(t)) && (tokens == null ? t < of.size() : tokens.contains(t));
    }

    private static IntPredicate on(final Scope scope, final PromptColumns of) {
        int behindMedia = of.size();
        while (behindMedia > 0 && of.medium(behindMedia - 1) < 0) {
            behindMedia--;
        }
        final int first = switch (scope.reach()) {
            case ALL -> 0;
            case AFTER_MEDIA -> behindMedia;
            case LAST, AFTER_INSTRUCTION -> of.size() - 1;
            // None of these prompts begins an answer.
            case ANSWER -> of.size();
        };
        return t -> t >= first
                && scope.phases().contains(t < of.size() ? Phase.PROMPT : Phase.GENERATED)
                && scope.modalities().contains(of.whose(t))
                && (scope.medium().isEmpty() || scope.medium().getAsInt() == of.medium(t))
                && scope.positions().map(run -> run.first() <= t && t <= run.last()).orElse(true);
    }
}
