package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.steering.vector.ControlVectorFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Edits that conflict are refused when a plan is made; what acts in order is not. */
class ConflictsTest {
    private static final int DEPTH = 6;
    private static final Prompt PROMPT = Prompt.builder()
            .system("look")
            .context("it is red")
            .image(Image.rgb(1, 1, new byte[3]))
            .text("which colour?")
            .build();

    @TempDir
    static Path folder;

    @BeforeAll
    static void writeVectors() {
        write("v.gguf", new float[] {1, 2, 0, 0});
        write("longer.gguf", new float[] {3, 6, 0, 0});
        write("against.gguf", new float[] {-1, -2, 0, 0});
        write("w.gguf", new float[] {2, 1, 0, 0});
        write("apart.gguf", new float[] {0, 0, 1, 1});
    }

    private static void write(final String name, final float[] vector) {
        new ControlVectorFile("llama", new LayerVectors(Map.of(0, vector, 1, vector, 2, vector)))
                .write(folder.resolve(name));
    }

    private static void lower(final String json) {
        final Path file = folder.resolve("strategy.json");
        try {
            Files.writeString(file, json);
        } catch (final IOException e) {
            throw new AssertionError(e);
        }
        Lowering.lower(Strategies.read(file), PROMPT, 1, DEPTH);
    }

