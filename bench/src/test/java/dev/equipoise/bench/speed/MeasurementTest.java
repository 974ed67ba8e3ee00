package dev.equipoise.bench.speed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.Contrast;
import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.CoefficientSchedule;
import dev.equipoise.runtime.Combination;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.PlanDescription.BranchPlan;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.StrategyLabel;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Measures tiny models briefly: the figures mean nothing, their shape does. */
class MeasurementTest {
    @TempDir
    private Path folder;

    @Test
    void promptsHaveTheWantedLengthAndDifferWhereTheyShould() {
        final Settings settings = SpeedFixtures.settings(8, 1);
        try (Model model = Model.load(SpeedFixtures.model(folder), settings.loading(Optional.empty(), false));
                Engine engine = Engine.open(model, settings.engine(64, 2))) {
            final BenchPrompts prompts = BenchPrompts.of(model, 12, 3);
            assertEquals(prompts.full(1), BenchPrompts.of(model, 12, 3).full(1));
            assertEquals(Set.of(Modality.CONTEXT, Modality.TEXT), prompts.full(1).modalities());
            final Request request = new Request(
                    List.of(new Branch("a", prompts.words(0)), new Branch("b", prompts.words(1))),
                    Optional.of(new Combination(CoefficientSchedule.fixed(2, -1), false, 0)),
                    Sampling.greedy(),
                    Limits.defaults(),
                    0,
                    StrategyLabel.PLAIN);
            for (final BranchPlan branch : engine.describe(request).branches()) {
                assertEquals(1 + 12, branch.tokens(), "BOS and words of " + branch.name());
            }
            assertEquals(12, engine.describe(request).branches().getLast().sharedTokens());
        }
    }

    @Test
    void timesEveryStepAfterTheFirst() {
        final Settings settings = SpeedFixtures.settings(8, 1);
        try (Model model = Model.load(SpeedFixtures.model(folder), settings.loading(Optional.empty(), false));
                Engine engine = Engine.open(model, settings.engine(64, 1))) {
            final Request plain = Request.plain(BenchPrompts.of(model, 12, 3).words(0));
            final Limits limits = new Limits(5, List.of());
            final Request limited = new Request(
                    plain.branches(), plain.combination(), plain.sampling(), limits, 0, plain.strategy());
            final StepTimer.Sample sample = StepTimer.time(engine, limited);
            assertEquals(4, sample.stepNanos().length);
            assertTrue(sample.firstNanos() > 0);
            assertTrue(sample.totalNanos() > 0);
        }
    }

    @Test
    void strategiesRunBesidePlainDecoding() {
        final Settings settings = SpeedFixtures.settings(6, 3);
        try (Model model = Model.load(SpeedFixtures.model(folder), settings.loading(Optional.empty(), false))) {
            final List<Strategy> strategies = Strategies.names().stream().map(Strategies::named).toList();
            final List<ArmReport> arms = StrategyBench.run(model, settings, strategies, what -> { });
            assertEquals(1 + strategies.size(), arms.size());
            final ArmReport plain = arms.getFirst();
            assertEquals("plain", plain.name());
            assertEquals(new Spread(1, 1, 1, Optional.empty(), 3), plain.ratioToPlain());
            for (final ArmReport arm : arms) {
                assertEquals(3, arm.millisPerToken().size(), arm.name());
                assertTrue(arm.itl().orElseThrow().n() >= 3, arm.name());
                assertTrue(arm.ttft().orElseThrow().p50() > 0, arm.name());
                assertTrue(arm.tokensPerSecond() > 0, arm.name());
            }
            final ArmReport vcd =
                    arms.stream().filter(arm -> arm.name().equals("vcd")).findFirst().orElseThrow();
            assertEquals(2, vcd.branches());
            assertTrue(vcd.remark().orElseThrow().contains("image"), "a text model sees no picture");
        }
    }

    @Test
    void picturesAndSoundsAreEncodedWhereTheModelTakesThem() {
        final Settings settings = SpeedFixtures.settings(2, 1);
        final Path mmproj = TinyModels.mmproj(folder.resolve("mmproj.gguf"), 6, 64);
        try (Model model = Model.load(SpeedFixtures.model(folder), settings.loading(Optional.of(mmproj), false))) {
            final List<ArmReport> arms = StrategyBench.run(
                    model, settings, List.of(Strategies.named("avcd"), Strategies.named("vcd")), what -> { });
            // Its branches are read again for every token, which is one, however many steps that takes.
            assertEquals(4, arms.get(1).branches());
            assertEquals(arms.getFirst().itl().orElseThrow().n(), arms.get(1).itl().orElseThrow().n());
            assertFalse(arms.get(1).remark().isPresent());
            assertFalse(arms.getLast().remark().isPresent());
            assertTrue(arms.getLast().promptTokens() >= 12 + TinyModels.IMAGE_TOKENS + TinyModels.AUDIO_TOKENS);
        }
    }

    @Test
    void aSecondBranchWithoutItsMediumLacksTheNoteInstead() {
        final Set<Modality> words = Set.of(Modality.CONTEXT, Modality.TEXT);
        final Contrast.Vcd vcd = (Contrast.Vcd) Strategies.named("vcd").contrast().orElseThrow();
        final FittedStrategy fitted = FittedStrategy.of(Strategies.named("vcd"), words);
        assertEquals(
                Optional.of(new Contrast.Cad(vcd.alpha(), vcd.beta(), Optional.of(Modality.CONTEXT))),
                fitted.strategy().contrast());
        assertTrue(fitted.standIn().isPresent());
        for (final String name : List.of("greedy", "plausibility-only", "icd", "cad")) {
            final Strategy strategy = Strategies.named(name);
            assertEquals(new FittedStrategy(strategy, Optional.empty()), FittedStrategy.of(strategy, words));
        }
    }

    @Test
    void bareLlamaIsComparedRoundByRound() {
        FakePrograms.write(folder);
        final BareComparison.Result result =
                BareComparison.run(SpeedFixtures.model(folder), folder, SpeedFixtures.settings(4, 3), what -> { });
        assertEquals(4, result.arms().size());
        assertEquals(4, result.comparisons().size());
        assertEquals(12, result.arms().getFirst().itl().orElseThrow().n(), "warm-up does not count");
        final ArmReport plain = result.arms().get(0);
        final ArmReport one = result.arms().get(1);
        assertEquals(Collections.nCopies(3, FakePrograms.ONE_MILLIS), one.millisPerToken());
        final double slowest = plain.millisPerToken().stream().mapToDouble(x -> x).max().orElseThrow();
        final Comparison speed = result.comparisons().getFirst();
        // More is faster: the bare time stands above ours.
        assertEquals(FakePrograms.ONE_MILLIS / slowest, speed.ratio().min(), 1e-9);
        assertEquals(new Comparison.Target.AtLeast(0.99), speed.target());
        assertEquals(
                FakePrograms.SEVERAL_MILLIS / FakePrograms.ONE_MILLIS,
                result.comparisons().getLast().ratio().median(),
                1e-9);
    }

    @Test
    void settingsOutOfRangeAreRefused() {
        assertThrows(BadInputException.class, () -> SpeedFixtures.settings(0, 1));
        assertThrows(BadInputException.class, () -> SpeedFixtures.settings(1, 0));
    }
}
