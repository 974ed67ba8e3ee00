package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.steering.edit.SteeringEdit;
import dev.equipoise.steering.vector.ControlVectorFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class ControlsTest {
    @TempDir
    private Path folder;

    private Path file;

    @BeforeEach
    void write() throws IOException {
        final LayerVectors vectors =
                new LayerVectors(Map.of(1, new float[] {3, 4, 0, 0}, 2, new float[] {0, 0, 1, 0}));
        new ControlVectorFile("llama", vectors).write(folder.resolve("v.gguf"));
        file = Files.writeString(folder.resolve("mine.json"), """
                {"steer": [{"vector": "v.gguf", "scale": 2}, {"vector": "v.gguf", "op": "ablate"}],
                 "attention": [{"edit": "multiply", "span": "image", "factor": 2}],
                 "contrast": {"branches": {"steered": {"steer": [{"vector": "v.gguf", "scale": 3}]}},
                              "coefficients": {"base": 2, "steered": -1}}}""");
    }

    private static LayerVectors vectors(final Strategy strategy) {
        return ((SteeringEdit) strategy.edits().getFirst()).vectors();
    }

    @Test
    void randomVectorsAreAsLongAsThoseInTheirPlace() {
        final Strategy mine = Strategies.find(file.toString());
        final Strategy random = Strategies.find("random-vector:7:" + file);
        assertEquals("random-vector:7:mine", random.name());
        for (final int layer : new int[] {1, 2}) {
            // Four floats of size at most 5, each rounded once.
            assertEquals(vectors(mine).norm(layer), vectors(random).norm(layer), 1e-6);
            assertFalse(Arrays.equals(vectors(mine).at(layer), vectors(random).at(layer)));
        }
        assertArrayEquals(
                vectors(random).at(1), vectors(Strategies.find("random-vector:7:" + file)).at(1));
        assertNotEquals(mine.fingerprint(), random.fingerprint());
        assertNotEquals(random.fingerprint(), Strategies.find("random-vector:8:" + file).fingerprint());
        final LinearContrast contrast = (LinearContrast) random.contrast().orElseThrow();
        final SteeringEdit inside =
                (SteeringEdit) contrast.branches().get("steered").edits().getFirst();
        assertArrayEquals(vectors(random).at(2), inside.vectors().at(2));
        // Its file says how the vector was made, and makes it again.
        final Strategy again = Strategies.parse(random.toJson(), "again");
        assertEquals(random.fingerprint(), again.fingerprint());
        assertTrue(random.toJson().contains("random:7:"), random.toJson());
    }

    @Test
    void zeroScaleLeavesNothingThatActs() {
        final Strategy zero = Strategies.find("zero-scale:" + file);
        assertTrue(zero.resolved().edits().isEmpty());
        assertEquals(Strategy.plain().fingerprint(), zero.fingerprint());
        assertEquals(zero.fingerprint(), Strategies.parse(zero.toJson(), "again").fingerprint());
    }

    static List<String> names() {
        return Strategies.names();
    }

    @ParameterizedTest
    @MethodSource("names")
    void aControlOfAPresetCanBeWrittenAndRead(final String name) {
        final List<String> controls = List.of("zero-scale:" + name, "random-vector:1:" + name);
        final List<String> refused = new ArrayList<>(name.equals("vista") ? List.of() : List.of(controls.get(1)));
        if (List.of("greedy", "plausibility-only", "zero-scale").contains(name)) {
            refused.add(controls.getFirst());
        }
        for (final String control : controls) {
            assertTrue(Strategies.isMade(control));
            if (refused.contains(control)) {
                final BadInputException none = assertThrows(BadInputException.class, () -> Strategies.find(control));
                assertFalse(none.remedy().isEmpty());
            } else {
                final Strategy made = Strategies.find(control);
                assertEquals(made.fingerprint(), Strategies.parse(made.toJson(), "again").fingerprint());
                assertTrue(Strategies.isMade(made.name()));
            }
        }
    }
}
