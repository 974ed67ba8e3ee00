package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.intervention.Heads;
import dev.equipoise.runtime.intervention.Intervention.Operation;
import dev.equipoise.runtime.intervention.Intervention.Place;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Phase;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.steering.Layers;
import dev.equipoise.steering.edit.AttentionEdit;
import dev.equipoise.steering.edit.Edit;
import dev.equipoise.steering.edit.SteeringEdit;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;

/** Edits that do the same have one fingerprint, and those that do not have two. */
class EditFormTest {
    private static final int DEPTH = 5;
    private static final int WIDTH = 6;
    private static final List<Operation> OPERATIONS = List.of(Operation.values());
    private static final SteeringEdit.Source SOURCE = new SteeringEdit.Source("v.gguf", "");

    private static String of(final List<Edit> edits) {
        return strategy(edits).fingerprint(DEPTH);
    }

    private static String of(final Edit... edits) {
        return of(List.of(edits));
    }

    private static Strategy strategy(final List<Edit> edits) {
        return new Strategy("x", Optional.empty(), edits, Optional.empty(), Optional.empty(), Sampling.greedy());
    }

    private static LayerVectors vectors(final Random random, final int layers) {
        final Map<Integer, float[]> made = new HashMap<>();
        for (int layer = 0; layer < layers; layer++) {
            final float[] vector = new float[WIDTH];
            for (int i = 0; i < WIDTH; i++) {
                vector[i] = (float) random.nextGaussian();
            }
            made.put(layer, vector);
        }
        return new LayerVectors(made);
    }

    private static SteeringEdit steer(
            final Operation operation, final LayerVectors vectors, final double amount, final Layers layers) {
        return new SteeringEdit(
                SOURCE,
                operation,
                Place.LAYER,
                vectors,
                operation.isPlanar() ? Optional.of(vectors(new Random(99), DEPTH)) : Optional.empty(),
                amount,
                Optional.ofNullable(layers),
                Scope.all());
    }

    private static Layers blocks(final int first, final int last) {
        return new Layers.Blocks(first, last);
    }

    private static AttentionEdit multiply(final Modality span, final double factor, final Layers layers) {
        return new AttentionEdit.Multiply(span, OptionalInt.empty(), factor, layers, Heads.ALL, Scope.all());
    }

    @Property(tries = 100)
    void layersCountHoweverTheyAreChosen(@ForAll final long seed, @ForAll @IntRange(max = 9) final int kind) {
        final LayerVectors all = vectors(new Random(seed), DEPTH);
        final Operation operation = OPERATIONS.get(kind);
        final String whole = of(steer(operation, all, 0.5, null));
        assertEquals(whole, of(steer(operation, all, 0.5, Layers.all())));
        assertEquals(whole, of(steer(operation, all, 0.5, blocks(0, DEPTH - 1))));
        assertEquals(whole, of(steer(
                operation, all, 0.5, new Layers.Share(BigDecimal.ZERO, BigDecimal.valueOf(100)))));
        assertEquals(
                whole, of(steer(operation, all, 0.5, blocks(0, 1)), steer(operation, all, 0.5, blocks(2, DEPTH - 1))));
        assertNotEquals(whole, of(steer(operation, all, 0.5, blocks(0, 3))));
        // What a file has for other layers is of no consequence.
        assertEquals(
                of(steer(operation, all.only(Set.of(2)), 0.5, null)), of(steer(operation, all, 0.5, blocks(2, 2))));
        // Without a model too, where layers are numbers.
        assertEquals(
                strategy(List.of(steer(operation, all.only(Set.of(2)), 0.5, null))).fingerprint(),
                strategy(List.of(steer(operation, all, 0.5, blocks(2, 2)))).fingerprint());
    }

