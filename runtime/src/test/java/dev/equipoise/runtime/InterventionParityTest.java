package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.Divergence;
import dev.equipoise.runtime.intervention.Intervention.Operation;
import dev.equipoise.runtime.intervention.Intervention.Reweigh;
import dev.equipoise.runtime.intervention.Intervention.Silence;
import dev.equipoise.runtime.intervention.Intervention.Soften;
import dev.equipoise.runtime.intervention.Intervention.Steer;
import dev.equipoise.runtime.intervention.Phase;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.oracle.InterventionOracle;
import dev.equipoise.runtime.oracle.InterventionOracle.Act;
import dev.equipoise.runtime.oracle.LlamaOracle.Input;
import dev.equipoise.runtime.oracle.Tolerance;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Interventions of several kinds together, early exits, and what is said of both, against the oracle. */
class InterventionParityTest extends InterventionRig {
    static Stream<Act> exits() {
        return Stream.of(
                new Act(new Intervention.AverageExits("bare", new TreeSet<>(List.of(1, 2)), 0.3, false), EVERYWHERE),
                new Act(new Intervention.AverageExits("normed", new TreeSet<>(List.of(0, 3)), 0.5, true), EVERYWHERE),
                new Act(new Intervention.AverageExits("input", new TreeSet<>(List.of(-1, 2)), 0.5, false), EVERYWHERE),
                contrast("dola", 0, Divergence.JENSEN_SHANNON, true, 0, 1, 2),
                contrast("one", 0, Divergence.JENSEN_SHANNON, true, 0),
                contrast("bare", 0, Divergence.JENSEN_SHANNON, false, 0, 2),
                contrast("input", 0, Divergence.JENSEN_SHANNON, true, -1),
                contrast("both", 0, Divergence.JENSEN_SHANNON, false, -1, 1),
                contrast("dola-code", 0, Divergence.ARITHMETIC_GEOMETRIC, false, -1, 0, 1, 2),
                contrast("normed", 0, Divergence.ARITHMETIC_GEOMETRIC, true, 0, 1, 2),
                contrast("one", 0, Divergence.ARITHMETIC_GEOMETRIC, true, 1));
    }

    private static Act contrast(
            final String name, final double top, final Divergence by, final boolean normed, final Integer... layers) {
        return new Act(
                new Intervention.ContrastExits(name, new TreeSet<>(List.of(layers)), top, normed, by), EVERYWHERE);
    }

    /**
     * The input is pushed against a vector, what the first block gives along it. The last block's words are those of
     * the latter, which without the final norm is ever surer of them and gives all others ever less of a chance.
     */
    @Test
    void theDivergencesChooseDifferentExits() {
        int apart = 0;
        for (int push = 1; push <= 64; push *= 2) {
            final Steer steer = steer(Operation.ADD, -push / 4.0, Scope.all(), 0);
            final Act against = new Act(
                    new Steer(
                            "against", Operation.ADD, Intervention.Place.EMBEDDING, steer.vectors(), steer.second(),
                            steer.amount(), Scope.all()),
                    EVERYWHERE);
            final Act along = new Act(steer(Operation.ADD, push, Scope.all(), 0), EVERYWHERE);
            final Act to = contrast("to", 0, Divergence.JENSEN_SHANNON, false, -1, 0);
            final Act from = contrast("from", 0, Divergence.ARITHMETIC_GEOMETRIC, false, -1, 0);
            final double[] one = oracle.run(inputs, new InterventionOracle(against, along, to)).last();
            final double[] other = oracle.run(inputs, new InterventionOracle(against, along, from)).last();
            if (!Arrays.equals(one, other)) {
                apart++;
                assertParity(EXACT, against, along, to);
                assertParity(EXACT, against, along, from);
            }
        }
        assertTrue(apart > 0, "both choose the same exit however far it is pushed");
    }

    @ParameterizedTest
    @MethodSource("exits")
    void earlyExits(final Act act) {
        assertParity(EXACT, act);
        assertParity(EXACT.withMicroBatch(3).withMaxBranches(1), act);
    }

