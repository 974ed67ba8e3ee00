package dev.equipoise.bench.speed;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.CoefficientSchedule;
import dev.equipoise.runtime.Combination;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.PlanDescription.BranchPlan;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.StrategyLabel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.DoubleSupplier;
import org.HdrHistogram.Histogram;

/**
 * Our engine beside bare llama.cpp in alternation: greedy decoding against {@code llama-bench}, contrast of two
 * branches against {@code llama-batched-bench} with two sequences. Both sides load the model anew for every sample, so
 * that the luck of where its pages lie falls on both. Belongs to the thread that runs it.
 */
public final class BareComparison {
    /** The programs that it runs. */
    static final List<String> PROGRAMS = List.of(BareLlama.ONE, BareLlama.SEVERAL);

    private static final double PLAIN_TARGET = 0.99;
    private static final double CONTRAST_TARGET = 1.05;
    private static final int BRANCHES = 2;
    // A random model ends its answer by chance; other words, another chance.
    private static final int PROMPTS = 32;
    private static final double NANOS_PER_MILLI = 1e6;
    private static final Combination CONTRAST = new Combination(CoefficientSchedule.fixed(2, -1), false, 0.1);

    private final Path file;
    private final Settings settings;
    private final List<Arm> arms;

    /**
     * What was measured.
     *
     * @param arms ours and theirs
     * @param comparisons the ratios that the design asks for, and those that explain them
     * @param flashAttention whether attention weights were materialised
     */
    public record Result(List<ArmReport> arms, List<Comparison> comparisons, boolean flashAttention) {
        public Result {
            arms = List.copyOf(arms);
            comparisons = List.copyOf(comparisons);
        }
    }

    private BareComparison(final Path file, final Settings settings, final Work work, final BareLlama bare) {
        this.file = file;
        this.settings = settings;
        final Arm plain = new Arm("plain", 1, work.depth);
        plain.sample = () -> ours(work.plain, work.options, plain);
        final Arm contrast = new Arm("contrast of 2 branches", BRANCHES, work.depth);
        contrast.sample = () -> ours(work.contrast, work.options, contrast);
        final Arm one = new Arm(BareLlama.ONE, 1, work.depth);
        one.sample = () -> bare.one(work.depth);
        final Arm two = new Arm(BareLlama.SEVERAL + " -kvu -npl 2", BRANCHES, work.depth);
        two.sample = () -> bare.several(BRANCHES, work.depth, true);
        arms = List.of(plain, one, contrast, two);
    }

    /**
     * Measures; takes as long as rounds and tokens say.
     *
     * @param file a text model
     * @param programs folder of llama.cpp's programs
     * @param progress told what is about to run
     * @throws BadInputException if the model ends its answers before the tokens are reached, whatever the prompt
     */
    public static Result run(
            final Path file, final Path programs, final Settings settings, final Consumer<String> progress) {
        progress.accept("warming up");
        SteadyState.reach(settings);
        progress.accept("choosing a prompt");
        final Work work = Work.choose(file, settings);
        final BareLlama bare = new BareLlama(programs, file, settings, work.flashAttention);
        final BareComparison comparison = new BareComparison(file, settings, work, bare);
        for (int round = 0; round < settings.warmUp() + settings.rounds(); round++) {
            for (final Arm arm : Interleaving.alternating(comparison.arms, round)) {
                progress.accept("round " + (round + 1) + " of " + (settings.warmUp() + settings.rounds()) + ": "
                        + arm.name);
                if (round == settings.warmUp()) {
                    arm.ttft.reset();
                    arm.itl.reset();
                }
                final double millis = arm.sample.getAsDouble();
                if (round >= settings.warmUp()) {
                    arm.millisPerToken.add(millis);
                }
            }
        }
        return comparison.result(work.flashAttention);
    }

    private double ours(final Request request, final EngineOptions options, final Arm arm) {
        try (Model model = Model.load(file, settings.loading(Optional.empty(), false));
                Engine engine = Engine.open(model, options)) {
            SteadyState.awaitCompilers();
            final StepTimer.Sample sample = StepTimer.time(engine, request);
            if (sample.stepNanos().length != settings.tokens()) {
                throw new BadInputException(
                        "the answer ended early, as it had not before", file.toString(), "measure another model");
            }
            arm.ttft.recordValue(sample.firstNanos());
            for (final long nanos : sample.stepNanos()) {
                arm.itl.recordValue(nanos);
            }
            return sample.totalNanos() / NANOS_PER_MILLI / settings.tokens();
        }
    }

