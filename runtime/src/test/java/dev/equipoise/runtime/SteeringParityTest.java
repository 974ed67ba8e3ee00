package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.Operation;
import dev.equipoise.runtime.intervention.Intervention.Steer;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.oracle.InterventionOracle;
import dev.equipoise.runtime.oracle.InterventionOracle.Act;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.IntPredicate;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Steering of hidden states against the same formulas in the plain Java forward pass. */
class SteeringParityTest extends InterventionRig {
    @ParameterizedTest
    @EnumSource(Operation.class)
    void everySteeringOperation(final Operation operation) {
        for (final int microBatch : new int[] {512, 5, 1}) {
            assertParity(
                    EXACT.withMicroBatch(microBatch).withMaxBranches(1),
                    new Act(steer(operation, 0.7, Scope.all(), 0, 1, 2, 3), EVERYWHERE));
        }
    }

    static Stream<Act> placesInABlock() {
        return Arrays.stream(Intervention.Place.values())
                .filter(place -> place != Intervention.Place.EMBEDDING)
                .flatMap(place -> Stream.of(Operation.ADD, Operation.ABLATE, Operation.TURN_AWARE, Operation.ROTATE)
                        .map(operation -> {
                            final Steer at = steer(operation, 0.7, Scope.all(), 0, 1, 2, 3);
                            return new Act(
                                    new Steer(
                                            place + " " + operation, operation, place, at.vectors(), at.second(),
                                            at.amount(), at.scope()),
                                    EVERYWHERE);
                        }));
    }

    @ParameterizedTest
    @MethodSource("placesInABlock")
    void everyPlaceInABlock(final Act act) {
        assertParity(EXACT, act);
        assertParity(EXACT.withMicroBatch(5).withMaxBranches(1), act);
    }

    private static Steer entering(final Operation operation, final Scope scope) {
        final Steer at = steer(operation, 0.7, scope, 0);
        return new Steer(
                "embedding " + operation, operation, Intervention.Place.EMBEDDING, at.vectors(), at.second(),
                at.amount(), scope);
    }

    @ParameterizedTest
    @EnumSource(Operation.class)
    void whatEntersTheFirstBlock(final Operation operation) {
        assertParity(EXACT, new Act(entering(operation, Scope.all()), EVERYWHERE));
        assertParity(
                EXACT.withMicroBatch(5).withMaxBranches(1),
                new Act(
                        entering(operation, Scope.all().of(EnumSet.of(Modality.IMAGE, Modality.CONTEXT))),
                        in(Modality.IMAGE, Modality.CONTEXT)));
    }

    /** Directional ablation (arXiv 2406.11717): one direction, at every writer of the residual. */
    @Test
    void ablationAtEveryWriter() {
        final LayerVectors one = vectors(11, 0);
        final Map<Integer, float[]> same = new HashMap<>();
        ALL_LAYERS.forEach(layer -> same.put(layer, one.at(0)));
        final List<Act> acts = new ArrayList<>();
        acts.add(new Act(entering(Operation.ABLATE, Scope.all()), EVERYWHERE));
        for (final Intervention.Place place : List.of(Intervention.Place.ATTENTION, Intervention.Place.MLP)) {
            acts.add(new Act(
                    new Steer("ablate " + place, Operation.ABLATE, place, new LayerVectors(same), Optional.empty(), 0,
                            Scope.all()),
                    EVERYWHERE));
        }
        assertParity(EXACT, acts.toArray(new Act[0]));
        // Nothing writes along it any more, so that taking it out of the blocks' outputs too changes next to nothing.
        final double[] row = oracle.run(inputs, new InterventionOracle(acts.toArray(new Act[0]))).last();
        acts.add(new Act(
                new Steer("ablate", Operation.ABLATE, new LayerVectors(same), Optional.empty(), 0, Scope.all()),
                EVERYWHERE));
        final double[] again = oracle.run(inputs, new InterventionOracle(acts.toArray(new Act[0]))).last();
        for (int i = 0; i < row.length; i++) {
            assertEquals(row[i], again[i], 1e-9);
        }
    }

    @Test
    void embeddingsEnterOneBlock() {
        assertThrows(BadInputException.class, () -> new Steer(
                "x", Operation.ADD, Intervention.Place.EMBEDDING, vectors(11, 1), Optional.empty(), 1, Scope.all()));
    }

    static Stream<Act> scopes() {
        final IntPredicate text = in(Modality.TEXT);
        return Stream.of(
                new Act(steer(Operation.ADD, 1, Scope.all().of(EnumSet.of(Modality.TEXT)), 0, 2), text),
                new Act(
                        steer(Operation.ADD, -2, Scope.all().of(EnumSet.of(Modality.CONTEXT, Modality.IMAGE)), 1),
                        in(Modality.CONTEXT, Modality.IMAGE)),
                new Act(steer(Operation.ADD, 1, Scope.all().within(Reach.LAST), 3), t -> t == last()),
                new Act(steer(Operation.ADD, 1, Scope.all().within(Reach.AFTER_INSTRUCTION), 2), t -> t >= last()),
                new Act(
                        steer(Operation.ADD, 1, Scope.all().within(Reach.AFTER_MEDIA), 1),
                        t -> t > spans.get(spans.size() - 2).start() + spans.get(spans.size() - 2).length() - 1),
                new Act(steer(Operation.ADD, 2, Scope.all().ofMedium(1), 0), in(Modality.AUDIO)),
                new Act(
                        steer(Operation.ADD, 2, Scope.all().at(new Scope.Positions(2, 6)), 0, 1),
                        t -> t >= 2 && t <= 6));
    }

    @ParameterizedTest
    @MethodSource("scopes")
    void everyScope(final Act act) {
        assertParity(EXACT, act);
        assertParity(EXACT.withMicroBatch(4).withMaxBranches(1), act);
    }
}
