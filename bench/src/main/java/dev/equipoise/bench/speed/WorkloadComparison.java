package dev.equipoise.bench.speed;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Model;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.DoubleSupplier;

/**
 * What branches, gates, prefills and company cost: workloads of our engine beside plain decoding and beside as many
 * sequences in {@code llama-batched-bench}. As {@link BareComparison}, both sides load the model anew for every sample.
 * Belongs to the thread that runs it.
 */
public final class WorkloadComparison {
    /** The program that it runs. */
    static final List<String> PROGRAMS = List.of(BareLlama.SEVERAL);

    private static final double BRANCHES_TARGET = 1.05;
    private static final double GATE_TARGET = 1.45;
    private static final double COMPANY_TARGET = 1.05;
    private static final double MIXED_TARGET = 0.9;
    private static final double PREFILL_TARGET = 1.15;
    private static final String PER_TOKEN = "time per token, the first over the second";

    private final Path file;
    private final Settings settings;
    private final List<Arm> arms = new ArrayList<>();
    private final List<Pair> pairs = new ArrayList<>();

    private record Pair(
            String name, String measure, Comparison.Target target, Arm over, Arm under) {}

    private WorkloadComparison(
            final Path file, final Settings settings, final Workloads work, final BareLlama bare) {
        this.file = file;
        this.settings = settings;
        final Arm plain = generates(work.plain(), work.depth());
        final Arm gated = generates(work.gated(), work.depth());
        gated.remark = Optional.of(String.format(Locale.ROOT, "open at %.0f %% of its tokens", 100 * work.openShare()));
        pairs.add(new Pair(
                "gate against plain", PER_TOKEN, new Comparison.Target.AtMost(GATE_TARGET), gated, plain));
        for (final Workload branches : work.branches()) {
            final Arm contrast = generates(branches, work.depth());
            pairs.add(new Pair(
                    branches.name() + " against llama-batched-bench",
                    PER_TOKEN,
                    new Comparison.Target.AtMost(BRANCHES_TARGET),
                    contrast,
                    bare(bare, branches.rows(), work.depth(), true)));
            pairs.add(new Pair(
                    branches.name() + " against plain", PER_TOKEN, new Comparison.Target.None(), contrast, plain));
        }
        final Arm company = generates(work.company(), work.depth());
        pairs.add(new Pair(
                "4 requests with interventions against 4 plain ones",
                PER_TOKEN,
                new Comparison.Target.AtMost(COMPANY_TARGET),
                generates(work.intervened(), work.depth()),
                company));
        final Arm mixed = generates(work.mixed(), work.depth());
        pairs.add(new Pair(
                "8 mixed requests against llama-batched-bench, " + work.mixed().rows() + " rows each",
                "rows per second, the first over the second",
                new Comparison.Target.AtLeast(MIXED_TARGET),
                bare(bare, work.mixed().rows(), work.depth(), false),
                mixed));
        final Arm prefill = prefills(work.longPlain());
        pairs.add(new Pair(
                "prefill of 2 branches against plain",
                "time to the first token, the first over the second",
                new Comparison.Target.AtMost(PREFILL_TARGET),
                prefills(work.longContrast()),
                prefill));
    }

    /**
     * Measures; takes as long as rounds and tokens say.
     *
     * @param file a text model
     * @param programs folder of llama.cpp's programs
     * @param progress told what is about to run
     * @throws BadInputException if the model ends its answers before the tokens are reached, whatever the prompt
     */
    public static BareComparison.Result run(
            final Path file, final Path programs, final Settings settings, final Consumer<String> progress) {
        progress.accept("warming up");
        SteadyState.reach(settings);
        progress.accept("choosing prompts and a threshold");
        final Workloads work;
        final boolean flash;
        try (Model model = Model.load(file, settings.loading(Optional.empty(), true))) {
            work = Workloads.choose(model, settings);
            try (Engine engine = Engine.open(model, work.plain().options())) {
                flash = engine.flashAttention();
            }
        }
        final WorkloadComparison comparison =
                new WorkloadComparison(file, settings, work, new BareLlama(programs, file, settings, flash));
        for (int round = 0; round < settings.warmUp() + settings.rounds(); round++) {
            for (final Arm arm : Interleaving.alternating(comparison.arms, round)) {
                progress.accept("round " + (round + 1) + " of " + (settings.warmUp() + settings.rounds()) + ": "
                        + arm.name);
                final double millis = arm.sample.getAsDouble();
                if (round >= settings.warmUp()) {
                    arm.millis.add(millis);
                }
            }
        }
        return comparison.result(flash);
    }

    private Arm generates(final Workload work, final int depth) {
        return add(work.name(), work.rows(), depth, () -> sample(work).millisPerToken());
    }

    private Arm prefills(final Workload work) {
        final Arm arm = add(work.name(), work.rows(), 0, () -> sample(work).firstMillis());
        arm.remark = Optional.of("milliseconds are those to the first token");
        return arm;
    }

    private Arm bare(final BareLlama bare, final int rows, final int depth, final boolean shared) {
        return add(
                BareLlama.SEVERAL + " -kvu -npl " + rows + (shared ? " -pps" : ""),
                rows,
                depth,
                () -> bare.several(rows, depth, shared));
    }

    private Arm add(final String name, final int rows, final int depth, final DoubleSupplier sample) {
        final Arm arm = new Arm(name, rows, depth, sample);
        arms.add(arm);
        return arm;
    }

    private Workload.Sample sample(final Workload work) {
        try (Model model = Model.load(file, settings.loading(Optional.empty(), false))) {
            SteadyState.awaitCompilers();
            return work.time(model);
        }
    }

    private BareComparison.Result result(final boolean flash) {
        final List<Double> plain = arms.getFirst().millis;
        return new BareComparison.Result(
                arms.stream().map(arm -> arm.report(plain)).toList(),
                pairs.stream()
                        .map(pair -> new Comparison(
                                pair.name(),
                                pair.measure(),
                                pair.target(),
                                ArmReport.ratio(pair.over().millis, pair.under().millis)))
                        .toList(),
                flash);
    }

    private static final class Arm {
        private final String name;
        private final int rows;
        private final int depth;
        private final DoubleSupplier sample;
        private final List<Double> millis = new ArrayList<>();
        private Optional<String> remark = Optional.empty();

        private Arm(final String name, final int rows, final int depth, final DoubleSupplier sample) {
            this.name = name;
            this.rows = rows;
            this.depth = depth;
            this.sample = sample;
        }

        private ArmReport report(final List<Double> plain) {
            return new ArmReport(
                    name, remark, rows, depth, Optional.empty(), Optional.empty(), millis,
                    ArmReport.ratio(millis, plain));
        }
    }
}
