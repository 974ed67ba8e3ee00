package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.procedure.Decoding;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Audio;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Part;
import dev.equipoise.runtime.PixelNoise;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.picture.Box;
import dev.equipoise.runtime.picture.Pixels;
import dev.equipoise.runtime.picture.Transformation;
import dev.equipoise.runtime.picture.TransformationKind;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.Set;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Pictures that are changed before they are preprocessed: from strategy files to logits and words. */
class PictureStrategyTest {
    private static final Limits LIMITS = new Limits(3, List.of());

    @TempDir
    static Path folder;

    private static TinyRig rig;

    @BeforeAll
    static void writeModels() {
        rig = new TinyRig(folder, 103);
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    private static Strategy read(final String json) {
        return Strategies.parse(json.replace('\'', '"'), "s");
    }

    private static Strategy branch(final String variation) {
        return read("{'contrast': {'branches': {'b': {" + variation + "}}, 'coefficients': {'base': 2, 'b': -1}}}");
    }

    private static Image image(final Prompt prompt) {
        return images(prompt).getFirst();
    }

    private static List<Image> images(final Prompt prompt) {
        return prompt.parts().stream()
                .filter(Part.Picture.class::isInstance)
                .map(part -> ((Part.Picture) part).image())
                .toList();
    }

    private static Prompt other(final Strategy strategy, final Prompt prompt, final long seed) {
        return Lowering.lower(strategy, prompt, seed, 4).branches().getLast().prompt();
    }

    private static Image noise(final int width, final int height, final long seed) {
        final byte[] rgb = new byte[3 * width * height];
        new Random(seed).nextBytes(rgb);
        return Image.rgb(width, height, rgb);
    }

    private static Prompt about(final Image... images) {
        final Prompt.Builder prompt = Prompt.builder().text("what");
        Arrays.stream(images).forEach(prompt::image);
        return prompt.build();
    }

    private static Image shown(final Image image, final Transformation transformation) {
        return image.transformed(image.pixels(), transformation);
    }

    private static void assertCombines(final Strategy strategy, final double base, final double weight) {
        final Prompt read = other(strategy, rig.prompt, strategy.sampling().seed());
        final double[] whole = rig.row(rig.prompt);
        final double[] changed = rig.row(read);
        final float[] actual = rig.engine
                .logits(Decoding.prepare(rig.engine, strategy, rig.prompt).plan().request(LIMITS, 0))
                .logits();
        double best = Double.NEGATIVE_INFINITY;
        for (final double value : whole) {
            best = Math.max(best, value);
        }
        final double beta = strategy.contrast().orElseThrow().beta();
        for (int y = 0; y < actual.length; y++) {
            final double expected = base * whole[y] + weight * changed[y];
            if (whole[y] < best + Math.log(beta) - Tolerance.f32(whole)) {
                assertEquals(Float.NEGATIVE_INFINITY, actual[y]);
            } else if (whole[y] > best + Math.log(beta) + Tolerance.f32(whole)) {
                // Errors of both rows, weighted as the rows are.
                assertEquals(expected, actual[y], (base + Math.abs(weight)) * Tolerance.f32(whole));
            }
        }
    }

    @Test
    void ritualAddsTheRowOfATransformedPicture() {
        final Strategy ritual = Strategies.named("ritual");
        final LinearContrast linear = (LinearContrast) ritual.contrast().orElseThrow();
        assertEquals(
                Map.of("transformed", new PictureChange.Drawn(
                        EnumSet.allOf(TransformationKind.class), Optional.empty())),
                Map.of("transformed", linear.branches().get("transformed").picture().orElseThrow()));
        assertEquals(0.1, linear.beta());
        assertCombines(ritual, 1, 3);
        final Prompt read = other(ritual, rig.prompt, 5);
        assertEquals(rig.prompt, TinyRig.asking(rig.prompt, "which colour"));
        assertNotEquals(image(rig.prompt), image(read));
        assertEquals(rig.prompt.without(Modality.IMAGE), read.without(Modality.IMAGE));
        assertEquals(
                Strategy.plain().sampling(), Strategies.find("zero-scale:ritual").sampling());
        final Strategy alone = read("{'contrast': {'method': 'plausibility', 'beta': 0.1}}");
        assertEquals(alone.fingerprint(), Strategies.find("zero-scale:ritual").fingerprint());
    }

    @Test
    void crgTakesTheRowOfABlackRegionAway() {
        final Strategy crg = Strategies.find("crg:4,2,20,30;0,0,3,1");
        assertEquals("crg", crg.name());
        assertEquals(crg, Strategies.parse(crg.toJson(), "round"));
        assertEquals(crg.toJson(), Strategies.parse(crg.toJson(), "round").toJson());
        assertCombines(crg, 2, -1);
        final byte[] rgb = image(rig.prompt).pixels().rgb();
        for (int y = 0; y < 32; y++) {
            for (int x = 0; x < 32; x++) {
                if (x >= 4 && x < 20 && y >= 2 && y < 30 || x < 3 && y < 1) {
                    Arrays.fill(rgb, 3 * (32 * y + x), 3 * (32 * y + x) + 3, (byte) 0);
                }
            }
        }
        assertEquals(Image.rgb(32, 32, rgb), image(other(crg, rig.prompt, 1)));
        assertEquals(Strategy.plain().fingerprint(), Strategies.find("zero-scale:crg:0,0,2,2").fingerprint());
        assertTrue(Strategies.isMade("crg:0,0,2,2"));
        final BadInputException lacking = assertThrows(BadInputException.class, () -> Strategies.find("crg"));
        assertTrue(lacking.remedy().contains("crg:LEFT,TOP,RIGHT,BOTTOM"), lacking.getMessage());
        for (final String boxes : List.of("", "1,2,3", "1,2,3,4;", "a,b,c,d", "1,2,3,4,5", "4,2,4,8", "-1,0,3,3")) {
            assertThrows(BadInputException.class, () -> Strategies.find("crg:" + boxes), boxes);
        }
    }

    @Test
    void equalSeedsGiveEqualPicturesAndAllSixComeUp() {
        final Strategy ritual = Strategies.named("ritual");
        final Image picture = noise(40, 30, 1);
        final PictureChange.Drawn drawn =
                new PictureChange.Drawn(EnumSet.allOf(TransformationKind.class), Optional.empty());
        final Set<Class<?>> kinds = new HashSet<>();
        for (long seed = 0; seed < 60; seed++) {
            final Prompt read = other(ritual, about(picture), seed);
            assertEquals(read, other(ritual, about(picture), seed));
            final Transformation made = drawn.draw(seed, picture.pixels());
            kinds.add(made.getClass());
            assertEquals(shown(picture, made), image(read));
        }
        // One of six that 60 draws miss: 6 (5/6)^60, one in ten thousand; the seeds are these.
        assertEquals(6, kinds.size());
        assertNotEquals(
                drawn.draw(1, picture.pixels()).words() + drawn.draw(2, picture.pixels()).words(),
                drawn.draw(3, picture.pixels()).words() + drawn.draw(4, picture.pixels()).words());
        // The seed of the file comes before the request's.
        final Strategy seeded = branch("'picture': {'draw': 'all', 'seed': 7}");
        assertEquals(other(ritual, about(picture), 7), other(seeded, about(picture), 8));
        // Every picture has a draw of its own.
        final List<Image> both = images(other(ritual, about(picture, picture), 7));
        assertEquals(image(other(ritual, about(picture), 7)), both.get(0));
        assertEquals(image(other(ritual, about(picture), 8)), both.get(1));
    }

    @Test
    void theStrategysSeedDraws() {
        final String json = "{'contrast': {'branches': {'b': {'picture': {'draw': ['rotation']}}},"
                + " 'coefficients': {'base': 1, 'b': 3}}, 'sampling': {'seed': %d}}";
        final Strategy three = read(json.formatted(3));
        assertEquals(
                other(three, rig.prompt, 3),
                Decoding.prepare(rig.engine, three, rig.prompt).plan().branches().getLast().prompt());
        final Answer one = Decoding.run(rig.engine, three, rig.prompt, LIMITS, 5, TokenListener.NONE);
        final Answer again = Decoding.run(rig.engine, three, rig.prompt, LIMITS, 5, TokenListener.NONE);
        assertEquals(one.tokens(), again.tokens());
        assertNotEquals(three.fingerprint(), read(json.formatted(4)).fingerprint());
    }

    @Test
    void aPictureThatIsItsOwnMirrorImageIsAnswered() {
        final byte[] grey = new byte[3 * 32 * 32];
        Arrays.fill(grey, (byte) 99);
        final Strategy flip = branch("'picture': {'draw': 'horizontal-flip'}");
        final Prompt even = about(Image.rgb(32, 32, grey));
        assertEquals(even, other(flip, even, 1));
        final Answer contrasted = Decoding.run(rig.engine, flip, even, LIMITS, 0, TokenListener.NONE);
        // 2 z - z.
        assertEquals(
                Decoding.run(rig.engine, Strategy.plain(), even, LIMITS, 0, TokenListener.NONE).tokens(),
                contrasted.tokens());
    }

    @Test
    void filesAreDecodedAndChangedBeforeTheyAreNoisedAndPreprocessed() throws IOException {
        final Pixels pixels = noise(50, 20, 3).pixels();
        final BufferedImage drawn =
                new BufferedImage(50, 20, BufferedImage.TYPE_INT_RGB);
        for (int i = 0; i < 50 * 20; i++) {
            final int x = i % 50;
            final int y = i / 50;
            drawn.setRGB(x, y, pixels.at(x, y, 0) << 16 | pixels.at(x, y, 1) << 8 | pixels.at(x, y, 2));
        }
        final ByteArrayOutputStream out = new ByteArrayOutputStream();
        assertTrue(ImageIO.write(drawn, "png", out));
        final Prompt file = about(Image.encoded(out.toByteArray(), "drawn.png"));
        final Prompt read =
                other(branch("'picture': {'blackout': '0,0,50,3'}, 'noise': {'step': 40}"), file, 6);
        final Transformation black = new Transformation.Blackout(List.of(new Box(0, 0, 50, 3)));
        assertEquals(about(shown(noise(50, 20, 3), black)).withPixelNoise(new PixelNoise(40, 6)), read);
    }

    @Test
    void aNumberPicksOneMediumAmongPicturesAndSounds() {
        final Prompt two = Prompt.builder().image(noise(8, 8, 1)).audio(Audio.pcm(new float[8000]))
                .image(noise(8, 8, 2)).text("what").build();
        final Transformation black = new Transformation.Blackout(List.of(new Box(1, 1, 3, 3)));
        final String json = "'picture': {'blackout': [[1, 1, 3, 3]], 'media': %d}";
        assertEquals(
                List.of(noise(8, 8, 1), shown(noise(8, 8, 2), black)),
                images(other(branch(json.formatted(2)), two, 1)));
        assertEquals(
                List.of(shown(noise(8, 8, 1), black), shown(noise(8, 8, 2), black)),
                images(other(branch("'picture': {'blackout': '1,1,3,3'}"), two, 1)));
        for (final int none : new int[] {1, 3}) {
            final BadInputException refused = assertThrows(
                    BadInputException.class, () -> Lowering.check(branch(json.formatted(none)), two, 1));
            assertTrue(refused.what().contains("no picture") && refused.where().contains("branch b"),
                    refused.getMessage());
        }
    }

    @Test
    void equalBehaviourHasOneFingerprint() {
        final String all = branch("'picture': {'draw': 'all'}").fingerprint();
        assertEquals(all, branch("'picture': {'draw': ['crop', 'rotation', 'horizontal-flip', 'vertical-flip',"
                + " 'gaussian-blur', 'colour-jitter']}").fingerprint());
        final String flip = branch("'picture': {'draw': 'vertical-flip'}").fingerprint();
        // Nothing of it is drawn.
        assertEquals(flip, branch("'picture': {'draw': 'vertical-flip', 'seed': 5}").fingerprint());
        final String black = branch("'picture': {'blackout': '0,0,4,4'}").fingerprint();
        for (final String same : List.of(
                "[[0, 0, 4, 4]]", "'0,0,4,2;0,2,4,4'", "'0,0,4,4;1,1,3,4'", "'2,0,4,4;0,0,3,4'",
                "'0,0,2,2;2,0,4,2;0,2,2,4;2,2,4,4'")) {
            assertEquals(black, branch("'picture': {'blackout': " + same + "}").fingerprint(), same);
        }
        final Set<String> others = new HashSet<>(List.of(all, flip, black, branch("'noise': {}").fingerprint()));
        for (final String other : List.of(
                "{'draw': 'all', 'seed': 5}", "{'draw': ['crop']}", "{'draw': ['horizontal-flip']}",
                "{'draw': 'rotation'}", "{'draw': 'rotation', 'seed': 0}", "{'blackout': '0,0,4,5'}",
                "{'blackout': '0,0,4,4;5,5,6,6'}", "{'blackout': '0,0,4,4', 'media': 0}",
                "{'blackout': '0,0,2,2;2,2,4,4'}")) {
            final Strategy strategy = branch("'picture': " + other);
            assertEquals(strategy, Strategies.parse(strategy.toJson(), "round"));
            assertTrue(others.add(strategy.fingerprint()), other);
        }
        assertEquals(
                List.of(new Box(0, 0, 4, 1), new Box(0, 1, 1, 3), new Box(3, 1, 4, 3)),
                new PictureChange.Blackout(
                        List.of(new Box(3, 1, 4, 3), new Box(1, 0, 4, 1), new Box(0, 0, 1, 3)), OptionalInt.empty())
                        .region());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "{}                                          | picture.draw     | that is none",
        "{'draw': 'all', 'blackout': '0,0,1,1'}      | picture.draw     | that is two",
        "{'draw': []}                                | picture.draw     | is empty",
        "{'draw': 'zoom'}                            | picture.draw     | unknown draw",
        "{'draw': 'all', 'media': 0}                 | picture.media    | unknown key",
        "{'blackout': []}                            | picture.blackout | a blackout of nothing",
        "{'blackout': [[1, 2, 3]]}                   | picture.blackout | a box of 3 numbers",
        "{'blackout': [[1, 2, 3.5, 4]]}              | picture.blackout | is not a whole number",
        "{'blackout': [1, 2, 3, 4]}                  | picture.blackout | is not an array",
        "{'blackout': [[1, 2, 99999, 4]]}            | picture.blackout | out of range",
        "{'blackout': [[-1, 2, 3, 4]]}               | picture.blackout | out of range",
        "{'blackout': [[3, 2, 3, 4]]}                | box 3,2,3,4      | holds nothing",
        "{'blackout': '1,2,3'}                       | picture.blackout | not a box",
        "{'blackout': '0,0,1,1', 'seed': 1}          | picture.seed     | unknown key",
    }, quoteCharacter = '~')
    void faultsNameTheirPath(final String json, final String path, final String what) {
        final BadInputException fault =
                assertThrows(BadInputException.class, () -> branch("'picture': " + json));
        assertTrue(fault.where().contains(path), fault.getMessage());
        assertTrue(fault.what().contains(what), fault.getMessage());
        assertTrue(!fault.remedy().isBlank());
    }

