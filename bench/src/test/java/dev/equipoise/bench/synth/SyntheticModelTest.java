package dev.equipoise.bench.synth;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgmlType;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.gguf.GgufModelCheck;
import dev.equipoise.runtime.gguf.TextModel;
import dev.equipoise.runtime.oracle.LlamaOracle;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class SyntheticModelTest {
    private static final SyntheticShape SMALL = new SyntheticShape("small", 3, 128, 4, 2, 224, 700, true);

    @TempDir
    Path directory;

    private Path write(final String name, final SyntheticShape shape, final GgmlType type, final long seed) {
        final Path path = directory.resolve(name);
        SyntheticModel.write(path, shape, type, seed, bytes -> { });
        return path;
    }

    @ParameterizedTest
    @EnumSource(names = {"Q4_0", "Q8_0"})
    void aSmallModelIsValidAndItsLogitsAreOfOrderOne(final GgmlType type) {
        final GgufFile file = GgufFile.read(write("small.gguf", SMALL, type, 1));
        final TextModel model = GgufModelCheck.text(file);
        final double[] logits = LlamaOracle.of(file).run(256, 300, 41, 699).last();
        final double meanSquare = Arrays.stream(logits).map(z -> z * z).sum() / logits.length;

        assertEquals(700, model.vocabulary());
        assertEquals(3, model.layers());
        assertTrue(meanSquare > 0.25 && meanSquare < 4, "mean square " + meanSquare);
    }

    @Test
    void theSeedDecidesEveryByte() throws IOException {
        final byte[] one = Files.readAllBytes(write("a.gguf", SMALL, GgmlType.Q4_0, 1));

        assertArrayEquals(one, Files.readAllBytes(write("b.gguf", SMALL, GgmlType.Q4_0, 1)));
        assertFalse(Arrays.equals(one, Files.readAllBytes(write("c.gguf", SMALL, GgmlType.Q4_0, 2))));
    }

    @Test
    void progressEndsWhereAnnounced() {
        final SyntheticShape untied = new SyntheticShape("untied", 2, 64, 2, 1, 96, 300, false);
        final AtomicLong last = new AtomicLong();
        final Path path = directory.resolve("progress.gguf");
        SyntheticModel.write(path, untied, GgmlType.Q8_0, 3, last::set);
        final GgufFile file = GgufFile.read(path);
        final long weights = file.tensors().stream().mapToLong(tensor -> tensor.bytes()).sum();
        final long norms = 5 * 64 * 4;

        assertEquals(weights, SyntheticModel.bytes(untied, GgmlType.Q8_0));
        assertEquals(weights - norms, last.get());
    }

    @Test
    void theNamedShapesAreThoseOfTheDesign() {
        assertEquals(4, SyntheticShape.named().size());
        // Parameters, from the bytes of a type with one byte and a sixteenth an element.
        final long[] millions = SyntheticShape.named().stream()
                .mapToLong(shape -> SyntheticModel.bytes(shape, GgmlType.Q8_0) * 32 / 34 / 1_000_000).toArray();
        assertArrayEquals(new long[] {348, 494, 1543, 7616}, millions);
        assertThrows(BadInputException.class, () -> SyntheticShape.named("3b"));
        assertThrows(BadInputException.class, () -> SyntheticModel.quantisation("q6_k"));
        assertThrows(BadInputException.class, () -> new SyntheticShape("odd", 1, 33, 1, 1, 32, 300, true));
    }
}
