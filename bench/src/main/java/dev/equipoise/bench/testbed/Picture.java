package dev.equipoise.bench.testbed;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.random.RandomGenerator;
import javax.imageio.ImageIO;

/**
 * A 32 x 32 picture of one coloured figure on a grey ground. The figure is anti-aliased, upright, 18 to 28 pixels
 * across and lies anywhere at least one pixel inside the border; ground (112 to 144), colour (each channel up to 14
 * off) and every pixel (up to 4 off) vary.
 */
public final class Picture {
    /** Width and height in pixels: exactly what the testbed's vision encoder takes, so nothing is ever resized. */
    public static final int SIZE = 32;

    private static final int SUPERSAMPLES = 4;
    private static final int[][] RGB = {
        {220, 40, 40}, {40, 165, 60}, {40, 80, 220}, {240, 225, 50},
        {245, 140, 20}, {140, 50, 170}, {20, 20, 20}, {245, 245, 245},
    };

    private Picture() {
    }

    /** The picture of a scene: {@code SIZE * SIZE * 3} bytes, rows from the top, red, green, blue. */
    public static byte[] draw(final Scene scene, final RandomGenerator random) {
        final double ground = 112 + random.nextDouble() * 32;
        final double[] ink = new double[3];
        for (int c = 0; c < 3; c++) {
            ink[c] = RGB[scene.colour()][c] + (random.nextDouble() * 2 - 1) * 14;
        }
        final double radius = 9 + random.nextDouble() * 5;
        final double room = SIZE / 2.0 - 1 - radius;
        final double centreX = SIZE / 2.0 + (random.nextDouble() * 2 - 1) * room;
        final double centreY = SIZE / 2.0 + (random.nextDouble() * 2 - 1) * room;
        final byte[] pixels = new byte[SIZE * SIZE * 3];
        for (int y = 0; y < SIZE; y++) {
            for (int x = 0; x < SIZE; x++) {
                final double cover =
                        coverage(scene.shape(), (x - centreX) / radius, (y - centreY) / radius, 1 / radius);
                for (int c = 0; c < 3; c++) {
                    final double value = ground + cover * (ink[c] - ground) + (random.nextDouble() * 2 - 1) * 4;
                    pixels[(y * SIZE + x) * 3 + c] = (byte) Math.clamp(Math.round(value), 0, 255);
                }
            }
        }
        return pixels;
    }

    /** Writes such a picture as PNG. */
    public static void write(final byte[] pixels, final Path file) throws IOException {
        final BufferedImage image = new BufferedImage(SIZE, SIZE, BufferedImage.TYPE_INT_RGB);
        for (int i = 0; i < SIZE * SIZE; i++) {
            final int rgb = (pixels[3 * i] & 255) << 16 | (pixels[3 * i + 1] & 255) << 8 | pixels[3 * i + 2] & 255;
            image.setRGB(i % SIZE, i / SIZE, rgb);
        }
        if (!ImageIO.write(image, "png", file.toFile())) {
            throw new IOException("this JDK has no PNG writer");
        }
    }

    /** The share of the pixel with its corner at (u, v) that the figure covers; unit: the figure's half width. */
    private static double coverage(final int shape, final double u, final double v, final double pixel) {
        int hits = 0;
        for (int i = 0; i < SUPERSAMPLES; i++) {
            for (int j = 0; j < SUPERSAMPLES; j++) {
                if (inside(shape, u + (i + 0.5) * pixel / SUPERSAMPLES, v + (j + 0.5) * pixel / SUPERSAMPLES)) {
                    hits++;
                }
            }
        }
        return (double) hits / (SUPERSAMPLES * SUPERSAMPLES);
    }

    private static boolean inside(final int shape, final double u, final double v) {
        final double distance = StrictMath.hypot(u, v);
        return switch (Attribute.SHAPE.words().get(shape)) {
            case "circle" -> distance <= 1;
            case "square" -> Math.abs(u) <= 0.95 && Math.abs(v) <= 0.95;
            case "triangle" -> v <= 0.9 && v >= -0.9 && Math.abs(u) <= (v + 0.9) / 1.8;
            case "cross" -> Math.max(Math.abs(u), Math.abs(v)) <= 1 && Math.min(Math.abs(u), Math.abs(v)) <= 0.3;
            case "ring" -> distance <= 1 && distance >= 0.58;
            default -> throw new IllegalStateException("no outline for shape " + shape);
        };
    }
}
