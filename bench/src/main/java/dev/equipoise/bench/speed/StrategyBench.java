package dev.equipoise.bench.speed;

import dev.equipoise.decoding.Lowering;
import dev.equipoise.decoding.Plan;
import dev.equipoise.decoding.Preparation;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.PlanDescription.BranchPlan;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import org.HdrHistogram.Histogram;

/**
 * Strategies beside plain decoding, in one process on one engine: every round runs every arm on the same words, in
 * rotated order. Belongs to the thread that runs it.
 */
public final class StrategyBench {
    // A model that ends its answers early is asked again, but not for ever.
    private static final int MAX_REQUESTS = 8;
    private static final double NANOS_PER_MILLI = 1e6;

    private final Settings settings;
    private final BenchPrompts prompts;
    private final List<Arm> arms = new ArrayList<>();
    private long media;

    private StrategyBench(final Model model, final Settings settings, final List<Strategy> strategies) {
        this.settings = settings;
        this.prompts = BenchPrompts.of(model, settings.promptTokens(), settings.seed());
        arms.add(new Arm(new FittedStrategy(Strategy.plain(), Optional.empty())));
        for (final Strategy strategy : strategies) {
            if (!strategy.equals(Strategy.plain())) {
                arms.add(new Arm(FittedStrategy.of(strategy, prompts.modalities())));
            }
        }
    }

    /**
     * Measures; takes as long as rounds and tokens say.
     *
     * @param strategies arms besides plain decoding, which always is the first
     * @param progress told what is about to run
     * @throws BadInputException if a strategy cannot run on this model, or the model never gives a second token
     */
    public static List<ArmReport> run(
            final Model model,
            final Settings settings,
            final List<Strategy> strategies,
            final Consumer<String> progress) {
        progress.accept("warming up");
        SteadyState.reach(settings);
        final StrategyBench bench = new StrategyBench(model, settings, strategies);
        final int cells = bench.describe(model);
        final int branches = bench.arms.stream().mapToInt(arm -> arm.branches).max().orElseThrow();
        try (Engine engine = Engine.open(model, settings.engine(cells, branches))) {
            for (int round = 0; round < settings.warmUp() + settings.rounds(); round++) {
                final boolean counts = round >= settings.warmUp();
                for (final Arm arm : Interleaving.rotated(bench.arms, round)) {
                    progress.accept("round " + (round + 1) + " of " + (settings.warmUp() + settings.rounds()) + ": "
                            + arm.fitted.strategy().name());
                    bench.measure(engine, arm, counts);
                }
            }
        }
        return bench.arms.stream()
                .map(arm -> arm.report(bench.arms.getFirst()))
                .toList();
    }

    // Notes how large every arm's prompts are and returns the cells that the largest needs.
    private int describe(final Model model) {
        int cells = 0;
        try (Engine engine = Engine.open(model, settings.engine(1, 1))) {
            for (final Arm arm : arms) {
                final Plan asked = plan(arm, model);
                final List<BranchPlan> plans =
                        engine.describe(asked.request(Limits.defaults(), 0)).branches();
                arm.branches = asked.sequences();
                arm.promptTokens = plans.getFirst().tokens();
                int own = arm.promptTokens + asked.answers() * (settings.tokens() + 1) + asked.sequences();
                for (final BranchPlan other : plans.subList(1, plans.size())) {
                    own += other.tokens() - other.sharedTokens();
                }
                cells = Math.max(cells, own);
            }
        }
        return cells;
    }

    // Every request has media of its own: an encoding that was there already would be no part of its first token.
    private Plan plan(final Arm arm, final Model model) {
        return Lowering.lower(
                arm.fitted.strategy(),
                prompts.full(media++),
                settings.seed(),
                model.info().layers(),
                Preparation.unknown(arm.fitted.strategy(), model.info()));
    }

    private void measure(final Engine engine, final Arm arm, final boolean counts) {
        int steps = 0;
        long nanos = 0;
        for (int asked = 0; asked < MAX_REQUESTS && steps < settings.tokens(); asked++) {
            final Limits limits = new Limits(settings.tokens() - steps + 1, List.of());
            final StepTimer.Sample sample = StepTimer.time(engine, plan(arm, engine.model()).request(limits, 0));
            steps += sample.stepNanos().length;
            nanos += sample.totalNanos();
            if (counts) {
                arm.add(sample);
            }
        }
        if (steps == 0) {
            throw new BadInputException(
                    "answers of a single token have no time per token",
                    "strategy " + arm.fitted.strategy().name(),
                    "measure with a model that says more");
        }
        if (counts) {
            arm.millisPerToken.add(nanos / NANOS_PER_MILLI / steps);
        }
    }

    private static final class Arm {
        private final FittedStrategy fitted;
        private final Histogram ttft = Latency.histogram();
        private final Histogram itl = Latency.histogram();
        private final List<Double> millisPerToken = new ArrayList<>();
        private int branches;
        private int promptTokens;

        private Arm(final FittedStrategy fitted) {
            this.fitted = fitted;
        }

        private void add(final StepTimer.Sample sample) {
            ttft.recordValue(sample.firstNanos());
            for (final long step : sample.stepNanos()) {
                itl.recordValue(step);
            }
        }

        private ArmReport report(final Arm plain) {
            return new ArmReport(
                    fitted.strategy().name(),
                    fitted.standIn(),
                    branches,
                    promptTokens,
                    Optional.of(Latency.of(ttft)),
                    Optional.of(Latency.of(itl)),
                    millisPerToken,
                    ArmReport.ratio(millisPerToken, plain.millisPerToken));
        }
    }
}
