package dev.equipoise.runtime.picture;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.picture.Transformation.Adjustment;
import dev.equipoise.runtime.picture.Transformation.Blackout;
import dev.equipoise.runtime.picture.Transformation.ColourJitter;
import dev.equipoise.runtime.picture.Transformation.GaussianBlur;
import dev.equipoise.runtime.picture.Transformation.HorizontalFlip;
import dev.equipoise.runtime.picture.Transformation.ResizedCrop;
import dev.equipoise.runtime.picture.Transformation.Rotation;
import dev.equipoise.runtime.picture.Transformation.VerticalFlip;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.zip.CRC32;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.DoubleRange;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is done to pixels, against plain formulas and against what Pillow makes of the same picture. */
class TransformationTest {
    private static final List<Adjustment> ORDER = List.of(Adjustment.values());

    private static Pixels noise(final int width, final int height, final long seed) {
        final byte[] rgb = new byte[3 * width * height];
        new Random(seed).nextBytes(rgb);
        return Pixels.of(width, height, rgb);
    }

    private static Pixels flat(final int width, final int height, final int red, final int green, final int blue) {
        final byte[] rgb = new byte[3 * width * height];
        for (int i = 0; i < rgb.length; i += 3) {
            rgb[i] = (byte) red;
            rgb[i + 1] = (byte) green;
            rgb[i + 2] = (byte) blue;
        }
        return Pixels.of(width, height, rgb);
    }

    private static List<Integer> colour(final Pixels picture, final int x, final int y) {
        return List.of(picture.at(x, y, 0), picture.at(x, y, 1), picture.at(x, y, 2));
    }

    private static long crc(final Pixels picture) {
        final CRC32 crc = new CRC32();
        crc.update(picture.rgb());
        return crc.getValue();
    }

    /** Checksums of what Pillow 12.3 makes of this picture: rotate, ImageEnhance, to HSV and back, resize. */
    @Test
    void itIsToTheByteWhatPillowMakes() {
        final byte[] rgb = new byte[3 * 61 * 47];
        for (int i = 0; i < rgb.length; i++) {
            rgb[i] = (byte) (i * 37 + i * i * 11);
        }
        final Pixels picture = Pixels.of(61, 47, rgb);
        assertEquals(3885192943L, crc(new Rotation(37.25).apply(picture)));
        assertEquals(2844234387L, crc(new Rotation(-118.5).apply(picture)));
        assertEquals(1625031061L, crc(new Rotation(179.9).apply(picture)));
        final List<Adjustment> first = List.of(
                Adjustment.CONTRAST, Adjustment.HUE, Adjustment.BRIGHTNESS, Adjustment.SATURATION);
        assertEquals(3729482929L, crc(new ColourJitter(first, 0.625f, 1.75f, 1.5f, 0.31).apply(picture)));
        final List<Adjustment> second = List.of(
                Adjustment.SATURATION, Adjustment.BRIGHTNESS, Adjustment.HUE, Adjustment.CONTRAST);
        assertEquals(2241124043L, crc(new ColourJitter(second, 1.875f, 0.375f, 0.25f, -0.44).apply(picture)));
        final Pixels crop = new ResizedCrop(new Box(3, 5, 50, 40)).apply(picture);
        assertEquals(334186786L, crc(crop));
        assertEquals(2339039030L, crc(Filters.resized(crop, 20, 11)));
    }

    @Property(tries = 50)
    void aFlipTwiceIsNone(@ForAll @IntRange(min = 1, max = 20) final int width,
            @ForAll @IntRange(min = 1, max = 20) final int height, @ForAll final long seed) {
        final Pixels picture = noise(width, height, seed);
        final Pixels mirrored = new HorizontalFlip().apply(picture);
        final Pixels turned = new VerticalFlip().apply(picture);
        assertEquals(picture, new HorizontalFlip().apply(mirrored));
        assertEquals(picture, new VerticalFlip().apply(turned));
        assertEquals(colour(picture, 0, 0), colour(mirrored, width - 1, 0));
        assertEquals(colour(picture, width - 1, 0), colour(turned, width - 1, height - 1));
        assertEquals(picture, new Rotation(0).apply(picture));
        assertEquals(picture, new Rotation(360).apply(picture));
        assertEquals(new VerticalFlip().apply(mirrored), new Rotation(180).apply(picture));
        assertEquals(new Rotation(-180).apply(picture), new Rotation(180).apply(picture));
    }

