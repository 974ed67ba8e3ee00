package dev.equipoise.bench.testbed;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.random.RandomGenerator;

/**
 * A clip of two seconds, 16 kHz, mono, of one kind of sound, with varied pitch, phase, level (0.3 to 0.9) and a faint
 * background noise. A beep is a steady sine (500 to 900 Hz), a siren a tone with its third harmonic that starts low and
 * sweeps up and down (about twice a second around 900 to 1200 Hz), a hiss white noise, a knock a train of dull thuds
 * (150 to 300 Hz, 3 to 6 a second), a bell one high stroke (1400 to 2000 Hz and three partials above) that dies away, a
 * buzz a low sawtooth (90 to 160 Hz).
 */
public final class Sound {
    /** Samples per second. */
    public static final int RATE = 16_000;
    /** Samples of a clip. */
    public static final int LENGTH = 2 * RATE;

    private static final int WAV_HEADER = 44;
    private static final double[] BELL_PARTIALS = {1, 1.5, 2.0, 2.76};

    private Sound() {
    }

    /** The clip of a scene: {@link #LENGTH} signed 16-bit samples. */
    public static short[] play(final Scene scene, final RandomGenerator random) {
        final double[] wave = switch (Attribute.SOUND.words().get(scene.sound())) {
            case "beep" -> beep(random);
            case "siren" -> siren(random);
            case "hiss" -> hiss(random);
            case "knock" -> knock(random);
            case "bell" -> bell(random);
            case "buzz" -> buzz(random);
            default -> throw new IllegalStateException("no voice for sound " + scene.sound());
        };
        final double level = 0.3 + random.nextDouble() * 0.6;
        final double background = 0.002 + random.nextDouble() * 0.006;
        final short[] samples = new short[LENGTH];
        for (int i = 0; i < LENGTH; i++) {
            final double value = level * wave[i] + background * (random.nextDouble() * 2 - 1);
            samples[i] = (short) Math.clamp(Math.round(value * 32767), -32768, 32767);
        }
        return samples;
    }

    /** Writes a clip as WAV: PCM, 16 bits, one channel. */
    public static void write(final short[] samples, final Path file) throws IOException {
        final int bytes = 2 * samples.length;
        final ByteBuffer wav = ByteBuffer.allocate(WAV_HEADER + bytes).order(ByteOrder.LITTLE_ENDIAN);
        wav.put(ascii("RIFF")).putInt(WAV_HEADER - 8 + bytes).put(ascii("WAVE"));
        wav.put(ascii("fmt ")).putInt(16).putShort((short) 1).putShort((short) 1);
        wav.putInt(RATE).putInt(2 * RATE).putShort((short) 2).putShort((short) 16);
        wav.put(ascii("data")).putInt(bytes);
        wav.asShortBuffer().put(samples);
        Files.write(file, wav.array());
    }

    private static double[] beep(final RandomGenerator random) {
        final double pitch = 500 + random.nextDouble() * 400;
        final double phase = random.nextDouble();
        final double[] wave = new double[LENGTH];
        for (int i = 0; i < LENGTH; i++) {
            wave[i] = sine(pitch * i / RATE + phase);
        }
        return wave;
    }

    private static double[] siren(final RandomGenerator random) {
        final double middle = 900 + random.nextDouble() * 300;
        final double swing = middle * (0.45 + random.nextDouble() * 0.15);
        final double rate = 1.6 + random.nextDouble() * 0.8;
        final double start = 0.75 + random.nextDouble() * 0.2;
        final double[] wave = new double[LENGTH];
        double turns = random.nextDouble();
        for (int i = 0; i < LENGTH; i++) {
            wave[i] = 0.7 * sine(turns) + 0.3 * sine(3 * turns);
            turns += (middle + swing * sine(rate * i / RATE + start)) / RATE;
        }
        return wave;
    }

    private static double[] hiss(final RandomGenerator random) {
        final double[] wave = new double[LENGTH];
        for (int i = 0; i < LENGTH; i++) {
            wave[i] = random.nextDouble() * 2 - 1;
        }
        return wave;
    }

    private static double[] knock(final RandomGenerator random) {
        final double pitch = 150 + random.nextDouble() * 150;
        final double perSecond = 3 + random.nextDouble() * 3;
        final double start = random.nextDouble() * 0.5;
        final double[] wave = new double[LENGTH];
        for (int i = 0; i < LENGTH; i++) {
            final double beat = perSecond * i / RATE + start;
            final double since = (beat - Math.floor(beat)) / perSecond;
            wave[i] = StrictMath.exp(-since / 0.02) * sine(pitch * since + 0.25);
        }
        return wave;
    }

    private static double[] bell(final RandomGenerator random) {
        final double pitch = 1400 + random.nextDouble() * 600;
        final double decay = 0.35 + random.nextDouble() * 0.3;
        final double[] wave = new double[LENGTH];
        for (final double partial : BELL_PARTIALS) {
            final double phase = random.nextDouble();
            for (int i = 0; i < LENGTH; i++) {
                final double time = (double) i / RATE;
                wave[i] += 0.25 * StrictMath.exp(-time / decay) * sine(pitch * partial * time + phase);
            }
        }
        return wave;
    }

    private static double[] buzz(final RandomGenerator random) {
        final double pitch = 90 + random.nextDouble() * 70;
        final double phase = random.nextDouble();
        final double[] wave = new double[LENGTH];
        for (int i = 0; i < LENGTH; i++) {
            final double turns = pitch * i / RATE + phase;
            wave[i] = 0.8 * (2 * (turns - Math.floor(turns)) - 1);
        }
        return wave;
    }

    /** StrictMath, so that one seed gives the same bytes on every machine. */
    private static double sine(final double turns) {
        return StrictMath.sin(2 * Math.PI * (turns - Math.floor(turns)));
    }

    private static byte[] ascii(final String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }
}
