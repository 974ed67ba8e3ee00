package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.UnavailableException;
import dev.equipoise.runtime.ffm.EncoderHandle;
import dev.equipoise.runtime.ffm.EncoderHandle.Captured;
import dev.equipoise.runtime.ffm.EncoderHandle.Manner;
import dev.equipoise.runtime.intervention.PositionVectors;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * What is turned inside the picture encoder, judged by the formula in double precision on the feed-forward outputs that
 * the encoder had, and by the block outputs of encodings that differ in one block.
 */
class PictureSteeringTest {
    private static final int WIDTH = 32;
    private static final int BLOCKS = 3;
    private static final EngineOptions EXACT = Tolerance.exact(1024);

    @TempDir
    static Path directory;

    private static Path text;
    private static Path patches;
    private static Path withClass;

    @BeforeAll
    static void writeModels() {
        text = TinyModels.llama(directory.resolve("tiny.gguf"), 191);
        patches = TinyModels.mmproj(directory.resolve("patches.gguf"), 192, WIDTH, BLOCKS + 1, false, 32, 64);
        withClass = TinyModels.mmproj(directory.resolve("class.gguf"), 193, WIDTH, BLOCKS + 1, true, 0, 64);
    }

    private static Model load(final Path mmproj) {
        return Model.load(text, Placement.options().withMmproj(mmproj));
    }

    private static byte[] pixels(final long seed) {
        final byte[] pixels = new byte[3 * 32 * 32];
        new Random(seed).nextBytes(pixels);
        return pixels;
    }

    private static Prompt prompt() {
        return Prompt.builder()
                .context("the note says green")
                .image(Image.rgb(32, 32, pixels(1)))
                .image(Image.rgb(32, 32, pixels(2)))
                .text("which colour")
                .build();
    }

    // Lengths differ much, and are of no consequence; the first position of each block has no direction.
    private static PositionVectors directions(final int positions, final int width, final int... layers) {
        final Random random = new Random(77);
        final Map<Integer, float[]> vectors = new HashMap<>();
        for (final int layer : layers) {
            final float[] values = new float[positions * width];
            for (int i = width; i < values.length; i++) {
                values[i] = (float) ((1 + i / width) * random.nextGaussian());
            }
            vectors.put(layer, values);
        }
        return new PositionVectors(positions, vectors);
    }

    private static PositionVectors only(final PositionVectors all, final int below) {
        final Map<Integer, float[]> vectors = new HashMap<>();
        all.layers().headSet(below).forEach(layer -> vectors.put(layer, all.at(layer)));
        return new PositionVectors(all.positions(), vectors);
    }

    private static Map<Integer, float[]> states(final EncoderHandle.Chunk chunk, final Captured which) {
        final Map<Integer, float[]> states = new HashMap<>();
        for (final EncoderHandle.States found : chunk.states()) {
            if (found.captured() == which) {
                states.put(found.layer(), found.values());
            }
        }
        return states;
    }

    private static EncoderHandle.Chunk encode(final Model model, final Manner manner) {
        return model.handleOfEncoder()
                .encode(EncoderHandle.Kind.IMAGE_RGB, pixels(3), 32, 32, manner, "picture")
                .getFirst();
    }

    private static double norm(final float[] values, final int from, final int width) {
        double squares = 0;
        for (int i = from; i < from + width; i++) {
            squares += (double) values[i] * values[i];
        }
        return Math.sqrt(squares);
    }

    // |m| unit(unit(m) + a unit(d)), position by position.
    private static double[] turned(final float[] m, final float[] d, final double amount, final int width) {
        final double[] turned = new double[m.length];
        for (int from = 0; from < m.length; from += width) {
            final double length = norm(m, from, width);
            final double along = norm(d, from, width);
            double squares = 0;
            for (int i = from; i < from + width; i++) {
                turned[i] = m[i] / length + (along == 0 ? 0 : amount * d[i] / along);
                squares += turned[i] * turned[i];
            }
            for (int i = from; i < from + width; i++) {
                turned[i] *= length / Math.sqrt(squares);
            }
        }
        return turned;
    }