    @Property(tries = 30)
    void aQuarterTurnOfASquareIsExact(@ForAll @IntRange(min = 1, max = 20) final int side, @ForAll final long seed) {
        final Pixels picture = noise(side, side, seed);
        final Pixels turned = new Rotation(90).apply(picture);
        for (int y = 0; y < side; y++) {
            for (int x = 0; x < side; x++) {
                // Counter-clockwise: the right column becomes the top row.
                assertEquals(colour(picture, side - 1 - y, x), colour(turned, x, y));
            }
        }
        assertEquals(picture, new Rotation(-90).apply(turned));
    }

    @Property(tries = 50)
    void aRotationTakesTheNearestPixelOrBlack(
            @ForAll @DoubleRange(min = -180, max = 180) final double degrees, @ForAll final long seed) {
        final Pixels picture = noise(23, 16, seed);
        final Pixels turned = new Rotation(degrees).apply(picture);
        final double cos = Math.cos(Math.toRadians(degrees));
        final double sin = Math.sin(Math.toRadians(degrees));
        for (int y = 0; y < 16; y++) {
            for (int x = 0; x < 23; x++) {
                final double right = x + 0.5 - 11.5;
                final double down = y + 0.5 - 8;
                final double fromX = 11.5 + cos * right - sin * down;
                final double fromY = 8 + sin * right + cos * down;
                // Places are sums of up to 23 + 16 steps, each rounded to 2^-17: nearer to a border either side may do.
                if (fromBorder(fromX) > 1e-3 && fromBorder(fromY) > 1e-3) {
                    final boolean inside = fromX >= 0 && fromX < 23 && fromY >= 0 && fromY < 16;
                    assertEquals(
                            inside ? colour(picture, (int) fromX, (int) fromY) : List.of(0, 0, 0),
                            colour(turned, x, y));
                }
            }
        }
    }

    private static double fromBorder(final double place) {
        return Math.abs(place - Math.rint(place));
    }

    @Test
    void hueTurnsColoursRoundTheirCircle() {
        final Pixels red = flat(2, 2, 255, 0, 0);
        for (final double half : new double[] {-0.5, 0.5}) {
            // Half of 255 steps is 127 of them or, over the end of the byte, 129: 2 steps of 6 in 255 off, at most.
            final List<Integer> cyan = colour(new ColourJitter(ORDER, 1, 1, 1, half).apply(red), 0, 0);
            assertTrue(cyan.get(0) <= 12 && cyan.get(1) >= 243 && cyan.get(2) >= 243, cyan.toString());
        }
        assertEquals(List.of(0, 255, 0), colour(new ColourJitter(ORDER, 1, 1, 1, 1 / 3.0 + 1e-9).apply(red), 1, 1));
        final List<Integer> blue = colour(new ColourJitter(ORDER, 1, 1, 1, -1 / 3.0).apply(red), 1, 1);
        assertTrue(blue.get(0) <= 12 && blue.get(1) <= 12 && blue.get(2) == 255, blue.toString());
    }

    @Property(tries = 100)
    void greyStaysGrey(
            @ForAll @IntRange(min = 0, max = 255) final int grey,
            @ForAll @DoubleRange(min = 0, max = 2) final double factor,
            @ForAll @DoubleRange(min = -0.5, max = 0.5) final double hue) {
        final Pixels picture = flat(3, 2, grey, grey, grey);
        final float f = (float) factor;
        // A flat picture is its own mean, and has no colour.
        assertEquals(picture, new ColourJitter(ORDER, 1, f, f, hue).apply(picture));
        final int bright = (int) Math.min(255, f * grey);
        assertEquals(flat(3, 2, bright, bright, bright), new ColourJitter(ORDER, f, 1, 1, hue).apply(picture));
    }

    @Test
    void atStrengthZeroNothingIsLeftOfWhatIsAdjusted() {
        final Pixels picture = noise(9, 7, 3);
        assertEquals(flat(9, 7, 0, 0, 0), new ColourJitter(ORDER, 0, 1, 1, 0).apply(picture));
        final Pixels even = new ColourJitter(ORDER, 1, 0, 1, 0).apply(picture);
        final int mean = even.at(0, 0, 0);
        assertEquals(flat(9, 7, mean, mean, mean), even);
        assertEquals(Set.of(), coloured(new ColourJitter(ORDER, 1, 1, 0, 0).apply(picture)));
        assertThrows(
                IllegalArgumentException.class,
                () -> new ColourJitter(List.of(Adjustment.HUE, Adjustment.HUE), 1, 1, 1, 0));
    }

