package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.intervention.Heads;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.Operation;
import dev.equipoise.runtime.intervention.Intervention.Reweigh;
import dev.equipoise.runtime.intervention.Intervention.Silence;
import dev.equipoise.runtime.intervention.Merge;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.oracle.InterventionOracle;
import dev.equipoise.runtime.oracle.InterventionOracle.Act;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.LlamaOracle.Input;
import dev.equipoise.runtime.oracle.Tolerance;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.SortedSet;
import java.util.function.IntPredicate;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Two branches that become one against the same in the plain Java forward pass. */
class ForkMergeParityTest extends InterventionRig {
    @ParameterizedTest
    @CsvSource({"512,0", "512,2", "6,1", "2,2"})
    void forkMerge(final int microBatch, final int layer) {
        final Map<Modality, Double> weights = Map.of(Modality.IMAGE, 0.8, Modality.AUDIO, 0.2);
        final Merge merge = new Merge(layer, weights);
        final List<Branch> branches = List.of(
                new Branch("seeing", prompt, List.of(new Silence("deaf", EnumSet.of(Modality.AUDIO)))),
                new Branch("hearing", prompt, List.of(new Silence("blind", EnumSet.of(Modality.IMAGE)))));
        final double[] w = new double[inputs.size() + 5];
        for (int t = 0; t < w.length; t++) {
            w[t] = in(Modality.IMAGE).test(t) ? 0.8 : in(Modality.AUDIO).test(t) ? 0.2 : 0.5;
        }
        final LlamaOracle.Inside deaf =
                new InterventionOracle(new Act(branches.get(0).interventions().getFirst(), in(Modality.AUDIO)));
        final LlamaOracle.Inside blind =
                new InterventionOracle(new Act(branches.get(1).interventions().getFirst(), in(Modality.IMAGE)));
        final double[] expected = oracle.runMerged(inputs, deaf, blind, layer, w).last();
        try (Engine engine = Engine.open(model, EXACT.withMicroBatch(microBatch).withMaxBranches(2))) {
            final Request request = request(Optional.of(merge), branches);
            assertClose(expected, engine.logits(request).logits(), Tolerance.f32(expected));

            final Answer answer = engine.run(request);
            final List<Input> read = new ArrayList<>(inputs);
            for (final int token : answer.tokens()) {
                assertDrawn(oracle.runMerged(read, deaf, blind, layer, w).last(), token);
                read.add(new Input.Token(token));
            }
            final TraceEntry merged = answer.trace().getLast();
            assertEquals("merge", merged.intervention());
            // Below the merge the branches are what they are without it; what they share changes nothing there.
            final List<Input> seen =
                    answer.finish() == FinishReason.STOP ? read : read.subList(0, read.size() - 1);
            final double[][] first = oracle.run(seen, deaf).hidden()[layer];
            final double[][] second = oracle.run(seen, blind).hidden()[layer];
            double sum = 0;
            for (int t = 0; t < seen.size(); t++) {
                double squares = 0;
                for (int i = 0; i < WIDTH; i++) {
                    squares += Math.pow((1 - w[t]) * (second[t][i] - first[t][i]), 2);
                }
                sum += Math.sqrt(squares);
            }
            assertTrue(merged.tokens() > 0 && merged.tokens() <= seen.size());
            // States err by 2e-5 of their norms, and differ by more than a twentieth of them.
            assertEquals(sum / merged.tokens(), merged.meanDeltaNorm(), 1e-3 * sum / merged.tokens());
        }
    }

    // Two branches that are merged, and what the oracle does for them.
    private record Fork(Request request, int layer, InterventionOracle first, InterventionOracle second) {
        double[] row(final List<Input> read) {
            final double[] even = new double[read.size()];
            Arrays.fill(even, Merge.EVEN);
            return oracle.runMerged(read, first, second, layer, even).last();
        }

        void assertAnswered(final Answer answer) {
            final List<Input> read = new ArrayList<>(inputs);
            assertTrue(!answer.tokens().isEmpty());
            for (final int token : answer.tokens()) {
                assertDrawn(row(read), token);
                read.add(new Input.Token(token));
            }
        }
    }

