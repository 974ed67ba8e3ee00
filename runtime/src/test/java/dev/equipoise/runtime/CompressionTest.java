package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Compression.Saliency;
import dev.equipoise.runtime.ffm.EncoderHandle;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.oracle.EncoderOracle;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.LlamaOracle.Input;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyArchitectures;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Pictures of which rows are left out: the oracle is fed the rows that stay, chosen here a second time. */
class CompressionTest {
    private static final int WIDTH = 64;
    private static final EngineOptions EXACT = Tolerance.exact(1024);

    @TempDir
    static Path directory;

    private static Path file;
    private static Path mmproj;
    private static Prompt prompt;

    @BeforeAll
    static void writeModels() {
        file = TinyModels.llama(directory.resolve("tiny.gguf"), 91);
        mmproj = TinyModels.mmproj(directory.resolve("mmproj.gguf"), 92, WIDTH);
        prompt = Prompt.builder()
                .context("the note says green")
                .image(picture(93))
                .audio(Audio.pcm(new float[8000]))
                .image(picture(94))
                .text("which colour")
                .build();
    }

    private static Image picture(final long seed) {
        final byte[] pixels = new byte[3 * 32 * 32];
        new Random(seed).nextBytes(pixels);
        return Image.rgb(32, 32, pixels);
    }

    private static Model load(final Path text) {
        return load(text, mmproj);
    }

    private static Model load(final Path text, final Path encoders) {
        return Model.load(text, Placement.options().withMmproj(encoders));
    }

    private static List<float[]> rows(final Model model, final Part part) {
        final float[] embedded = model.embed(part);
        final List<float[]> rows = new ArrayList<>();
        for (int at = 0; at < embedded.length; at += WIDTH) {
            rows.add(Arrays.copyOfRange(embedded, at, at + WIDTH));
        }
        return rows;
    }

    private static double norm(final float[] row) {
        double squares = 0;
        for (final float value : row) {
            squares += (double) value * value;
        }
        return Math.sqrt(squares);
    }

    // Those rows than which fewer than `most` others are larger.
    private static List<float[]> largest(final List<float[]> rows, final int most) {
        return rows.stream()
                .filter(row -> rows.stream().filter(other -> norm(other) > norm(row)).count() < most)
                .toList();
    }

    private static List<Input> inputs(
            final Model model, final Engine engine, final Prompt whole, final int pictureRows) {
        final List<float[]> media = new ArrayList<>();
        for (final Part part : whole.parts()) {
            if (part instanceof Part.Picture) {
                media.addAll(largest(rows(model, part), pictureRows));
            } else if (part instanceof Part.Sound) {
                media.addAll(rows(model, part));
            }
        }
        // The words' tokens of the whole prompt, with the rows that stay in the places of all.
        final List<Input> inputs = new ArrayList<>();
        final NextLogits next = engine.logits(Request.plain(whole));
        int row = 0;
        for (final Span span : next.spans()) {
            final int length = span.modality() == Modality.IMAGE ? pictureRows : span.length();
            for (int i = 0; i < length; i++) {
                final int token = next.promptTokens()[span.start() + i];
                inputs.add(token < 0 ? new Input.Embedding(media.get(row++)) : new Input.Token(token));
            }
        }
        assertEquals(media.size(), row);
        return inputs;
    }

    @ParameterizedTest
    @CsvSource({"0.5,8,512", "0.25,4,7", "0.7,11,1", "0.01,1,512", "1,16,512"})
    void logitsAreThoseOfTheRowsThatStay(final double keep, final int stay, final int microBatch) {
        final LlamaOracle oracle = LlamaOracle.of(GgufFile.read(file));
        try (Model model = load(file);
                Engine engine = Engine.open(model, EXACT.withMicroBatch(microBatch).withMaxBranches(1))) {
            final double[] expected = oracle.run(inputs(model, engine, prompt, stay)).last();
            final Prompt compressed = prompt.withCompression(new Compression(keep, Saliency.NORM));
            final NextLogits next = engine.logits(Request.plain(compressed));
            assertEquals(
                    List.of(stay, stay),
                    next.spans().stream()
                            .filter(span -> span.modality() == Modality.IMAGE)
                            .map(Span::length)
                            .toList());
            final double difference = Tolerance.largestDifference(expected, next.logits());
            assertTrue(difference <= Tolerance.f32(expected), () -> "largest difference " + difference);
            final double effect = Tolerance.largestDifference(
                    expected, engine.logits(Request.plain(prompt)).logits());
            assertEquals(keep < 1, effect > 10 * Tolerance.f32(expected), "effect " + effect);
        }
    }

