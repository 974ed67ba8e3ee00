package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Iterator;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;
import javax.imageio.stream.MemoryCacheImageInputStream;

/** Recognises pictures and sounds by their first bytes, so that the native decoders only see their own formats. */
final class MediaSniffer {
    /** Width and height in pixels. */
    record Size(int width, int height) {
        @Override
        public String toString() {
            return width + " x " + height;
        }
    }

    private static final String WHOLE_WAVE = "use a complete WAV file";
    private static final long UNKNOWN_SIZE = 0xFFFF_FFFFL;

    private MediaSniffer() {}

    static Size picture(final byte[] data, final String name) {
        // Not by way of a file, which ImageIO would make for it.
        try (ImageInputStream in = new MemoryCacheImageInputStream(new ByteArrayInputStream(data))) {
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
        if (wav) {
            wholeWave(data, name);
        }
    }

    // The decoder would take what there is of a cut file for all of it.
    private static void wholeWave(final byte[] data, final String name) {
        final ByteBuffer in = ByteBuffer.wrap(data).order(ByteOrder.LITTLE_ENDIAN);
        boolean described = false;
        long at = 12;
        while (at + 8 <= data.length) {
            final long size = Integer.toUnsignedLong(in.getInt((int) at + 4));
            final boolean samples = starts(data, (int) at, "data");
            described |= starts(data, (int) at, "fmt ");
            at += 8;
            // Who writes to a pipe does not know the length, and says so.
            final boolean open = samples && size == UNKNOWN_SIZE && at < data.length;
            if (!open && size > data.length - at) {
                throw new BadInputException(
                        "cut sound: a chunk of " + size + " bytes, of which " + (data.length - at) + " are there",
                        name, WHOLE_WAVE);
            }
            if (samples) {
                if (!described || size == 0) {
                    throw new BadInputException(
                            described ? "sound without samples" : "sound without a format", name, WHOLE_WAVE);
                }
                return;
            }
            // Chunks begin at even places.
            at += size + (size & 1);
        }
        throw new BadInputException("sound without samples", name, WHOLE_WAVE);
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