    @ParameterizedTest
    @CsvSource({"false,0.09", "false,-3", "true,0.09", "true,50"})
    void everyBlockAddsItsTurnedOutput(final boolean classToken, final double amount) {
        final int positions = TinyModels.IMAGE_TOKENS + (classToken ? 1 : 0);
        final PositionVectors all = directions(positions, WIDTH, 0, 1, 2);
        try (Model model = load(classToken ? withClass : patches)) {
            final Manner plain = Manner.PLAIN.capturing(Captured.BOTH);
            EncoderHandle.Chunk before = encode(model, plain);
            assertEquals(BLOCKS, states(before, Captured.LAYER).size());
            assertEquals(0, before.delta());
            for (int block = 0; block < BLOCKS; block++) {
                final EncoderHandle.Chunk after = encode(model, plain.turned(only(all, block + 1), amount));
                final float[] m = states(after, Captured.MLP).get(block);
                // What comes before the block's edit does not know of it.
                assertArrayEquals(states(before, Captured.MLP).get(block), m);
                final double[] turned = turned(m, all.at(block), amount, WIDTH);
                final float[] without = states(before, Captured.LAYER).get(block);
                final float[] with = states(after, Captured.LAYER).get(block);
                double largest = 0;
                for (int i = 0; i < m.length; i++) {
                    final double change = turned[i] - m[i];
                    // The residual is added once to each, rounding by 2^-24 of the sum; the turned output is rounded to
                    // float32, and the amount over the direction's length before it: 2^-24 of its position's norm.
                    final double tolerance = 0x1p-24
                            * (Math.abs(without[i]) + Math.abs(with[i]) + 2 * norm(m, i / WIDTH * WIDTH, WIDTH));
                    final double error = Math.abs(with[i] - without[i] - change);
                    assertTrue(error <= tolerance, "block " + block + ", value " + i + ": " + error);
                    largest = Math.max(largest, Math.abs(change));
                }
                assertTrue(largest > 1e-3, "block " + block + " changes by " + largest);
                final double expectedDelta = delta(after, all, block, amount);
                assertEquals(expectedDelta, after.delta(), 1e-5 * expectedDelta);
                // No direction, no change of a bit.
                assertArrayEquals(Arrays.copyOf(without, WIDTH), Arrays.copyOf(with, WIDTH));
                if (block + 1 < BLOCKS) {
                    assertFalse(Arrays.equals(
                            states(before, Captured.LAYER).get(block + 1),
                            states(after, Captured.LAYER).get(block + 1)));
                }
                assertFalse(Arrays.equals(before.embeddings(), after.embeddings()));
                before = after;
            }
        }
    }

    private static double delta(
            final EncoderHandle.Chunk of, final PositionVectors all, final int lastBlock, final double amount) {
        double delta = 0;
        for (int block = 0; block <= lastBlock; block++) {
            final float[] m = states(of, Captured.MLP).get(block);
            final double[] turned = turned(m, all.at(block), amount, WIDTH);
            for (int from = 0; from < m.length; from += WIDTH) {
                double squares = 0;
                for (int i = from; i < from + WIDTH; i++) {
                    squares += (turned[i] - m[i]) * (turned[i] - m[i]);
                }
                delta += Math.sqrt(squares);
            }
        }
        return delta;
    }

    @Test
    void anAmountOfZeroIsThePromptItself() {
        final PositionVectors along = directions(16, WIDTH, 0);
        assertEquals(prompt(), prompt().withPictureSteering(new PictureSteering(along, 0)));
        assertNotEquals(prompt(), prompt().withPictureSteering(new PictureSteering(along, 0.09)));
        try (Model model = load(patches)) {
            assertArrayEquals(
                    encode(model, Manner.PLAIN).embeddings(),
                    encode(model, Manner.PLAIN.capturing(Captured.BOTH)).embeddings(),
                    "looking changes nothing");
            final EncoderHandle.Chunk still = encode(model, Manner.PLAIN.turned(along, 0));
            assertTrue(still.delta() <= 0x1p-20, "turning by 0 moves by rounding alone: " + still.delta());
        }
    }