    @ParameterizedTest
    @CsvSource({"97,0.05", "98,0.25", "99,0.5", "100,0.75"})
    void attentionKeepsWhatTheEncoderLooksAt(final long seed, final double keep) {
        final byte[] pixels = new byte[3 * 32 * 32];
        new Random(seed).nextBytes(pixels);
        final double[] attention = new EncoderOracle(GgufFile.read(mmproj), 32, 8, 32, 2).encode(pixels).attention();
        final Compression compression = new Compression(keep, Saliency.ATTENTION);
        try (Model model = load(file)) {
            final Image image = Image.rgb(32, 32, pixels);
            final Part.Picture whole = new Part.Picture(image, Optional.empty());
            final List<float[]> all = rows(model, whole);
            final List<float[]> expected = new ArrayList<>();
            for (int row = 0; row < all.size(); row++) {
                final double own = attention[row];
                if (Arrays.stream(attention).filter(other -> other > own).count() < compression.kept(all.size())) {
                    expected.add(all.get(row));
                }
            }
            final List<float[]> kept =
                    rows(model, new Part.Picture(image, Optional.empty(), Optional.of(compression)));
            assertEquals(expected.size(), kept.size());
            for (int row = 0; row < kept.size(); row++) {
                assertArrayEquals(expected.get(row), kept.get(row), "row " + row);
            }
            final List<EncoderHandle.Chunk> seen = model.handleOfEncoder().encode(
                    EncoderHandle.Kind.IMAGE_RGB, pixels, 32, 32, EncoderHandle.Manner.PLAIN.watching(true), "picture");
            for (int row = 0; row < attention.length; row++) {
                // ggml convolves patches in half precision: pixels and kernels err by 2^-12 of their size each, sums of
                // them by less, and a weight by about as much as the score that it is the exponential of.
                assertEquals(
                        attention[row], seen.getFirst().saliency()[row], 0x1p-9 * attention[row], "row " + row);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"101,0.25", "102,0.5"})
    void aClassTokensAttentionIsWhatCounts(final long seed, final double keep) {
        final Path encoders = TinyModels.mmproj(
                directory.resolve("class" + seed + ".gguf"), seed, 32, 2, true, 32, WIDTH);
        final byte[] pixels = new byte[3 * 32 * 32];
        new Random(seed).nextBytes(pixels);
        final double[] attention =
                new EncoderOracle(GgufFile.read(encoders), 32, 8, 32, 2).encode(pixels).attention();
        final Compression compression = new Compression(keep, Saliency.ATTENTION);
        try (Model model = load(file, encoders)) {
            final Image image = Image.rgb(32, 32, pixels);
            final List<EncoderHandle.Chunk> seen = model.handleOfEncoder().encode(
                    EncoderHandle.Kind.IMAGE_RGB, pixels, 32, 32, EncoderHandle.Manner.PLAIN.watching(true), "picture");
            final float[] saliency = seen.getFirst().saliency();
            assertEquals(attention.length, saliency.length);
            for (int row = 0; row < saliency.length; row++) {
                // As above: half precision of pixels and kernels.
                assertEquals(attention[row], saliency[row], 0x1p-9 * attention[row], "row " + row);
            }
            final List<float[]> all = rows(model, new Part.Picture(image, Optional.empty()));
            final List<float[]> kept =
                    rows(model, new Part.Picture(image, Optional.empty(), Optional.of(compression)));
            assertEquals(compression.kept(all.size()), kept.size());
            int at = 0;
            for (int row = 0; row < all.size() && at < kept.size(); row++) {
                final double own = attention[row];
                if (Arrays.stream(attention).filter(other -> other > own).count() < kept.size()) {
                    assertArrayEquals(all.get(row), kept.get(at++), "row " + row);
                }
            }
            assertEquals(kept.size(), at);
        }
    }

    @Test
    void whereNoBlockRunsTheNormCounts() {
        final Path encoders = TinyModels.mmproj(directory.resolve("bare.gguf"), 103, 32, 1, false, 32, WIDTH);
        try (Model model = load(file, encoders);
                Engine engine = Engine.open(model, EXACT)) {
            final Prompt attended = prompt.withCompression(new Compression(0.5, Saliency.ATTENTION));
            final Prompt longest = prompt.withCompression(new Compression(0.5, Saliency.NORM));
            assertArrayEquals(
                    engine.logits(Request.plain(longest)).logits(), engine.logits(Request.plain(attended)).logits());
            final Answer answer = engine.run(Request.plain(attended));
            final TraceEntry entry = answer.trace().getFirst();
            assertEquals("compress:norm", entry.intervention());
            // What was left out: the shorter half of each picture's rows.
            double sum = 0;
            int left = 0;
            for (final Part part : prompt.parts()) {
                if (part instanceof Part.Picture) {
                    final double[] norms =
                            rows(model, part).stream().mapToDouble(CompressionTest::norm).sorted().toArray();
                    sum += Arrays.stream(norms, 0, norms.length / 2).sum();
                    left += norms.length / 2;
                }
            }
            assertEquals(left, entry.tokens());
            assertEquals(sum / left, entry.meanDeltaNorm(), 1e-9 * sum);
        }
    }

    @Test
    void encodersThatShowNoAttentionPerRowAreRefused() {
        final EncoderHandle.Chunk chunk = new EncoderHandle.Chunk(
                null, new float[] {1, 2}, new int[] {0, 1}, 2, 2, false, EncoderHandle.Dropped.NONE, null, List.of(),
                0);
        final BadInputException refused = assertThrows(
                BadInputException.class,
                () -> Compressor.compress(List.of(chunk), new Compression(0.5, Saliency.ATTENTION)));
        assertTrue(refused.remedy().contains("norm"), refused.getMessage());
    }

    @Test
    void aCompressedBranchBesideAWholeOne() {
        try (Model model = load(file);
                Engine engine = Engine.open(model, EXACT)) {
            final Prompt compressed = prompt.withCompression(new Compression(0.25, Saliency.NORM));
            final Request both = new Request(
                    List.of(new Branch("base", prompt), new Branch("compressed", compressed)),
                    Optional.of(new Combination(CoefficientSchedule.fixed(0, 1), false, 0)),
                    Sampling.greedy(),
                    new Limits(4, List.of()),
                    0,
                    new StrategyLabel("test", "test"));
            final Answer alone = engine.run(new Request(
                    List.of(new Branch("base", compressed)),
                    Optional.empty(),
                    Sampling.greedy(),
                    new Limits(4, List.of()),
                    0,
                    new StrategyLabel("test", "test")));
            final Answer answer = engine.run(both);
            assertEquals(alone.tokens(), answer.tokens());
            assertEquals("compress:norm", alone.trace().getFirst().intervention());
            assertEquals("compressed/compress:norm", answer.trace().getFirst().intervention());
            assertEquals(2 * 12, answer.trace().getFirst().tokens());
            // One encoding of each medium, whatever was left out of it.
            assertEquals(3, model.encodings());
        }
    }

    @ParameterizedTest
    @CsvSource({"llama,0.3", "qwen2vl,0.3", "gemma3,0.5"})
    void positionsAreRenumberedOrUnderMropeKept(final String architecture, final double keep) {
        final Path text = TinyArchitectures.write(directory.resolve(architecture + ".gguf"), architecture, 95);
        final Path encoders = TinyModels.mmproj(
                directory.resolve(architecture + "-mmproj.gguf"), 96, 32);
        try (Model model = load(text, encoders)) {
            final EncodedPrompt whole = model.encode(prompt);
            final EncodedPrompt less = model.encode(prompt.withCompression(new Compression(keep, Saliency.NORM)));
            final boolean mrope = architecture.equals("qwen2vl");
            final Set<Integer> seen = new HashSet<>();
            for (int column = 0; column < less.size(); column++) {
                if (less.medium(column) >= 0 && less.modality(column) == Modality.IMAGE) {
                    seen.add(column);
                } else if (!mrope) {
                    assertEquals(column, less.position(column), "column " + column);
                }
            }
            final int dropped = whole.size() - less.size();
            assertEquals(2 * (TinyModels.IMAGE_TOKENS - (int) (keep * TinyModels.IMAGE_TOKENS)), dropped);
            assertEquals(dropped, less.dropped().rows());
            assertEquals(seen.size(), 2 * TinyModels.IMAGE_TOKENS - dropped);
            final int last = whole.position(whole.size() - 1);
            assertEquals(mrope ? last : last - dropped, less.position(less.size() - 1));
            for (final int column : seen) {
                final int[] places = less.chunk(column).positions();
                final int rows = less.chunk(column).count();
                final int row = less.row(column);
                if (mrope) {
                    final var from = whole.chunk(origin(whole, less, column));
                    final int before = whole.row(origin(whole, less, column));
                    for (int section = 0; section < 4; section++) {
                        assertEquals(from.positions()[section * from.count() + before], places[section * rows + row]);
                    }
                } else {
                    assertEquals(row, places[row]);
                    assertEquals(column, less.position(column));
                }
            }
            try (Engine engine = Engine.open(model, EXACT)) {
                final Answer answer = engine.run(Request.plain(
                        prompt.withCompression(new Compression(keep, Saliency.NORM))));
                assertTrue(!answer.tokens().isEmpty());
            }
        }
    }

    // The column of the whole prompt that has the same row of numbers.
    private static int origin(final EncodedPrompt whole, final EncodedPrompt less, final int column) {
        final float[] wanted = numbers(less, column);
        for (int other = 0; other < whole.size(); other++) {
            if (whole.chunk(other) != null && Arrays.equals(wanted, numbers(whole, other))) {
                return other;
            }
        }
        throw new AssertionError("a row that the encoder did not give: column " + column);
    }

    private static float[] numbers(final EncodedPrompt of, final int column) {
        final float[] all = of.chunk(column).embeddings();
        final int width = all.length / of.chunk(column).count();
        return Arrays.copyOfRange(all, of.row(column) * width, (of.row(column) + 1) * width);
    }

    @Test
    void ofEqualRowsTheEarlierStays() {
        assertArrayEquals(new int[] {0, 1, 3}, Compressor.salient(new double[] {2, 2, 1, 5, 2}, 3));
        assertArrayEquals(new int[] {4}, Compressor.salient(new double[] {0, 0, 0, 0, 1}, 1));
    }

    @Test
    void aBegunAnswerStays() {
        final Prompt begun = Prompt.builder()
                .image(Image.rgb(2, 2, new byte[12]))
                .text("what is it")
                .build()
                .answered("It is");
        for (final Prompt changed : List.of(
                begun.withCompression(new Compression(0.5, Saliency.NORM)),
                begun.withPixelNoise(new PixelNoise(500, 1)),
                begun.withSystem("look"),
                begun.without(Modality.IMAGE))) {
            assertEquals("It is", changed.answer());
        }
    }

    @Test
    void sharesThatLeaveNothingOrMoreThanAllAreRefused() {
        for (final double keep : new double[] {0, -0.1, 1.1, Double.NaN}) {
            assertThrows(BadInputException.class, () -> new Compression(keep, Saliency.NORM));
        }
        assertEquals(29, new Compression(0.29, Saliency.NORM).kept(100));
        assertEquals(28, new Compression(0.05, Saliency.NORM).kept(576));
        assertEquals(1, new Compression(0.05, Saliency.NORM).kept(3));
    }
}
