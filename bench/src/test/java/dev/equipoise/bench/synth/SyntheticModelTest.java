package dev.equipoise.bench.synth;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.ModelOptions;
import dev.equipoise.runtime.NativeInfo;
import dev.equipoise.runtime.gguf.GgmlType;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.gguf.GgufModelCheck;
import dev.equipoise.runtime.gguf.GgufTensor;
import dev.equipoise.runtime.gguf.TextModel;
import dev.equipoise.runtime.oracle.LlamaOracle;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class SyntheticModelTest {
    private static final SyntheticShape SMALL = new SyntheticShape("small", 3, 128, 4, 2, 224, 700, true);

    @TempDir
    Path directory;

    private Path write(
            final String name, final SyntheticShape shape, final SyntheticQuantisation type, final long seed) {
        final Path path = directory.resolve(name);
        SyntheticModel.write(path, shape, type, seed, bytes -> { });
        return path;
    }

    @ParameterizedTest
    @EnumSource(names = {"Q4_0", "Q8_0"})
    void aSmallModelIsValidAndItsLogitsAreOfOrderOne(final SyntheticQuantisation type) {
        final GgufFile file = GgufFile.read(write("small.gguf", SMALL, type, 1));
        final TextModel model = GgufModelCheck.text(file);
        final double[] logits = LlamaOracle.of(file).run(256, 300, 41, 699).last();
        final double meanSquare = Arrays.stream(logits).map(z -> z * z).sum() / logits.length;

        assertEquals(700, model.vocabulary());
        assertEquals(3, model.layers());
        assertTrue(meanSquare > 0.25 && meanSquare < 4, "mean square " + meanSquare);
    }

    @Test
    void aMixIsAsLlamaCppMakesItAndItsWeightsAreAsLargeAsOthers() {
        final SyntheticShape shape = new SyntheticShape("mix", 8, 256, 4, 2, 512, 300, false);
        final GgufFile file = GgufFile.read(write("mix.gguf", shape, SyntheticQuantisation.Q4_K_M, 1));
        GgufModelCheck.text(file);

        // Of 8 blocks the first, the last, and every third from the fourth on have values and feed-forward so.
        for (int i = 0; i < 8; i++) {
            final boolean more = i == 0 || i == 3 || i == 6 || i == 7;
            for (final String name : List.of("attn_q", "attn_v", "ffn_up", "ffn_down")) {
                final GgmlType type = more && (name.equals("attn_v") || name.equals("ffn_down"))
                        ? GgmlType.Q6_K : GgmlType.Q4_K;
                final GgufTensor tensor = file.tensor("blk." + i + "." + name + ".weight");
                assertEquals(type, tensor.type(), tensor.name());
                final double[] moments = moments(file, tensor);
                // Of 2^15 weights or more the mean errs by 1/181 of a deviation, their square by less than a fiftieth.
                assertTrue(
                        Math.abs(moments[0]) * Math.sqrt(tensor.extent(0)) <= 5 / 181.0, tensor + ": " + moments[0]);
                assertTrue(Math.abs(moments[1] * tensor.extent(0) - 1) <= 0.1, tensor + ": " + moments[1]);
            }
        }
        assertEquals(GgmlType.Q6_K, file.tensor("output.weight").type());
        assertEquals(GgmlType.Q4_K, file.tensor("token_embd.weight").type());
        final SyntheticShape odd = SyntheticShape.named("0.5b");
        assertThrows(BadInputException.class, () -> SyntheticModel.bytes(odd, SyntheticQuantisation.Q4_K_M));
    }

    @ParameterizedTest
    @EnumSource
    void whatOurKernelsMultiplyIsSaidOfTheModel(final SyntheticQuantisation type) {
        final NativeInfo here = NativeInfo.read();
        final boolean own = !here.products().equals("llama.cpp");
        // Without AVX2 ggml repacks nothing, and four bits stay its own.
        assumeTrue(!own || here.cpuFeatures().contains("AVX2"));
        final SyntheticShape shape = new SyntheticShape("own", 2, 256, 4, 2, 512, 300, true);

        try (Model model = Model.load(write("own.gguf", shape, type, 1), ModelOptions.defaults())) {
            assertEquals(own, model.multipliesItself());
        }
    }

    /** Mean and mean square of what the blocks of a tensor stand for. */
    private static double[] moments(final GgufFile file, final GgufTensor tensor) {
        final ByteBuffer bytes = file.raw(tensor).order(ByteOrder.LITTLE_ENDIAN);
        double sum = 0;
        double squares = 0;
        for (int at = 0; at < bytes.limit(); at += tensor.type().blockBytes()) {
            for (int i = 0; i < 256; i++) {
                final double weight =
                        tensor.type() == GgmlType.Q4_K ? weightOfQ4(bytes, at, i) : weightOfQ6(bytes, at, i);
                sum += weight;
                squares += weight * weight;
            }
        }
        return new double[] {sum / tensor.elements(), squares / tensor.elements()};
    }

    private static double weightOfQ4(final ByteBuffer bytes, final int at, final int i) {
        final int part = i / 32;
        final int two = bytes.get(at + 16 + i / 64 * 32 + i % 32);
        final int parts = at + 4;
        final int scale = part < 4 ? bytes.get(parts + part) & 63
                : bytes.get(parts + 4 + part) & 15 | (bytes.get(parts + part - 4) & 0xC0) >> 2;
        final int least = part < 4 ? bytes.get(parts + 4 + part) & 63
                : bytes.get(parts + 4 + part) >> 4 & 15 | (bytes.get(parts + part) & 0xC0) >> 2;
        return Float.float16ToFloat(bytes.getShort(at)) * scale * (two >> i / 32 % 2 * 4 & 15)
                - Float.float16ToFloat(bytes.getShort(at + 2)) * least;
    }

    private static double weightOfQ6(final ByteBuffer bytes, final int at, final int i) {
        final int half = i / 128;
        final int t = i / 32 % 4;
        final int low = bytes.get(at + 64 * half + 32 * (t % 2) + i % 32) >> t / 2 * 4 & 15;
        final int top = bytes.get(at + 128 + 32 * half + i % 32) >> 2 * t & 3;
        return Float.float16ToFloat(bytes.getShort(at + 208)) * bytes.get(at + 192 + i / 16) * ((low | top << 4) - 32);
    }

    @Test
    void theSeedDecidesEveryByte() throws IOException {
        final byte[] one = Files.readAllBytes(write("a.gguf", SMALL, SyntheticQuantisation.Q4_0, 1));

        assertArrayEquals(one, Files.readAllBytes(write("b.gguf", SMALL, SyntheticQuantisation.Q4_0, 1)));
        assertFalse(Arrays.equals(one, Files.readAllBytes(write("c.gguf", SMALL, SyntheticQuantisation.Q4_0, 2))));
    }

    @Test
    void progressEndsWhereAnnounced() {
        final SyntheticShape untied = new SyntheticShape("untied", 2, 64, 2, 1, 96, 300, false);
        final AtomicLong last = new AtomicLong();
        final Path path = directory.resolve("progress.gguf");
        SyntheticModel.write(path, untied, SyntheticQuantisation.Q8_0, 3, last::set);
        final GgufFile file = GgufFile.read(path);
        final long weights = file.tensors().stream().mapToLong(tensor -> tensor.bytes()).sum();
        final long norms = 5 * 64 * 4;

        assertEquals(weights, SyntheticModel.bytes(untied, SyntheticQuantisation.Q8_0));
        assertEquals(weights - norms, last.get());
    }

    @Test
    void theNamedShapesAreThoseOfTheDesign() {
        assertEquals(4, SyntheticShape.named().size());
        // Parameters, from the bytes of a type with one byte and a sixteenth an element.
        final long[] millions = SyntheticShape.named().stream()
                .mapToLong(shape -> SyntheticModel.bytes(shape, SyntheticQuantisation.Q8_0) * 32 / 34 / 1_000_000)
                .toArray();
        assertArrayEquals(new long[] {348, 494, 1543, 7616}, millions);
        assertThrows(BadInputException.class, () -> SyntheticShape.named("3b"));
        assertThrows(BadInputException.class, () -> SyntheticQuantisation.named("q6_k"));
        assertThrows(BadInputException.class, () -> new SyntheticShape("odd", 1, 33, 1, 1, 32, 300, true));
    }
}
