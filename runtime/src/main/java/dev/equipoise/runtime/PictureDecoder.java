package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.picture.Pixels;
import java.awt.image.BufferedImage;
import java.awt.image.ColorModel;
import java.awt.image.ComponentColorModel;
import java.awt.image.DataBuffer;
import java.awt.image.Raster;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import javax.imageio.ImageIO;
import javax.imageio.stream.MemoryCacheImageInputStream;

/**
 * Decodes pictures where their pixels are wanted in Java. Lossless files become the very bytes that the encoders read;
 * of JPEG files, which every decoder rounds in its own way, a channel may differ by a few steps.
 */
final class PictureDecoder {
    private static final int BYTE = 8;
    private static final int COLOURS = 3;
    private static final String REMEDY = "give a complete PNG, JPEG, GIF or BMP file of grey or RGB pixels";

    private PictureDecoder() {}

    static Pixels decode(final byte[] data, final String name) {
        final BufferedImage image;
        try {
            image = ImageIO.read(new MemoryCacheImageInputStream(new ByteArrayInputStream(data)));
        } catch (final IOException | RuntimeException e) {
            throw new BadInputException("picture that cannot be decoded", name, REMEDY, e);
        }
        if (image == null) {
            throw new BadInputException("picture that cannot be decoded", name, REMEDY);
        }
        final byte[] rgb = new byte[COLOURS * image.getWidth() * image.getHeight()];
        if (!samples(image, rgb)) {
            colours(image, rgb);
        }
        return Pixels.of(image.getWidth(), image.getHeight(), rgb);
    }

    // As they are: a colour model would convert grey, and what has a profile, to sRGB.
    private static boolean samples(final BufferedImage image, final byte[] rgb) {
        final ColorModel model = image.getColorModel();
        final int type = model.getTransferType();
        if (!(model instanceof ComponentColorModel)
                || model.isAlphaPremultiplied()
                || type != DataBuffer.TYPE_BYTE && type != DataBuffer.TYPE_USHORT) {
            return false;
        }
        final int shift = model.getComponentSize(0) - BYTE;
        final int colours = model.getNumColorComponents();
        if (shift < 0 || colours != 1 && colours != COLOURS) {
            return false;
        }
        final Raster raster = image.getRaster();
        final int bands = raster.getNumBands();
        int at = 0;
        int[] row = null;
        for (int y = 0; y < raster.getHeight(); y++) {
            row = raster.getPixels(0, y, raster.getWidth(), 1, row);
            for (int x = 0; x < raster.getWidth(); x++) {
                for (int c = 0; c < COLOURS; c++) {
                    rgb[at++] = (byte) (row[bands * x + (colours == 1 ? 0 : c)] >> shift);
                }
            }
        }
        return true;
    }

    // Palettes and packed pixels.
    private static void colours(final BufferedImage image, final byte[] rgb) {
        int at = 0;
        final int[] row = new int[image.getWidth()];
        for (int y = 0; y < image.getHeight(); y++) {
            image.getRGB(0, y, row.length, 1, row, 0, row.length);
            for (final int colour : row) {
                for (int c = COLOURS - 1; c >= 0; c--) {
                    rgb[at++] = (byte) (colour >> BYTE * c);
                }
            }
        }
    }
}