    @Property(tries = 200)
    void ordersOfWhatDoesNotMeetAreOne(@ForAll final long seed) {
        final Random random = new Random(seed);
        final LayerVectors vectors = vectors(random, DEPTH);
        final List<Edit> edits = new ArrayList<>();
        for (int layer = 0; layer < DEPTH; layer++) {
            edits.add(steer(OPERATIONS.get(random.nextInt(OPERATIONS.size())), vectors, 0.25, blocks(layer, layer)));
        }
        edits.add(multiply(Modality.IMAGE, 2, Layers.all()));
        edits.add(multiply(Modality.CONTEXT, 3, blocks(1, 3)));
        edits.add(new AttentionEdit.Temperature(2, Layers.all(), Heads.ALL, Scope.all()));
        edits.add(new AttentionEdit.Pai(Modality.IMAGE, 0.5, blocks(0, 2), heads(0), Scope.all()));
        edits.add(new AttentionEdit.Pai(Modality.IMAGE, 0.7, blocks(0, 2), heads(1, 2), Scope.all()));
        final List<Edit> shuffled = new ArrayList<>(edits);
        Collections.shuffle(shuffled, random);
        assertEquals(of(edits), of(shuffled));
    }

    @Property(tries = 100)
    void ordersOfWhatMeetsAreTwo(@ForAll final long seed, @ForAll @IntRange(max = 4) final int layer) {
        final Random random = new Random(seed);
        final Edit add = steer(Operation.ADD, vectors(random, DEPTH), 1, Layers.all());
        final Edit ablate = steer(Operation.ABLATE, vectors(random, DEPTH), 0, blocks(layer, layer));
        assertNotEquals(of(add, ablate), of(ablate, add));
        final Edit one = multiply(Modality.IMAGE, 2, blocks(layer, layer));
        final Edit other = multiply(Modality.IMAGE, 3, Layers.all());
        assertNotEquals(of(one, other), of(other, one));
        // The same two on tokens that are never one.
        final SteeringEdit read = within((SteeringEdit) add, Phase.PROMPT);
        final SteeringEdit written = within((SteeringEdit) ablate, Phase.GENERATED);
        assertEquals(of(read, written), of(written, read));
    }

    private static SteeringEdit within(final SteeringEdit edit, final Phase phase) {
        return new SteeringEdit(
                edit.source(),
                edit.operation(),
                edit.place(),
                edit.vectors(),
                edit.second(),
                edit.amount(),
                edit.layers(),
                edit.scope().during(EnumSet.of(phase)));
    }

    private static SteeringEdit scoped(final SteeringEdit edit, final Place place, final Scope scope) {
        return new SteeringEdit(
                edit.source(),
                edit.operation(),
                place,
                edit.vectors(),
                edit.second(),
                edit.amount(),
                edit.layers(),
                scope);
    }

    private static Heads heads(final Integer... numbers) {
        return new Heads(new TreeSet<>(List.of(numbers)));
    }

    /** Powers of two keep every bit of a product, other factors do where they are written as the engine holds them. */
    @Property(tries = 100)
    void scaleAndVectorAreOne(@ForAll final long seed, @ForAll @IntRange(min = -6, max = 6) final int exponent) {
        final LayerVectors vectors = vectors(new Random(seed), DEPTH);
        final double factor = Math.scalb(1, exponent);
        for (final Operation operation : List.of(Operation.ADD, Operation.ADD_NORM_PRESERVING)) {
            assertEquals(
                    of(steer(operation, vectors, 3 * factor, null)),
                    of(steer(operation, vectors.scaled(factor), 3, null)));
            assertEquals(
                    of(steer(operation, vectors, -3, null)), of(steer(operation, vectors.negated(), 3, null)));
            assertNotEquals(
                    of(steer(operation, vectors, 3, null)), of(steer(operation, vectors.negated(), 3, null)));
        }
        for (final Operation operation : List.of(Operation.TURN, Operation.CLAMP, Operation.ABLATE)) {
            // They know a direction, not its length.
            assertEquals(
                    of(steer(operation, vectors, 3, null)),
                    of(steer(operation, vectors.scaled(factor), 3, null)));
            assertEquals(
                    of(steer(operation, vectors, 3, null)), of(steer(operation, vectors.negated(), -3, null)));
        }
        assertNotEquals(
                of(steer(Operation.TURN_AWARE, vectors, 3, null)),
                of(steer(Operation.TURN_AWARE, vectors.negated(), -3, null)));
        final SteeringEdit rotate = steer(Operation.ROTATE, vectors, 0.5, null);
        assertEquals(
                of(rotate),
                of(rotate.along(SOURCE, vectors, rotate.second().map(LayerVectors::negated)).withAmount(-0.5)));
    }

