package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Sound files are whole, or refused before a decoder takes what there is of them for all. */
class AudioTest {
    private static final int SAMPLES = 100;

    // 16 kHz, mono, 16 bits, with a chunk of odd length before the samples.
    private static byte[] wave(final int declared) {
        final ByteBuffer out = ByteBuffer.allocate(56 + 2 * SAMPLES).order(ByteOrder.LITTLE_ENDIAN);
        tag(out, "RIFF").putInt(48 + 2 * SAMPLES);
        tag(out, "WAVE");
        tag(out, "fmt ").putInt(16).putShort((short) 1).putShort((short) 1).putInt(16_000).putInt(32_000)
                .putShort((short) 2).putShort((short) 16);
        tag(out, "LIST").putInt(3).putInt(0);
        tag(out, "data").putInt(declared);
        return out.array();
    }

    private static ByteBuffer tag(final ByteBuffer out, final String name) {
        return out.put(name.getBytes(StandardCharsets.US_ASCII));
    }

    private static String refusal(final byte[] data) {
        return assertThrows(BadInputException.class, () -> Audio.encoded(data, "x.wav")).what();
    }

    @Test
    void wholeFilesAreTaken() {
        assertEquals("Audio[x.wav]", Audio.encoded(wave(2 * SAMPLES), "x.wav").toString());
        // What was written to a pipe, by a program that could not go back to fill the length in.
        assertEquals("Audio[x.wav]", Audio.encoded(wave(-1), "x.wav").toString());
    }

    @ParameterizedTest
    @ValueSource(ints = {12, 20, 36, 44, 55, 56, 72, 255})
    void cutFilesAreRefused(final int length) {
        final String what = refusal(Arrays.copyOf(wave(2 * SAMPLES), length));
        assertTrue(what.startsWith("cut sound") || what.equals("sound without samples"), what);
    }

    @Test
    void filesWithoutSamplesOrTheirFormatAreRefused() {
        assertEquals("sound without samples", refusal(wave(0)));
        assertEquals("cut sound: a chunk of 64000 bytes, of which 200 are there", refusal(wave(64_000)));
        final byte[] formless = wave(2 * SAMPLES);
        formless[12] = 'F';
        assertEquals("sound without a format", refusal(formless));
    }
}