    private Result result(final boolean flashAttention) {
        final List<Double> plain = arms.get(0).millisPerToken;
        final List<Double> one = arms.get(1).millisPerToken;
        final List<Double> contrast = arms.get(2).millisPerToken;
        final List<Double> two = arms.get(3).millisPerToken;
        final String time = "time per step, the first over the second";
        return new Result(
                arms.stream().map(arm -> arm.report(plain)).toList(),
                List.of(
                        new Comparison(
                                "plain against llama-bench",
                                "tokens per second, the first over the second",
                                new Comparison.Target.AtLeast(PLAIN_TARGET),
                                ArmReport.ratio(one, plain)),
                        new Comparison(
                                "contrast of 2 branches against llama-batched-bench",
                                time,
                                new Comparison.Target.AtMost(CONTRAST_TARGET),
                                ArmReport.ratio(contrast, two)),
                        new Comparison(
                                "contrast of 2 branches against plain",
                                time,
                                new Comparison.Target.None(),
                                ArmReport.ratio(contrast, plain)),
                        new Comparison(
                                "llama-batched-bench against llama-bench",
                                time,
                                new Comparison.Target.None(),
                                ArmReport.ratio(two, one))),
                flashAttention);
    }

    /** What our two arms run: prompts after which the model goes on for as long as is measured. */
    private record Work(Request plain, Request contrast, EngineOptions options, int depth, boolean flashAttention) {
        static Work choose(final Path file, final Settings settings) {
            try (Model model = Model.load(file, settings.loading(Optional.empty(), true))) {
                for (int attempt = 0; attempt < PROMPTS; attempt++) {
                    final BenchPrompts prompts =
                            BenchPrompts.of(model, settings.promptTokens(), settings.seed() + attempt);
                    final Optional<Work> work = of(model, settings, prompts);
                    if (work.isPresent()) {
                        return work.get();
                    }
                }
            }
            throw new BadInputException(
                    "the model ends its answers before " + settings.tokens() + " tokens",
                    file.toString(),
                    "measure fewer tokens, or a model of ./equipoise synth");
        }

        private static Optional<Work> of(final Model model, final Settings settings, final BenchPrompts prompts) {
            final Prompt base = prompts.words(0);
            final Request plain = request(settings, List.of(new Branch("base", base)), Optional.empty(), "plain");
            final Request contrast = request(
                    settings,
                    List.of(new Branch("base", base), new Branch("other", prompts.words(1))),
                    Optional.of(CONTRAST),
                    "contrast");
            final List<BranchPlan> plans;
            try (Engine engine = Engine.open(model, settings.engine(1, BRANCHES))) {
                plans = engine.describe(contrast).branches();
            }
            final int depth = plans.getFirst().tokens();
            final int cells = depth
                    + plans.getLast().tokens()
                    - plans.getLast().sharedTokens()
                    + BRANCHES * (settings.tokens() + 1);
            final EngineOptions options = settings.engine(cells, BRANCHES);
            try (Engine engine = Engine.open(model, options)) {
                final boolean goesOn = reaches(engine, plain) && reaches(engine, contrast);
                return goesOn
                        ? Optional.of(new Work(plain, contrast, options, depth, engine.flashAttention()))
                        : Optional.empty();
            }
        }

        private static boolean reaches(final Engine engine, final Request request) {
            return StepTimer.time(engine, request).stepNanos().length == request.limits().maxTokens() - 1;
        }

        private static Request request(
                final Settings settings,
                final List<Branch> branches,
                final Optional<Combination> combination,
                final String name) {
            // One more than is timed: the first token comes with the prompt.
            final Limits limits = new Limits(settings.tokens() + 1, List.of());
            return new Request(branches, combination, Sampling.greedy(), limits, 0, new StrategyLabel(name, name));
        }
    }

    private static final class Arm {
        private final String name;
        private final int branches;
        private final int depth;
        private final Histogram ttft = Latency.histogram();
        private final Histogram itl = Latency.histogram();
        private final List<Double> millisPerToken = new ArrayList<>();
        private DoubleSupplier sample;

        private Arm(final String name, final int branches, final int depth) {
            this.name = name;
            this.branches = branches;
            this.depth = depth;
        }

        private ArmReport report(final List<Double> plain) {
            final boolean ours = itl.getTotalCount() > 0;
            return new ArmReport(
                    name,
                    ours ? Optional.empty() : Optional.of("another program, which times no single token"),
                    branches,
                    depth,
                    ours ? Optional.of(Latency.of(ttft)) : Optional.empty(),
                    ours ? Optional.of(Latency.of(itl)) : Optional.empty(),
                    millisPerToken,
                    ArmReport.ratio(millisPerToken, plain));
        }
    }
}