    @Test
    void steeringStaysWithItsPictureAndItsBranch() {
        final PictureSteering steering = new PictureSteering(directions(16, WIDTH, 0, 2), 0.5);
        final Prompt steered = prompt().withPictureSteering(steering);
        for (final Prompt changed : List.of(
                steered.withPixelNoise(new PixelNoise(500, 3)),
                steered.withCompression(new Compression(0.5, Compression.Saliency.NORM)))) {
            assertEquals(
                    2,
                    changed.parts().stream()
                            .filter(part -> part instanceof Part.Picture picture
                                    && picture.steering().equals(Optional.of(steering)))
                            .count());
        }
        try (Model model = load(patches);
                Engine engine = Engine.open(model, EXACT)) {
            final float[] plain = engine.logits(Request.plain(prompt())).logits();
            final float[] turned = engine.logits(Request.plain(steered)).logits();
            assertFalse(Arrays.equals(plain, turned));
            assertEquals(4, model.encodings());
            final Request both = new Request(
                    List.of(new Branch("base", prompt()), new Branch("steered", steered)),
                    Optional.of(new Combination(CoefficientSchedule.fixed(0, 1), false, 0)),
                    Sampling.greedy(),
                    new Limits(2, List.of()),
                    0,
                    StrategyLabel.PLAIN);
            assertEquals(4, model.encodings(), "both encodings are kept");
            final float[] combined = engine.logits(both).logits();
            for (int y = 0; y < turned.length; y++) {
                // The same row in a batch of other columns: sums may be taken in another order.
                assertEquals(turned[y], combined[y], Placement.onGpu() ? 3e-2 : 1e-4, "token " + y);
            }
            final Answer answer = engine.run(both);
            final TraceEntry entry = answer.trace().getFirst();
            assertEquals("steered/vision:turn", entry.intervention());
            assertEquals(List.of(0, 2), entry.layers());
            assertEquals(2 * 16, entry.tokens());
            assertTrue(entry.meanDeltaNorm() > 0.01 && entry.meanDeltaNorm() < 100, entry.toString());
            final Prompt fewer = steered.withCompression(new Compression(0.25, Compression.Saliency.ATTENTION));
            final List<TraceEntry> trace = engine.run(Request.plain(fewer)).trace();
            assertEquals(
                    List.of("compress:attention", "vision:turn"),
                    trace.stream().map(TraceEntry::intervention).toList());
            assertEquals(entry.meanDeltaNorm(), trace.getLast().meanDeltaNorm(), 1e-9);
        }
    }

    private static void assertRefused(final Engine engine, final PositionVectors along, final String... parts) {
        final Prompt steered = prompt().withPictureSteering(new PictureSteering(along, 0.1));
        final BadInputException refused =
                assertThrows(BadInputException.class, () -> engine.describe(Request.plain(steered)));
        for (final String part : parts) {
            assertTrue(refused.getMessage().contains(part), refused.getMessage());
        }
    }