    @Test
    void whatDoesNotFitTheRequestIsRefusedBeforeAModelIsLoaded() {
        final Image picture = noise(32, 32, 4);
        final byte[] black = new byte[3 * 32 * 32];
        black[0] = 1;
        final Map<Prompt, String> refused = Map.of(
                rig.prompt.without(Modality.IMAGE), "the prompt has no picture",
                about(noise(20, 32, 4)), "a box that reaches out of the picture",
                about(picture, noise(32, 15, 4)), "a box that reaches out of the picture",
                about(Image.rgb(32, 32, black)), "the picture is black where it is to be blacked out");
        refused.forEach((prompt, what) -> {
            final BadInputException fault = assertThrows(
                    BadInputException.class, () -> Lowering.check(Strategies.find("crg:4,4,21,16"), prompt, 1));
            assertTrue(fault.what().contains(what), fault.getMessage());
            assertTrue(fault.where().contains("blacked-out") && !fault.remedy().isBlank(), fault.getMessage());
        });
        final BadInputException blind = assertThrows(
                BadInputException.class,
                () -> Lowering.check(Strategies.named("ritual"), rig.prompt.without(Modality.IMAGE), 1));
        assertTrue(blind.what().contains("no picture"), blind.getMessage());
        // A choice of tokens is made for the base's columns.
        final String tokens = "'tokens': {'by': 'least-attended'}, 'picture': ";
        assertThrows(BadInputException.class, () -> branch(tokens + "{'draw': 'all'}"));
        Lowering.check(branch(tokens + "{'draw': 'rotation'}"), rig.prompt, 1);
    }