    @Test
    void whatDiffersHasAFingerprintOfItsOwn() {
        final LayerVectors vectors = vectors(new Random(5), DEPTH);
        final List<Edit> different = new ArrayList<>();
        for (final Operation operation : OPERATIONS) {
            different.add(steer(operation, vectors, 0.5, null));
            different.add(steer(operation, vectors(new Random(6), DEPTH), 0.5, null));
            different.add(within(steer(operation, vectors, 0.5, null), Phase.PROMPT));
            if (operation != Operation.ABLATE) {
                different.add(steer(operation, vectors, 0.75, null));
            }
        }
        for (final Scope scope : List.of(
                Scope.all().during(EnumSet.of(Phase.GENERATED)),
                Scope.all().within(Reach.LAST),
                Scope.all().within(Reach.AFTER_MEDIA),
                Scope.all().within(Reach.AFTER_INSTRUCTION),
                Scope.all().of(EnumSet.of(Modality.IMAGE)),
                Scope.all().ofMedium(0),
                Scope.all().ofMedium(1),
                Scope.all().at(new Scope.Positions(0, 3)),
                Scope.all().at(new Scope.Positions(0, 4)))) {
            different.add(scoped(steer(Operation.ADD, vectors, 0.5, null), Place.LAYER, scope));
            different.add(new AttentionEdit.Temperature(3, Layers.all(), Heads.ALL, scope));
        }
        for (final Place place : Place.values()) {
            final LayerVectors one = vectors.only(Set.of(1));
            different.add(scoped(steer(Operation.ADD, one, 0.5, null), place, Scope.all()));
        }
        different.add(multiply(Modality.IMAGE, 2, Layers.all()));
        different.add(multiply(Modality.IMAGE, 3, Layers.all()));
        different.add(multiply(Modality.AUDIO, 2, Layers.all()));
        different.add(multiply(Modality.IMAGE, 2, new Layers.AllButLast()));
        different.add(new AttentionEdit.Mask(
                Modality.IMAGE, OptionalInt.empty(), EnumSet.of(Modality.TEXT), Layers.all()));
        different.add(new AttentionEdit.Temperature(2, Layers.all(), Heads.ALL, Scope.all()));
        different.add(new AttentionEdit.Temperature(2, Layers.all(), heads(0), Scope.all()));
        different.add(new AttentionEdit.Vaf(Modality.IMAGE, 1.1, 0.9, Layers.all(), Heads.ALL, Scope.all()));
        different.add(new AttentionEdit.Vaf(Modality.IMAGE, 1.1, 1, Layers.all(), Heads.ALL, Scope.all()));
        different.add(new AttentionEdit.Reallocate(
                Modality.AUDIO, Modality.IMAGE, 0.5, 0.5, Layers.all(), Heads.ALL, Scope.all()));
        for (final int every : new int[] {1, 2}) {
            for (final double gamma : new double[] {0, 3}) {
                different.add(new AttentionEdit.OutRo(100, 1000, gamma, 0.1, OptionalInt.of(every), Layers.all()));
                different.add(new AttentionEdit.OutRo(90, 1000, gamma, 0.1, OptionalInt.of(every), Layers.all()));
                different.add(new AttentionEdit.OutRo(100, 900, gamma, 0.1, OptionalInt.of(every), Layers.all()));
                different.add(new AttentionEdit.OutRo(
                        100, 1000, gamma, 0.1, OptionalInt.of(every), Layers.allButLastTwo()));
            }
            different.add(new AttentionEdit.OutRo(100, 1000, 3, 0.2, OptionalInt.of(every), Layers.all()));
        }
        final Set<String> fingerprints = new HashSet<>();
        different.forEach(edit -> fingerprints.add(of(edit)));
        assertEquals(different.size(), fingerprints.size());
        // A vector of zeros adds nothing.
        final LayerVectors zeros = new LayerVectors(Map.of(0, new float[WIDTH]));
        assertEquals(of(), of(steer(Operation.ADD, zeros, 3, null)));
        assertEquals(Strategy.plain().fingerprint(), of());
    }
}
