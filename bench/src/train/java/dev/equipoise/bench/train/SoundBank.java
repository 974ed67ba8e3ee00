package dev.equipoise.bench.train;

import dev.equipoise.bench.testbed.Attribute;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.random.RandomGenerator;

/**
 * Features of generated clips as the frozen ear gives them: clip i is of kind i modulo the number of kinds, each is
 * [SOUND_TOKENS, EAR_FEATURES] floats.
 */
final class SoundBank {
    private static final int CLIP = ModelShape.SOUND_TOKENS * ModelShape.EAR_FEATURES;
    private static final int KINDS = Attribute.SOUND.words().size();

    private final float[] features;
    private final int first;
    private final int end;

    private SoundBank(final float[] features, final int first, final int end) {
        this.features = features;
        this.first = first;
        this.end = end;
    }

    /** Reads a cache file of little-endian floats. */
    static SoundBank read(final Path file) throws IOException {
        final FloatBuffer buffer =
                ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer();
        final float[] features = new float[buffer.remaining()];
        buffer.get(features);
        return new SoundBank(features, 0, features.length / CLIP / KINDS);
    }

    /** The clips from round {@code first} to {@code end} exclusive; a round has one clip of every kind. */
    SoundBank rounds(final int first, final int end) {
        return new SoundBank(features, first, end);
    }

    /** Number of rounds. */
    int rounds() {
        return end - first;
    }

    /** The features of a clip of a kind. */
    float[] draw(final int kind, final RandomGenerator random) {
        final int clip = (first + random.nextInt(end - first)) * KINDS + kind;
        return Arrays.copyOfRange(features, clip * CLIP, (clip + 1) * CLIP);
    }

    /** The features of a clip of a kind with a little noise, so that a few hundred clips stand for all there are. */
    float[] drawVaried(final int kind, final RandomGenerator random) {
        final float[] clip = draw(kind, random);
        for (int i = 0; i < CLIP; i++) {
            clip[i] += (float) (random.nextGaussian() * 0.06);
        }
        return clip;
    }

    /** Features of a clip in which another kind is about as loud as {@code kind}, or louder. */
    float[] drawDrowned(final int kind, final RandomGenerator random) {
        final float[] clip = drawVaried(kind, random);
        final float[] other = drawVaried((kind + 1 + random.nextInt(KINDS - 1)) % KINDS, random);
        final float share = 0.4f + 0.5f * random.nextFloat();
        for (int i = 0; i < CLIP; i++) {
            clip[i] += share * (other[i] - clip[i]);
        }
        return clip;
    }
}
