package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.EquipoiseException;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.gguf.GgufModelCheck;
import dev.equipoise.runtime.gguf.GgufMutator;
import dev.equipoise.runtime.gguf.TextModel;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Loads damaged model files for real. Whatever the reader and the checks let through is tried in a child process, and
 * what that survives is loaded and run here: every mutant ends in a typed error or an answer, and this JVM lives.
 */
class LoadFuzzTest {
    private static final int MUTANTS = 2000;

    /** What became of a mutant: refused by the header's checks, refused by what came after them, or run. */
    private enum End {
        REFUSED,
        REFUSED_LATER,
        ANSWERED
    }

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
        final Map<End, Integer> ends = new EnumMap<>(End.class);
        for (int i = 0; i < MUTANTS; i++) {
            final String what = mutator.mutate(mutant);
            ends.merge(
                    passesTheChecks(mutant, null)
                            ? run(mutant, ModelOptions.defaults().withThreads(1), Prompt.builder().text("a b"), what)
                            : End.REFUSED,
                    1,
                    Integer::sum);
        }
        assertReached(ends);
    }

    @Test
    void damagedEncoders() {
        final GgufMutator mutator = new GgufMutator(mmproj, 42);
        final Path mutant = directory.resolve("mutant-mmproj.gguf");
        final TextModel shape = GgufModelCheck.text(GgufFile.read(text));
        final Map<End, Integer> ends = new EnumMap<>(End.class);
        for (int i = 0; i < MUTANTS; i++) {
            final String what = mutator.mutate(mutant);
            ends.merge(
                    passesTheChecks(mutant, shape)
                            ? run(
                                    text,
                                    ModelOptions.defaults().withThreads(1).withMmproj(mutant),
                                    Prompt.builder().image(picture).audio(sound).text("a b"),
                                    what)
                            : End.REFUSED,
                    1,
                    Integer::sum);
        }
        assertReached(ends);
    }

    // Every mutant has an end, and each end that a mutant may have is there in numbers: a reader that refuses all, or
    // checks that let all through, would leave nothing to look at. The mutants are the same in every run.
    private static void assertReached(final Map<End, Integer> ends) {
        assertEquals(MUTANTS, ends.values().stream().mapToInt(count -> count).sum(), ends.toString());
        assertTrue(ends.getOrDefault(End.REFUSED, 0) >= MUTANTS / 10, ends.toString());
        assertTrue(ends.getOrDefault(End.REFUSED_LATER, 0) >= 1, ends.toString());
        assertTrue(ends.getOrDefault(End.ANSWERED, 0) >= MUTANTS / 10, ends.toString());
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

    // Anything but an answer or a typed error escapes and fails the test.
    private static End run(
            final Path file, final ModelOptions options, final Prompt.Builder prompt, final String what) {
        try (Model model = Model.load(file, options);
                Engine engine = Engine.open(model, SMALL)) {
            final Request plain = Request.plain(prompt.build());
            engine.run(new Request(
                    plain.branches(),
                    plain.combination(),
                    plain.sampling(),
                    new Limits(2, List.of()),
                    0,
                    plain.strategy()));
            return End.ANSWERED;
        } catch (final EquipoiseException refused) {
            return End.REFUSED_LATER;
        } catch (final RuntimeException | Error e) {
            throw new AssertionError("mutant: " + what, e);
        }
    }
}
