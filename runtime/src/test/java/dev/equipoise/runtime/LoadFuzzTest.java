package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.EquipoiseException;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.gguf.GgufModelCheck;
import dev.equipoise.runtime.gguf.GgufMutator;
import dev.equipoise.runtime.gguf.TextModel;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Loads damaged model files for real. Whatever the reader and the checks let through is tried in a child process, and
 * what that survives is loaded and run here: every mutant ends in a typed error or an answer, and this JVM lives.
 */
class LoadFuzzTest {
    private static final int MUTANTS = 2000;
    private static final EngineOptions SMALL =
            EngineOptions.defaults().withContext(128).withThreads(1).withMaxBranches(1).withMicroBatch(64);

    @TempDir
    static Path directory;

    private static Path text;
    private static Path mmproj;
    private static Image picture;
    private static Audio sound;

    @BeforeAll
    static void writeModels() {
        text = TinyModels.llama(directory.resolve("text.gguf"), 1, 1, 32, 2, 1, 32, 300);
        mmproj = TinyModels.mmproj(directory.resolve("mmproj.gguf"), 2, 32);
        picture = Image.rgb(8, 8, new byte[3 * 8 * 8]);
        sound = Audio.pcm(new float[1600]);
    }

    @Test
    void damagedTextModels() {
        final GgufMutator mutator = new GgufMutator(text, 41);
        final Path mutant = directory.resolve("mutant.gguf");
        int run = 0;
        for (int i = 0; i < MUTANTS; i++) {
            final String what = mutator.mutate(mutant);
            if (passesTheChecks(mutant, null)) {
                run += runs(mutant, ModelOptions.defaults().withThreads(1), Prompt.builder().text("a b").build(), what);
            }
        }
        assertTrue(run > 0, "no mutant was loaded: the fuzz does not reach llama.cpp");
    }

    @Test
    void damagedEncoders() {
        final GgufMutator mutator = new GgufMutator(mmproj, 42);
        final Path mutant = directory.resolve("mutant-mmproj.gguf");
        final TextModel shape = GgufModelCheck.text(GgufFile.read(text));
        int run = 0;
        for (int i = 0; i < MUTANTS; i++) {
            final String what = mutator.mutate(mutant);
            if (passesTheChecks(mutant, shape)) {
                run += runs(
                        text,
                        ModelOptions.defaults().withThreads(1).withMmproj(mutant),
                        Prompt.builder().image(picture).audio(sound).text("a b").build(),
                        what);
            }
        }
        assertTrue(run > 0, "no mutant was loaded: the fuzz does not reach libmtmd");
    }

    // A null shape: the file is a text model itself.
    private static boolean passesTheChecks(final Path file, final TextModel shape) {
        try {
            final GgufFile header = GgufFile.read(file);
            if (shape == null) {
                GgufModelCheck.text(header);
            } else {
                GgufModelCheck.mmproj(header, shape);
            }
            return true;
        } catch (final EquipoiseException refused) {
            return false;
        }
    }

    // 1 if an answer came out, 0 for a typed error; anything else escapes and fails the test.
    private static int runs(final Path file, final ModelOptions options, final Prompt prompt, final String what) {
        try (Model model = Model.load(file, options);
                Engine engine = Engine.open(model, SMALL)) {
            final Request plain = Request.plain(prompt);
            engine.run(new Request(
                    plain.branches(),
                    plain.combination(),
                    plain.sampling(),
                    new Limits(2, List.of()),
                    0,
                    plain.strategy()));
            return 1;
        } catch (final EquipoiseException refused) {
            return 0;
        } catch (final RuntimeException | Error e) {
            throw new AssertionError("mutant: " + what, e);
        }
    }
}
