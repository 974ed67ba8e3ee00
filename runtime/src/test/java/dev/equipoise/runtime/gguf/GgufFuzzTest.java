package dev.equipoise.runtime.gguf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.tiny.TinyModels;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Path;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Whatever is done to a file, it is read or refused in one line: no other exception, no endless work. */
class GgufFuzzTest {
    private static final int MUTANTS = 2500;

    @TempDir
    Path directory;

    @Test
    void mutatedTextModels() {
        survive(TinyModels.llama(directory.resolve("text.gguf"), 1, 2, 32, 2, 1, 48, 280), GgufModelCheck::text);
    }

    @Test
    void mutatedProjectors() {
        survive(TinyModels.mmproj(directory.resolve("mmproj.gguf"), 1, 8, 8, 16), GgufModelCheck::mmproj);
    }

    private void survive(final Path source, final Consumer<GgufFile> check) {
        final GgufMutator mutator = new GgufMutator(source, 42);
        int parsed = 0;
        int accepted = 0;
        for (int i = 0; i < MUTANTS; i++) {
            final Path mutant = directory.resolve("mutant.gguf");
            final String what = mutator.mutate(mutant);
            try {
                final GgufFile file = GgufFile.read(mutant);
                parsed++;
                check.accept(file);
                accepted++;
            } catch (final BadInputException e) {
                assertEquals(1, e.getMessage().lines().count(), what);
            } catch (final RuntimeException | StackOverflowError | OutOfMemoryError e) {
                fail("mutant " + i + " (" + what + ") of " + source, e);
            }
        }
        // The mutants must reach both gates, or the test tests nothing.
        assertTrue(parsed > MUTANTS / 4, parsed + " parsed");
        assertTrue(accepted > MUTANTS / 50 && accepted < parsed, accepted + " accepted of " + parsed);
    }

    @Test
    void countsThatTheFileCouldHoldAreStillBounded() throws IOException {
        // A hole of 64 GB makes any count plausible by size.
        final Path path = directory.resolve("hole.gguf");
        final int array = GgufValue.Type.ARRAY.ordinal();
        for (final GgufBytes header : new GgufBytes[] {
            GgufBytes.header(3, 1L << 28, 0),
            GgufBytes.header(3, 0, 1L << 28),
            GgufBytes.header(3, 0, 1).text("k").i32(array).i32(GgufValue.Type.STRING.ordinal()).i64(1L << 31),
            GgufBytes.header(3, 0, 1).text("k").i32(array).i32(GgufValue.Type.F64.ordinal()).i64(1L << 31),
            GgufBytes.header(3, 0, 1).text("k").i32(GgufValue.Type.STRING.ordinal()).i64(1L << 31),
            GgufBytes.header(3, 0, 1).i64(1L << 31)}) {
            try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
                file.write(header.bytes());
                file.setLength(1L << 36);
            }
            assertThrows(BadInputException.class, () -> GgufFile.read(path));
        }
    }
}