    private static Fork fork(final int layer, final boolean byMask, final Act... more) {
        final List<Branch> branches = new ArrayList<>();
        final List<InterventionOracle> oracles = new ArrayList<>();
        for (final Modality lacking : List.of(Modality.AUDIO, Modality.IMAGE)) {
            final Set<Modality> rest = EnumSet.complementOf(EnumSet.of(lacking));
            final SortedSet<Integer> below = ALL_LAYERS.headSet(layer + 1);
            final Act hide = byMask
                    ? new Act(
                            new Reweigh(
                                    "hide", EnumSet.of(lacking), OptionalInt.empty(), 0, below,
                                    Scope.all().of(rest)),
                            in(lacking).negate(),
                            in(lacking))
                    : new Act(new Silence("silence", EnumSet.of(lacking)), in(lacking));
            final List<Act> acts = new ArrayList<>(List.of(more));
            acts.add(hide);
            branches.add(new Branch(
                    "without " + lacking, prompt, acts.stream().map(Act::what).toList()));
            oracles.add(new InterventionOracle(acts.toArray(Act[]::new)));
        }
        return new Fork(
                request(Optional.of(new Merge(layer, Map.of())), branches),
                layer,
                oracles.get(0),
                oracles.get(1));
    }

    static Stream<Fork> forks() {
        final Act push = new Act(steer(Operation.ADD, 0.7, Scope.all(), 0, 1, 2, 3), EVERYWHERE);
        final Act turn = new Act(steer(Operation.ROTATE, 1, Scope.all(), 3), EVERYWHERE);
        final Set<Modality> note = EnumSet.of(Modality.CONTEXT);
        final IntPredicate noted = in(Modality.CONTEXT);
        final Act look = new Act(reweigh(Modality.CONTEXT, 5, Scope.all(), 0, 1, 2, 3), EVERYWHERE, noted);
        final Act raise = new Act(
                new Intervention.RaiseScores("pai", note, 3, ALL_LAYERS, Heads.ALL, Scope.all()), EVERYWHERE, noted);
        final Act sinks = new Act(
                new Intervention.DrainSinks(
                        "var", note, List.of(3, 17), 1.5, 0.8, 0.1, 0, ALL_LAYERS, Heads.ALL, Scope.all()),
                EVERYWHERE,
                noted);
        return Stream.of(
                fork(0, false, push, look),
                fork(0, true, turn),
                fork(1, true, push, look),
                fork(1, false, raise, sinks),
                fork(2, false, turn),
                fork(2, true, push, turn, look));
    }

    @ParameterizedTest
    @MethodSource("forks")
    void editsOnBothSidesOfAMerge(final Fork fork) {
        final double[] expected = fork.row(inputs);
        for (final int microBatch : new int[] {512, 7, 2}) {
            try (Engine engine = Engine.open(model, EXACT.withMicroBatch(microBatch).withMaxBranches(2))) {
                assertClose(expected, engine.logits(fork.request()).logits(), Tolerance.f32(expected));
            }
        }
        try (Engine engine = Engine.open(model, EXACT.withFlashAttention(FlashAttention.ON))) {
            assertClose(expected, engine.logits(fork.request()).logits(), Tolerance.f16(expected));
        }
    }

    @ParameterizedTest
    @CsvSource({"512,ON", "512,OFF", "16,ON"})
    void mergesAtSeveralLayersInOneBatch(final int microBatch, final PadSteps pad) {
        final List<Fork> forks = forks().toList();
        try (Engine engine = Engine.open(
                model, EXACT.withContext(2048).withMicroBatch(microBatch).withMaxBranches(13).withPadSteps(pad))) {
            final List<Generation> together = new ArrayList<>();
            final Generation plain = engine.submit(Request.plain(prompt));
            forks.forEach(fork -> together.add(engine.submit(fork.request())));
            // One whose prompt is not yet read and one that generates end in the middle.
            together.getLast().cancel();
            engine.step();
            together.getFirst().cancel();
            while (engine.step()) {
                // All of them advance.
            }
            for (int i = 1; i < forks.size() - 1; i++) {
                forks.get(i).assertAnswered(together.get(i).answer());
            }
            final List<Input> read = new ArrayList<>(inputs);
            for (final int token : plain.answer().tokens()) {
                assertDrawn(oracle.run(read).last(), token);
                read.add(new Input.Token(token));
            }
            // Their sequences and cells serve others now, which go all the way.
            final double[] row = oracle.run(inputs).last();
            assertClose(row, engine.logits(Request.plain(prompt)).logits(), Tolerance.f32(row));
            forks.getFirst().assertAnswered(engine.run(forks.getFirst().request()));
        }
    }
}
