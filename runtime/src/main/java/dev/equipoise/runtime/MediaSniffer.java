package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;

/** Recognises pictures and sounds by their first bytes, so that the native decoders only see their own formats. */
final class MediaSniffer {
    /** Width and height in pixels. */
    record Size(int width, int height) {
        @Override
        public String toString() {
            return width + " x " + height;
        }
    }

    private MediaSniffer() {}

    static Size picture(final byte[] data, final String name) {
        try (ImageInputStream in = ImageIO.createImageInputStream(new ByteArrayInputStream(data))) {
            final Iterator<ImageReader> readers = ImageIO.getImageReaders(in);
            if (readers.hasNext()) {
                final ImageReader reader = readers.next();
                try {
                    reader.setInput(in, true, true);
                    return new Size(reader.getWidth(0), reader.getHeight(0));
                } finally {
                    reader.dispose();
                }
            }
        } catch (final IOException | RuntimeException e) {
            throw new BadInputException("picture with a broken header", name, "use a PNG, JPEG, GIF or BMP file", e);
        }
        throw new BadInputException("not a picture", name, "use a PNG, JPEG, GIF or BMP file");
    }

    static void sound(final byte[] data, final String name) {
        final boolean wav = starts(data, 0, "RIFF") && starts(data, 8, "WAVE");
        final boolean flac = starts(data, 0, "fLaC");
        final boolean mp3 = starts(data, 0, "ID3")
                || data.length > 1 && (data[0] & 0xFF) == 0xFF && (data[1] & 0xE0) == 0xE0;
        if (!wav && !flac && !mp3) {
            throw new BadInputException("not a sound", name, "use a WAV, MP3 or FLAC file");
        }
    }

    private static boolean starts(final byte[] data, final int at, final String magic) {
        final byte[] expected = magic.getBytes(StandardCharsets.US_ASCII);
        if (data.length < at + expected.length) {
            return false;
        }
        for (int i = 0; i < expected.length; i++) {
            if (data[at + i] != expected[i]) {
                return false;
            }
        }
        return true;
    }
}