    @Test
    void severalInTheOrderInWhichTheyAreNamed() {
        final Act push = new Act(steer(Operation.ADD, 1, Scope.all(), 1), EVERYWHERE);
        final Act turn = new Act(steer(Operation.ROTATE, 2, Scope.all(), 1), EVERYWHERE);
        final Act look = new Act(reweigh(Modality.IMAGE, 4, Scope.all(), 1, 2), EVERYWHERE, in(Modality.IMAGE));
        final Act again = new Act(reweigh(Modality.IMAGE, 2, Scope.all(), 2), EVERYWHERE, in(Modality.IMAGE));
        final Act deaf = new Act(new Silence("deaf", EnumSet.of(Modality.AUDIO)), in(Modality.AUDIO));
        assertParity(EXACT, push, turn, look, again, deaf);
        assertParity(EXACT, turn, push);
    }

    @Test
    void differentInterventionsInOneBatch() {
        final List<Act> acts = List.of(
                new Act(steer(Operation.ADD, 1, Scope.all(), 0, 1, 2, 3), EVERYWHERE),
                new Act(
                        steer(Operation.ROTATE, 1, Scope.all().during(EnumSet.of(Phase.GENERATED)), 1, 3),
                        t -> t > last()),
                new Act(reweigh(Modality.IMAGE, 5, Scope.all(), 0, 2), EVERYWHERE, in(Modality.IMAGE)),
                new Act(
                        reweigh(Modality.CONTEXT, 0.1, Scope.all().of(EnumSet.of(Modality.TEXT)), 1, 2, 3),
                        in(Modality.TEXT),
                        in(Modality.CONTEXT)),
                new Act(new Silence("blind", EnumSet.of(Modality.IMAGE)), in(Modality.IMAGE)));
        try (Engine engine = Engine.open(model, EXACT.withMicroBatch(32))) {
            final List<Generation> together = new ArrayList<>();
            together.add(engine.submit(Request.plain(prompt)));
            acts.forEach(act -> together.add(engine.submit(request(act.what()))));
            engine.step();
            // One that ends in the middle leaves the others what they are.
            together.getFirst().cancel();
            while (engine.step()) {
                // All of them advance.
            }
            for (int i = 0; i < acts.size(); i++) {
                final List<Input> read = new ArrayList<>(inputs);
                final Answer answer = together.get(i + 1).answer();
                assertTrue(!answer.tokens().isEmpty());
                for (final int token : answer.tokens()) {
                    assertDrawn(oracle.run(read, new InterventionOracle(acts.get(i))).last(), token);
                    read.add(new Input.Token(token));
                }
            }
            // Sequences and cells are used again: nothing of the last tenants may be left.
            final double[] plain = oracle.run(inputs).last();
            assertClose(plain, engine.logits(Request.plain(prompt)).logits(), Tolerance.f32(plain));
        }
    }

    @Test
    void theTraceCountsTokensAndMeasuresTheChange() {
        final Steer add = steer(Operation.ADD, 0.5, Scope.all().of(EnumSet.of(Modality.IMAGE)), 0, 2);
        final Reweigh look = reweigh(Modality.IMAGE, 4, Scope.all().within(Reach.LAST), 1);
        try (Engine engine = Engine.open(model, EXACT)) {
            final Answer answer = engine.run(request(add, look));
            final int picture = spans.stream()
                    .filter(span -> span.modality() == Modality.IMAGE)
                    .mapToInt(Span::length)
                    .sum();
            final TraceEntry steered = answer.trace().get(0);
            assertEquals(List.of(0, 2), steered.layers());
            assertEquals(picture, steered.tokens());
            final double norm = (add.vectors().norm(0) + add.vectors().norm(2)) / 2 * 0.5;
            assertEquals(norm, steered.meanDeltaNorm(), 1e-4 * norm);
            // The last prompt token and all generated ones but the one that ended the answer.
            final TraceEntry looked = answer.trace().get(1);
            assertEquals(answer.tokens().size(), looked.tokens());
            assertEquals(Math.log(4) * Math.sqrt(picture), looked.meanDeltaNorm(), 1e-4);
        }
    }

    @Test
    void zeroStrengthIsPlain() {
        final double[] plain = oracle.run(inputs).last();
        try (Engine engine = Engine.open(model, EXACT)) {
            final float[] before = engine.logits(Request.plain(prompt)).logits();
            final float[] actual = engine.logits(request(
                            steer(Operation.ADD, 0, Scope.all(), 0, 1, 2, 3),
                            reweigh(Modality.IMAGE, 1, Scope.all(), 0, 1, 2, 3),
                            new Soften("not at all", 1, new TreeSet<>(List.of(0, 1, 2, 3)), Scope.all())))
                    .logits();
            assertTrue(Arrays.equals(before, actual));
            assertClose(plain, actual, Tolerance.f32(plain));
        }
    }
}