    @Test
    void explanationsSayWhatIsDone() {
        final Plan plan = Lowering.lower(Strategies.find("crg:4,4,20,16"), rig.prompt, 1, 4);
        final Explanation explained = Explanation.of(plan);
        assertEquals("picture:blackout", explained.steps().getFirst().intervention());
        assertEquals(
                "image: 32x32 pixels, black in 4,4,20,16", explained.branches().getLast().differsIn());
        final Plan drawn = Lowering.lower(
                branch("'picture': {'draw': 'horizontal-flip'}, 'noise': {'step': 3, 'seed': 4}"), rig.prompt, 1, 4);
        assertEquals(
                List.of("picture:drawn", "pixel-noise"),
                Explanation.of(drawn).steps().stream().map(Explanation.Step::intervention).limit(2).toList());
        assertEquals(
                "image: 32x32 pixels, mirrored left to right, noised at step 3 with seed 4",
                Explanation.of(drawn).branches().getLast().differsIn());
        final String ritual =
                Explanation.of(Lowering.lower(Strategies.named("ritual"), rig.prompt, 1, 4)).toJson();
        assertTrue(
                ritual.contains(
                        "one of horizontal-flip, vertical-flip, rotation, colour-jitter, gaussian-blur, crop, drawn"),
                ritual);
        assertTrue(ritual.contains("1 base + 3 transformed"), ritual);
    }
}
