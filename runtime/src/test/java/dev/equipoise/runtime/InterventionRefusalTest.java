package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.Operation;
import dev.equipoise.runtime.intervention.Intervention.Reweigh;
import dev.equipoise.runtime.intervention.Intervention.Steer;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Merge;
import dev.equipoise.runtime.intervention.Phase;
import dev.equipoise.runtime.intervention.Scope;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeSet;
import org.junit.jupiter.api.Test;

/** What cannot act as it is asked to is refused before anything is decoded. */
class InterventionRefusalTest extends InterventionRig {
    private static Scope beyond(final int tokens) {
        return Scope.all().at(new Scope.Positions(inputs.size() + tokens, inputs.size() + tokens));
    }

    @Test
    void whatCannotBeDoneIsRefusedBeforeAnythingIsDecoded() {
        final Scope text = Scope.all().of(EnumSet.of(Modality.TEXT));
        final LayerVectors narrow = new LayerVectors(Map.of(0, new float[] {1, 2, 3}));
        final LayerVectors zero = new LayerVectors(Map.of(0, new float[WIDTH]));
        final Span note = spans.stream()
                .filter(span -> span.modality() == Modality.CONTEXT)
                .findFirst()
                .orElseThrow();
        final Scope.Positions noted = new Scope.Positions(note.start(), note.start() + note.length() - 1);
        final List<Intervention> refused = List.of(
                steer(Operation.ADD, 1, Scope.all(), LAYERS),
                new Steer("narrow", Operation.ADD, narrow, Optional.empty(), 1, Scope.all()),
                new Steer("zero", Operation.ABLATE, zero, Optional.empty(), 1, Scope.all()),
                steer(Operation.ADD, 1, Scope.all().ofMedium(2), 0),
                // Would be NaN in the cache that others attend to.
                steer(Operation.ADD, 3e38, Scope.all(), 0),
                reweigh(Modality.TEXT, 0, text, 0),
                // Neither the prompt's tokens nor the first that is generated, but later ones.
                reweigh(Modality.TEXT, 0, beyond(3), 0),
                // Generated tokens stand behind the prompt's, and those here are no pictures.
                steer(Operation.ADD, 1, Scope.all().of(EnumSet.of(Modality.IMAGE, Modality.TEXT)).at(noted), 0),
                new Reweigh(
                        "no such medium",
                        EnumSet.of(Modality.IMAGE),
                        OptionalInt.of(1),
                        2,
                        new TreeSet<>(List.of(0)),
                        Scope.all()));
        try (Engine engine = Engine.open(model, EXACT)) {
            for (final Intervention one : refused) {
                final BadInputException error =
                        assertThrows(BadInputException.class, () -> engine.submit(request(one)), one.name());
                assertNotEquals("", error.getMessage());
            }
            final List<Branch> two = List.of(new Branch("a", prompt), new Branch("b", prompt));
            final Request late = request(Optional.of(new Merge(LAYERS - 1, Map.of())), two);
            assertThrows(BadInputException.class, () -> engine.submit(late));
            final Request apart = request(
                    Optional.of(new Merge(1, Map.of())),
                    List.of(new Branch("a", prompt), new Branch("b", prompt.without(Modality.AUDIO))));
            assertThrows(BadInputException.class, () -> engine.submit(apart));
            assertTrue(!engine.step());
        }
    }

    private static Request limited(final int tokens, final Scope scope) {
        return new Request(
                List.of(new Branch("base", prompt, List.of(steer(Operation.ADD, 1, scope, 0)))),
                Optional.empty(),
                Sampling.greedy(),
                new Limits(tokens, List.of()),
                0,
                StrategyLabel.PLAIN);
    }

    /** Of the generated tokens all but the last are read; what stands behind them is never there. */
    @Test
    void aSelectionBehindTheLastTokenIsRefused() {
        final Scope generated = Scope.all().during(EnumSet.of(Phase.GENERATED));
        final Scope far = Scope.all().at(new Scope.Positions(500_000, Integer.MAX_VALUE));
        try (Engine engine = Engine.open(model, EXACT)) {
            for (final Request refused : List.of(
                    limited(1, generated), limited(3, beyond(2)), limited(6, far), limited(1, beyond(0)))) {
                final BadInputException error =
                        assertThrows(BadInputException.class, () -> engine.submit(refused), refused.toString());
                assertEquals("an intervention that acts on no token", error.what());
                assertTrue(error.where().contains("prompt tokens 0-" + (inputs.size() - 1)), error.where());
                assertTrue(error.remedy().contains("more tokens"), error.remedy());
            }
            for (final Request request : List.of(limited(2, generated), limited(4, beyond(2)), limited(2, beyond(0)))) {
                final Answer answer = engine.run(request);
                // An answer may end before.
                assertTrue(answer.finish() == FinishReason.STOP || answer.trace().getFirst().tokens() == 1);
            }
        }
    }

    /** Labels are few: a medium that would share one with another cannot be told from it. */
    @Test
    void mediaThatCannotBeToldApartAreRefused() {
        final Prompt.Builder many = Prompt.builder();
        for (int i = 0; i < 57; i++) {
            many.image(Image.rgb(32, 32, new byte[3 * 32 * 32]));
        }
        final Prompt pictures = many.text("which of them").build();
        try (Engine engine = Engine.open(model, EXACT)) {
            for (final int medium : new int[] {54, 55, 56}) {
                final Reweigh one = new Reweigh(
                        "look",
                        EnumSet.of(Modality.IMAGE),
                        OptionalInt.of(medium),
                        2,
                        new TreeSet<>(List.of(0)),
                        Scope.all());
                final Request request =
                        request(Optional.empty(), List.of(new Branch("base", pictures, List.of(one))));
                if (medium < 55) {
                    engine.describe(request);
                } else {
                    assertThrows(BadInputException.class, () -> engine.describe(request), "medium " + medium);
                }
            }
        }
    }
}
