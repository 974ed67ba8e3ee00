package dev.equipoise.runtime.oracle;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.gguf.GgmlType;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.gguf.WordVocabulary;
import dev.equipoise.runtime.oracle.LlamaOracle.Input;
import dev.equipoise.runtime.tiny.TinyModels;
import dev.equipoise.runtime.tiny.TinyModels.LlamaShape;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The judge is judged by numbers of stock llama.cpp (f32 KV, no flash attention) and by what must not change. */
class LlamaOracleTest {
    private static final int[] TOKENS = {256, 300, 5, 511, 42};
    private static final float[] LLAMA_CPP_F32 = {-0.296420842f, -0.72697562f, 0.921822906f, -1.2431705f, 0.311753869f,
        1.15712082f, 0.896101534f, 0.1939421f, -0.851394713f, -0.569706321f, 0.930605888f, 1.46348178f};
    private static final float[] LLAMA_CPP_Q8 = {-0.270711601f, -0.761313796f, 0.985337198f, -1.23676229f, 0.315157592f,
        1.19345129f, 0.916223884f, 0.215189561f, -0.851842403f, -0.565498829f, 0.950785279f, 1.4391675f};

    @TempDir
    Path directory;

    private GgufFile tiny(final GgmlType type, final boolean tiedHead) {
        final Path path = directory.resolve("tiny-" + type + tiedHead + ".gguf");
        return GgufFile.read(TinyModels.llama(path,
                new LlamaShape(1, 4, 64, 4, 2, 96, WordVocabulary.ofSize(512), type, tiedHead)));
    }

    @Test
    void float32LogitsAreLlamaCpps() {
        final double[] logits = LlamaOracle.of(tiny(GgmlType.F32, false)).run(TOKENS).last();

        final double[] first = Arrays.copyOf(logits, LLAMA_CPP_F32.length);
        assertTrue(Tolerance.largestDifference(first, LLAMA_CPP_F32) <= Tolerance.f32(logits));
    }

    @Test
    void quantisedLogitsAreLlamaCppsWhenActivationsAreRoundedAlike() {
        final GgufFile file = tiny(GgmlType.Q8_0, false);
        final double[] rounded = LlamaOracle.llamaCppActivations(file).run(TOKENS).last();
        final double[] ideal = LlamaOracle.of(file).run(TOKENS).last();

        final double[] firstRounded = Arrays.copyOf(rounded, LLAMA_CPP_Q8.length);
        final double[] firstIdeal = Arrays.copyOf(ideal, LLAMA_CPP_Q8.length);
        assertTrue(Tolerance.largestDifference(firstRounded, LLAMA_CPP_Q8) <= Tolerance.f32(rounded));
        assertTrue(Tolerance.largestDifference(firstIdeal, LLAMA_CPP_Q8) <= Tolerance.q8(4, ideal));
    }

    @Test
    void anEmbeddingRowIsItsToken() {
        final LlamaOracle oracle = LlamaOracle.of(tiny(GgmlType.F32, true));
        final List<Input> mixed = new ArrayList<>(Input.tokens(TOKENS));
        mixed.set(2, new Input.Embedding(oracle.embedding(TOKENS[2])));

        assertArrayEquals(oracle.run(TOKENS).last(), oracle.run(mixed).last());
    }

    @Test
    void laterTokensChangeNothingBefore() {
        final LlamaOracle oracle = LlamaOracle.of(tiny(GgmlType.F32, false));
        final LlamaOracle.Result shorter = oracle.run(256, 300, 5);
        final LlamaOracle.Result longer = oracle.run(TOKENS);

        for (int t = 0; t < 3; t++) {
            assertArrayEquals(shorter.logits()[t], longer.logits()[t]);
        }
        assertEquals(4, longer.hidden().length);
        assertArrayEquals(shorter.hidden()[3][2], longer.hidden()[3][2]);
    }

    @Test
    void onlyDistancesBetweenPositionsMatter() {
        // One block: the rotation cancels out of every score, and a first position that all attend to equally is the
        // only thing an absolute position could change. Compare the pair (a, b) at 0, 1 with logits of b alone at 0.
        final Path path = directory.resolve("one.gguf");
        final LlamaOracle oracle = LlamaOracle.of(GgufFile.read(TinyModels.llama(path, 3, 1, 64, 2, 2, 64, 300)));
        final double[] twice = oracle.run(7, 7).last();
        final double[] thrice = oracle.run(7, 7, 7).last();
        final double[] once = oracle.run(7).last();

        // Equal values everywhere: whatever the weights, attention returns that value.
        for (int y = 0; y < once.length; y++) {
            assertEquals(once[y], twice[y], 1e-12);
            assertEquals(once[y], thrice[y], 1e-12);
        }
    }

    @Test
    void otherArchitecturesAreRefused() {
        final Path path = TinyModels.mmproj(directory.resolve("mmproj.gguf"), 1, 64);
        final GgufFile file = GgufFile.read(path);

        assertThrows(IllegalArgumentException.class, () -> LlamaOracle.of(file));
    }

    @Test
    void aDifferenceOfNaNFails() {
        assertTrue(Double.isNaN(Tolerance.largestDifference(new double[] {1}, new float[] {Float.NaN})));
        assertTrue(Double.isNaN(Tolerance.largestDifference(new double[] {1}, new float[] {1, 2})));
        assertEquals(0, Tolerance.largestDifference(
                new double[] {Double.NEGATIVE_INFINITY}, new float[] {Float.NEGATIVE_INFINITY}));
        assertEquals(Double.POSITIVE_INFINITY,
                Tolerance.largestDifference(new double[] {Double.NEGATIVE_INFINITY}, new float[] {0}));
    }
}