    @Test
    void directionsOfAnotherEncoderAreRefusedBeforeAnythingIsEncoded() {
        try (Model model = load(patches);
                Engine engine = Engine.open(model, EXACT)) {
            assertRefused(engine, directions(16, WIDTH / 2, 0), "16 positions, 16 wide", "16, 32 wide");
            assertRefused(engine, directions(17, WIDTH, 0), "17 positions", "another picture encoder");
            assertRefused(engine, directions(16, WIDTH, 1, BLOCKS), "no block 3", "runs 3");
            assertEquals(0, model.encodings());
            // What the native side sees for itself.
            final BadInputException shape = assertThrows(
                    BadInputException.class, () -> encode(model, Manner.PLAIN.turned(directions(17, WIDTH, 0), 1)));
            assertTrue(shape.what().contains("17 positions") && shape.what().contains("16 positions"), shape.what());
            final UnavailableException block = assertThrows(
                    UnavailableException.class,
                    () -> encode(model, Manner.PLAIN.turned(directions(16, WIDTH, BLOCKS), 1)));
            assertTrue(block.what().contains("block 3"), block.what());
            final BadInputException mask = assertThrows(
                    BadInputException.class, () -> encode(model, Manner.PLAIN.masked(5, new byte[25])));
            assertTrue(mask.what().contains("5 patches a side"), mask.what());
            // And encodes as if nothing had been.
            assertEquals(0, encode(model, Manner.PLAIN).delta());
        }
        final Path blind = TinyModels.mmproj(directory.resolve("blind.gguf"), 194, 0, 32, 64);
        try (Model model = load(blind);
                Engine engine = Engine.open(model, EXACT)) {
            assertRefused(engine, directions(16, WIDTH, 0), "without vision");
            assertTrue(model.pictureEncoder().isEmpty());
            assertThrows(
                    BadInputException.class,
                    () -> model.pictureStates(Image.rgb(32, 32, pixels(1)), Optional.empty()));
        }
        final Path single = TinyModels.mmproj(directory.resolve("single.gguf"), 195, WIDTH, 1, false, 0, 64);
        try (Model model = load(single);
                Engine engine = Engine.open(model, EXACT)) {
            assertRefused(engine, directions(16, WIDTH, 0), "no block 0", "runs 0");
            final BadInputException bare = assertThrows(
                    BadInputException.class,
                    () -> model.pictureStates(Image.rgb(32, 32, pixels(1)), Optional.empty()));
            assertTrue(bare.what().contains("without block states"), bare.what());
        }
    }

    @Test
    void maskedPatchesHaveTheColourOfThePicture() {
        // Half of the values of each channel are 100 and half 200, so that the mean is a pixel's value too.
        final byte[] rgb = new byte[3 * 32 * 32];
        for (int i = 0; i < rgb.length; i++) {
            rgb[i] = (byte) (i / 3 % 2 == 0 ? 100 : 200);
        }
        final boolean[] marked = new boolean[16];
        final byte[] painted = rgb.clone();
        for (final int patch : new int[] {0, 3, 6, 9, 15}) {
            marked[patch] = true;
            for (int y = 0; y < 8; y++) {
                for (int x = 0; x < 8; x++) {
                    final int at = 3 * ((patch / 4 * 8 + y) * 32 + patch % 4 * 8 + x);
                    Arrays.fill(painted, at, at + 3, (byte) 150);
                }
            }
        }
        try (Model model = load(patches)) {
            final PictureStates masked =
                    model.pictureStates(Image.rgb(32, 32, rgb), Optional.of(new PatchMask(4, marked)));
            final PictureStates expected = model.pictureStates(Image.rgb(32, 32, painted), Optional.empty());
            final PictureStates clean = model.pictureStates(Image.rgb(32, 32, rgb), Optional.empty());
            assertEquals(List.of(0, 1, 2), List.copyOf(masked.layers()));
            assertEquals(16, masked.positions());
            assertEquals(WIDTH, masked.width());
            double effect = 0;
            for (final int block : masked.layers()) {
                final float[] states = masked.at(block);
                for (int i = 0; i < states.length; i++) {
                    // The mean of the normalised pixels is the normalised mean but for rounding, which the
                    // convolution's half precision may turn into 2^-11 of a pixel of 1/3, in weighted sums of 192 whose
                    // weights have a norm near 1; the blocks pass it on about as large.
                    assertEquals(expected.at(block)[i], states[i], 0x1p-9, "block " + block + ", value " + i);
                    effect = Math.max(effect, Math.abs(clean.at(block)[i] - states[i]));
                }
            }
            assertTrue(effect > 0.1, "effect " + effect);
        }
    }
}
