package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;

/**
 * A sound: an encoded file (WAV, MP3, FLAC; resampled to what the model hears) or mono samples at the model's own rate.
 * Immutable; equal when the bytes are.
 */
public final class Audio {
    /** Longest raw sound, in samples: an hour at 16 kHz, far beyond any window, far below an overflow. */
    public static final int MAX_SAMPLES = 3600 * 16_000;

    private final MediaBytes bytes;
    private final boolean raw;

    private Audio(final MediaBytes bytes, final boolean raw) {
        this.bytes = bytes;
        this.raw = raw;
    }

    /**
     * Reads an encoded sound.
     *
     * @throws BadInputException if the file cannot be read or is not a sound of a known format
     */
    public static Audio read(final Path file) {
        final MediaBytes bytes = MediaBytes.read(file);
        MediaSniffer.sound(bytes.array(), file.toString());
        return new Audio(bytes, false);
    }

    /**
     * An encoded sound in memory.
     *
     * @param data the file's bytes, copied
     * @param name what to call it in errors
     */
    public static Audio encoded(final byte[] data, final String name) {
        MediaSniffer.sound(data, name);
        return new Audio(new MediaBytes(data.clone(), name), false);
    }

    /**
     * Mono samples at {@link ModelInfo#audioSampleRate()}.
     *
     * @param samples finite values, nominally -1..1, copied
     */
    public static Audio pcm(final float[] samples) {
        if (samples.length == 0 || samples.length > MAX_SAMPLES) {
            throw new BadInputException(
                    "sound of a length that cannot be used",
                    samples.length + " samples",
                    "pass 1.." + MAX_SAMPLES + " samples");
        }
        final ByteBuffer data = ByteBuffer.allocate(4 * samples.length).order(ByteOrder.nativeOrder());
        for (int i = 0; i < samples.length; i++) {
            if (!Float.isFinite(samples[i])) {
                throw new BadInputException("sample that is not a number", "sample " + i, "pass finite samples");
            }
            data.putFloat(samples[i]);
        }
        return new Audio(new MediaBytes(data.array(), samples.length + " samples"), true);
    }

    /** True when the bytes are float32 samples rather than an encoded file. */
    boolean isRaw() {
        return raw;
    }

    MediaBytes bytes() {
        return bytes;
    }

    @Override
    public boolean equals(final Object other) {
        return other instanceof Audio that && raw == that.raw && bytes.equals(that.bytes);
    }

    @Override
    public int hashCode() {
        return bytes.hashCode();
    }

    @Override
    public String toString() {
        return "Audio[" + bytes.name() + "]";
    }
}