    private static BadInputException refused(final String json) {
        final BadInputException error = assertThrows(BadInputException.class, () -> lower(json), json);
        assertTrue(error.what().startsWith("edits that conflict: "), error.getMessage());
        return error;
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{'op': 'clamp', 'target': 1}, {'op': 'ablate'}",
        "{'op': 'ablate'}, {'op': 'clamp', 'target': 1}",
        "{'op': 'clamp', 'target': 1}, {'op': 'clamp', 'target': 2, 'layers': '2'}",
        "{'op': 'clamp', 'target': 1}, {'vector': 'against.gguf', 'op': 'clamp', 'target': 1}",
        "{'op': 'clamp', 'target': 1}, {'op': 'clamp', 'target': 2, 'scope': {'last': true}}",
        "{'op': 'add'}, {'vector': 'longer.gguf', 'op': 'ablate'}",
        "{'op': 'rotate', 'angle': 10, 'second': 'w.gguf'}, {'op': 'rotate', 'angle': 20, 'second': 'w.gguf'}",
        "{'op': 'rotate', 'angle': 10, 'second': 'w.gguf'},"
            + " {'vector': 'w.gguf', 'op': 'rotate-toward', 'angle': 10, 'second': 'v.gguf'}",
        "{'op': 'rotate', 'angle': 10, 'second': 'w.gguf'}, {'vector': 'w.gguf', 'op': 'clamp', 'target': 1}",
        "{'op': 'ablate', 'at': 'mlp'}, {'op': 'rotate', 'angle': 10, 'second': 'w.gguf', 'at': 'mlp'}",
    })
    void steeringThatUndoesSteering(final String pair) {
        refused(steer(pair));
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{'op': 'ablate'}, {'op': 'add'}",
        "{'op': 'clamp', 'target': 1}, {'op': 'add', 'scale': 2}",
        "{'op': 'ablate'}, {'vector': 'longer.gguf', 'op': 'ablate'}",
        "{'op': 'clamp', 'target': 1}, {'vector': 'against.gguf', 'op': 'clamp', 'target': -1}",
        "{'op': 'clamp', 'target': 0}, {'op': 'ablate'}",
        "{'op': 'clamp', 'target': 1}, {'vector': 'w.gguf', 'op': 'clamp', 'target': 2}",
        "{'op': 'clamp', 'target': 1, 'layers': '0-1'}, {'op': 'ablate', 'layers': '2'}",
        "{'op': 'clamp', 'target': 1}, {'op': 'ablate', 'at': 'mlp'}",
        "{'op': 'clamp', 'target': 1, 'scope': {'phase': 'prompt'}}, {'op': 'ablate', 'scope': {'phase': 'generated'}}",
        "{'op': 'clamp', 'target': 1, 'scope': {'media': 0}}, {'op': 'ablate', 'scope': {'last': true}}",
        "{'op': 'clamp', 'target': 1, 'scope': {'positions': '0-3'}}, {'op': 'ablate', 'scope': {'positions': '4-9'}}",
        "{'op': 'add'}, {'op': 'ablate', 'scope': {'modality': 'text'}}",
        "{'op': 'add-norm-preserving'}, {'op': 'ablate'}",
        "{'op': 'rotate', 'angle': 10, 'second': 'w.gguf'}, {'vector': 'apart.gguf', 'op': 'clamp', 'target': 1}",
        "{'op': 'rotate-toward', 'angle': 10, 'second': 'w.gguf'},"
            + " {'vector': 'against.gguf', 'op': 'rotate-toward', 'angle': 20, 'second': 'w.gguf'}",
        "{'op': 'clamp', 'target': 1, 'when': {'vector': 'w.gguf', 'layer': 0, 'above': 0.1}},"
            + " {'op': 'clamp', 'target': 2, 'when': {'vector': 'w.gguf', 'layer': 0, 'below': 0.1}}",
    })
    void steeringInOrder(final String pair) {
        assertDoesNotThrow(() -> lower(steer(pair)), pair);
    }

    // Along v where nothing else is said.
    private static String steer(final String pair) {
        return "{\"steer\": ["
                + pair.replace("{'op'", "{'vector': 'v.gguf', 'op'").replace('\'', '"')
                + "]}";
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{'edit': 'mask', 'span': 'image'}, {'edit': 'multiply', 'span': 'image', 'factor': 3}",
        "{'edit': 'multiply', 'span': 'image', 'factor': 3, 'queries': 'last'}, {'edit': 'mask', 'span': 'image'}",
        "{'edit': 'mask', 'span': 'image', 'layers': '0-3'}, {'edit': 'pai', 'span': 'image', 'alpha': 1}",
        "{'edit': 'mask', 'span': 'image'}, {'edit': 'vaf', 'span': 'image'}",
        "{'edit': 'mask', 'span': 'image'}, {'edit': 'var', 'span': 'image', 'sinkDimensions': '1'}",
        "{'edit': 'mask', 'span': 'image'},"
            + " {'edit': 'reallocate', 'from': 'context', 'to': 'image', 'threshold': 0.5, 'fraction': 0.5}",
        "{'edit': 'multiply', 'span': 'context', 'factor': 0, 'heads': '0,1'},"
            + " {'edit': 'multiply', 'span': 'context', 'factor': 2, 'heads': '1'}",
    })
    void attentionToWhatIsHidden(final String pair) {
        refused("{\"attention\": [" + pair.replace('\'', '"') + "]}");
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{'edit': 'mask', 'span': 'image'}, {'edit': 'mask', 'span': 'image', 'from': 'text', 'layers': '2'}",
        "{'edit': 'mask', 'span': 'image'}, {'edit': 'multiply', 'span': 'context', 'factor': 3}",
        "{'edit': 'mask', 'span': 'image', 'layers': '0-2'},"
            + " {'edit': 'multiply', 'span': 'image', 'factor': 3, 'layers': '3-5'}",
        "{'edit': 'multiply', 'span': 'context', 'factor': 0, 'heads': '0'},"
            + " {'edit': 'multiply', 'span': 'context', 'factor': 2, 'heads': '1'}",
        "{'edit': 'mask', 'span': 'image', 'media': 0}, {'edit': 'multiply', 'span': 'image', 'media': 1, 'factor': 3}",
        "{'edit': 'mask', 'span': 'image', 'from': 'context'},"
            + " {'edit': 'multiply', 'span': 'image', 'factor': 3, 'queries': 'generated'}",
        "{'edit': 'mask', 'span': 'image'}, {'edit': 'temperature', 'tau': 2}",
        "{'edit': 'multiply', 'span': 'image', 'factor': 2}, {'edit': 'multiply', 'span': 'image', 'factor': 3}",
        "{'edit': 'pai', 'span': 'image', 'alpha': 1}, {'edit': 'vaf', 'span': 'image'}",
    })
    void attentionInOrder(final String pair) {
        assertDoesNotThrow(() -> lower("{\"attention\": [" + pair.replace('\'', '"') + "]}"), pair);
    }

    @Test
    void twoExits() {
        final BadInputException error = refused("""
                {"exits": [{"method": "average", "layers": "2-4", "weight": 0.3},
                           {"method": "contrast", "layers": "0-3"}]}""");
        assertTrue(error.remedy().contains("keep one"), error.remedy());
        assertTrue(error.where().contains("exits:average and exits:contrast"), error.where());
    }

    /** A branch is there to differ: what it does to itself comes last. */
    @Test
    void aBranchMayUndoWhatActsEverywhere() {
        final String branch = """
                {"steer": [{"vector": "v.gguf", "op": "clamp", "target": 1}],
                 "attention": [{"edit": "multiply", "span": "image", "factor": 2}],
                 "contrast": {"branches": {"other": {%s}}, "coefficients": {"base": 2, "other": -1}}}""";
        assertDoesNotThrow(() -> lower(branch.formatted("""
                "steer": [{"vector": "v.gguf", "op": "ablate"}],
                "attention": [{"edit": "mask", "span": "image"}]""")));
        final BadInputException error = refused(branch.formatted("""
                "attention": [{"edit": "mask", "span": "image"},
                              {"edit": "multiply", "span": "image", "factor": 2}]"""));
        assertTrue(error.where().contains("branch other"), error.where());
    }

    @Test
    void forkMergeToo() {
        refused("""
                {"forkMerge": {"silence": ["image", "context"], "layer": 2},
                 "exits": [{"method": "average", "layers": "2-4", "weight": 0.3},
                           {"method": "average", "layers": "0-3", "weight": 0.1}]}""");
    }
}
