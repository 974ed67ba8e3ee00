package dev.equipoise.bench.train;

import dev.equipoise.bench.testbed.Attribute;
import dev.equipoise.bench.testbed.Scene;
import dev.equipoise.bench.testbed.Sound;
import dev.equipoise.runtime.Audio;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.ModelOptions;
import dev.equipoise.runtime.Part;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.SplittableRandom;

/** Lets the frozen ear hear generated clips, through our own runtime, and writes what it makes of them to a file. */
final class SoundCollector {
    private static final int CLIPS = 1200;
    private static final long SEED = 77_000_231;

    private SoundCollector() {
    }

    /**
     * Writes the features of clip 0 to {@code CLIPS - 1}, see {@link SoundBank}.
     *
     * @param text any text model of the right width
     * @param media its encoders, with {@link FrozenEar#identity()} as the last layer
     */
    static void collect(final Path text, final Path media, final Path file) throws IOException {
        final int kinds = Attribute.SOUND.words().size();
        final int floats = ModelShape.SOUND_TOKENS * ModelShape.EAR_FEATURES;
        final ByteBuffer features =
                ByteBuffer.allocate(Float.BYTES * CLIPS * floats).order(ByteOrder.LITTLE_ENDIAN);
        final ModelOptions options = ModelOptions.defaults().withMmproj(media).withProbe(false);
        try (Model model = Model.load(text, options)) {
            for (int clip = 0; clip < CLIPS; clip++) {
                final Scene scene = new Scene(0, 0, clip % kinds);
                final short[] samples = Sound.play(scene, new SplittableRandom(SEED + clip));
                final float[] heard = model.embed(new Part.Sound(Audio.pcm(floats(samples))));
                if (heard.length != floats) {
                    throw new IllegalStateException("the ear gives " + heard.length + " numbers instead of " + floats);
                }
                features.asFloatBuffer().put(heard);
                features.position(features.position() + Float.BYTES * floats);
            }
        }
        Files.write(file, features.array());
    }

    /** As a WAV file's samples reach the model. */
    private static float[] floats(final short[] samples) {
        final float[] floats = new float[samples.length];
        for (int i = 0; i < samples.length; i++) {
            floats[i] = samples[i] / 32768f;
        }
        return floats;
    }
}