    private static Set<List<Integer>> coloured(final Pixels picture) {
        final Set<List<Integer>> coloured = new HashSet<>();
        for (int y = 0; y < picture.height(); y++) {
            for (int x = 0; x < picture.width(); x++) {
                final List<Integer> pixel = colour(picture, x, y);
                if (Set.copyOf(pixel).size() > 1) {
                    coloured.add(pixel);
                }
            }
        }
        return coloured;
    }

    @Property(tries = 20)
    void aBlurIsTheSumUnderTheSquareKernel(
            @ForAll @IntRange(min = 7, max = 20) final int width,
            @ForAll @IntRange(min = 7, max = 20) final int height,
            @ForAll @DoubleRange(min = 1.5, max = 2) final double sigma,
            @ForAll final long seed) {
        final double[] weights = Filters.gaussian(13, sigma);
        // 13 roundings of terms below 1.
        assertEquals(1, Arrays.stream(weights).sum(), 13 * Math.ulp(1.0));
        assertEquals(Math.exp(-0.5 / sigma / sigma), weights[7] / weights[6], 1e-15);
        final Pixels picture = noise(width, height, seed);
        final Pixels blurred = new GaussianBlur(sigma).apply(picture);
        for (int y = 0; y < height; y++) {
            for (int x = 0; x < width; x++) {
                double sum = 0;
                for (int i = -6; i <= 6; i++) {
                    for (int j = -6; j <= 6; j++) {
                        sum += weights[6 + i] * weights[6 + j]
                                * picture.at(reflected(x + j, width), reflected(y + i, height), 1);
                    }
                }
                // The rounding to bytes, and 169 terms of at most 255 in another order.
                assertEquals(sum, blurred.at(x, y, 1), 0.5 + 1e-10);
            }
        }
    }

    private static int reflected(final int at, final int size) {
        return at < 0 ? -at : at >= size ? 2 * size - 2 - at : at;
    }

    @ParameterizedTest
    @CsvSource({"40, 30", "13, 13", "6, 5", "2, 1", "1, 1"})
    void whatIsFlatStaysFlat(final int width, final int height) {
        final Pixels picture = flat(width, height, 200, 17, 255);
        assertEquals(picture, new GaussianBlur(1.7).apply(picture));
        assertEquals(
                flat(336, 336, 200, 17, 255), new ResizedCrop(new Box(0, 0, width, height)).apply(picture));
        assertEquals(flat(3, 4, 200, 17, 255), Filters.resized(picture, 3, 4));
    }

    @Property(tries = 20)
    void resizingIsTheMeanUnderATriangle(
            @ForAll @IntRange(min = 1, max = 24) final int from, @ForAll @IntRange(min = 1, max = 24) final int to,
            @ForAll final long seed) {
        final Pixels picture = noise(from, from + 2, seed);
        final Pixels resized = Filters.resized(picture, to, to + 3);
        for (int y = 0; y < to + 3; y++) {
            final double[] down = triangle(from + 2, to + 3, y);
            for (int x = 0; x < to; x++) {
                final double[] across = triangle(from, to, x);
                double sum = 0;
                for (int i = 0; i < down.length; i++) {
                    for (int j = 0; j < across.length; j++) {
                        sum += down[i] * across[j] * picture.at(j, i, 2);
                    }
                }
                // Two roundings to bytes; of weights, at most 26 of them, each 2^-23 off.
                assertEquals(sum, resized.at(x, y, 2), 1 + 2 * 26 * 255 * 0x1p-23);
            }
        }
        assertEquals(picture, Filters.resized(picture, from, from + 2));
    }

    private static double[] triangle(final int from, final int to, final int at) {
        final double scale = (double) from / to;
        final double reach = Math.max(1, scale);
        final double[] weights = new double[from];
        double sum = 0;
        for (int i = 0; i < from; i++) {
            weights[i] = Math.max(0, 1 - Math.abs(i + 0.5 - (at + 0.5) * scale) / reach);
            sum += weights[i];
        }
        for (int i = 0; i < from; i++) {
            weights[i] /= sum;
        }
        return weights;
    }

