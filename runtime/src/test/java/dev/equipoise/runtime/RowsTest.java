package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.LlamaOracle.Input;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Rows of several prompts, read together and left apart. */
class RowsTest {
    private static final List<Prompt> PROMPTS = List.of(
            Prompt.builder().context("the square is green").text("which colour").build(),
            Prompt.builder().context("the square is blue").text("which colour has it").build(),
            Prompt.builder().text("which").build());

    @TempDir
    static Path directory;

    @Test
    void eachPromptHasItsOwnRowInOneBatch() {
        final Path file = TinyModels.llama(directory.resolve("tiny.gguf"), 23);
        final LlamaOracle oracle = LlamaOracle.of(GgufFile.read(file));
        final EngineOptions options = Tolerance.exact(512);
        try (Model model = Model.load(file, ModelOptions.defaults().withThreads(1));
                Engine engine = Engine.open(model, options)) {
            final Request apart = Request.apart(
                    PROMPTS.stream().map(prompt -> new Branch("one", prompt)).toList());
            final long before = engine.nativeCalls();
            final List<NextLogits> rows = engine.rows(apart);
            // One decode of what all share and what they do not; three removals.
            assertEquals(1 + 3, engine.nativeCalls() - before);
            assertEquals(PROMPTS.size(), rows.size());
            for (int i = 0; i < rows.size(); i++) {
                final NextLogits alone = engine.logits(Request.plain(PROMPTS.get(i)));
                assertArrayEquals(alone.promptTokens(), rows.get(i).promptTokens());
                assertEquals(alone.spans(), rows.get(i).spans());
                final double[] expected = oracle.run(Input.tokens(alone.promptTokens())).last();
                for (int token = 0; token < expected.length; token++) {
                    final double difference = Math.abs(expected[token] - rows.get(i).logits()[token]);
                    assertTrue(difference <= Tolerance.f32(expected), i + ", token " + token + ": " + difference);
                }
            }
            assertEquals(new Engine.Room(512, 512, 8, 8), engine.room(), "all is given back");
        }
    }
}