    @Test
    void boxesTurnBlackUpToTheirRightAndBottomEdges() {
        final Pixels picture = flat(5, 4, 9, 9, 9);
        final Pixels black = new Blackout(List.of(new Box(1, 0, 3, 2), new Box(4, 3, 5, 4))).apply(picture);
        final StringBuilder drawn = new StringBuilder();
        for (int y = 0; y < 4; y++) {
            for (int x = 0; x < 5; x++) {
                drawn.append(black.at(x, y, 0) == 0 ? '#' : '.');
            }
            drawn.append(' ');
        }
        assertEquals(".##.. .##.. ..... ....# ", drawn.toString());
        for (final int[] edges : new int[][] {{-1, 0, 2, 2}, {0, -1, 2, 2}, {2, 0, 2, 2}, {0, 3, 2, 2}}) {
            assertThrows(BadInputException.class, () -> new Box(edges[0], edges[1], edges[2], edges[3]));
        }
    }

    @Property(tries = 300)
    void cropsAreWithinThePictureAndTheirRanges(
            @ForAll @IntRange(min = 20, max = 60) final int width,
            @ForAll @IntRange(min = 20, max = 60) final int height,
            @ForAll final long seed) {
        final Box box = ((ResizedCrop) TransformationKind.CROP.draw(new SplittableRandom(seed), width, height)).box();
        assertTrue(box.right() <= width && box.bottom() <= height, box.toString());
        // Both sides are rounded to whole pixels.
        final double w = box.width();
        final double h = box.height();
        assertTrue((w + 0.5) / (h - 0.5) >= 0.75 && (w - 0.5) / (h + 0.5) <= 4 / 3.0, box.toString());
        assertTrue((w + 0.5) * (h + 0.5) >= 0.08 * width * height, box.toString());
        final Pixels crop = new ResizedCrop(box).apply(noise(width, height, seed));
        assertEquals(List.of(336, 336), List.of(crop.width(), crop.height()));
    }

    @ParameterizedTest
    @CsvSource({
        "1000, 9, '494,0,506,9'", "9, 1000, '0,494,9,506'", "1, 1, '0,0,1,1'", "10, 12, '0,0,10,12'",
        "1, 900, '0,449,1,450'"
    })
    void whereNoCropFitsItIsTheMiddle(final int width, final int height, final String box) {
        assertEquals(box, TransformationKind.middle(width, height).toString());
    }

    @Test
    void drawsFillTheirRanges() {
        final SplittableRandom random = new SplittableRandom(5);
        double least = 0;
        double most = 0;
        final Set<List<Adjustment>> orders = new HashSet<>();
        final double[] low = {2, 2, 2, 1};
        final double[] high = {0, 0, 0, -1};
        for (int i = 0; i < 2000; i++) {
            final Rotation rotation = (Rotation) TransformationKind.ROTATION.draw(random, 8, 8);
            least = Math.min(least, rotation.degrees());
            most = Math.max(most, rotation.degrees());
            final GaussianBlur blur = (GaussianBlur) TransformationKind.GAUSSIAN_BLUR.draw(random, 8, 8);
            assertTrue(blur.sigma() >= 1.5 && blur.sigma() < 2, blur.words());
            final ColourJitter jitter = (ColourJitter) TransformationKind.COLOUR_JITTER.draw(random, 8, 8);
            orders.add(jitter.order());
            final double[] drawn = {jitter.brightness(), jitter.contrast(), jitter.saturation(), jitter.hue()};
            for (int k = 0; k < 4; k++) {
                low[k] = Math.min(low[k], drawn[k]);
                high[k] = Math.max(high[k], drawn[k]);
            }
        }
        // 2000 draws that all miss a tenth of the range at one end: 0.9^2000.
        assertTrue(least >= -180 && least < -144 && most <= 180 && most > 144, least + " to " + most);
        for (int k = 0; k < 3; k++) {
            assertTrue(low[k] >= 0 && low[k] < 0.2 && high[k] <= 2 && high[k] > 1.8, low[k] + " to " + high[k]);
        }
        assertTrue(low[3] >= -0.5 && low[3] < -0.4 && high[3] <= 0.5 && high[3] > 0.4, low[3] + " to " + high[3]);
        assertEquals(24, orders.size());
    }
}
