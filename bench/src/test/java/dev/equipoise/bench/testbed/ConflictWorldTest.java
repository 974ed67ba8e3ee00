package dev.equipoise.bench.testbed;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class ConflictWorldTest {
    @Test
    void oneSeedGivesIdenticalFiles(@TempDir final Path directory) throws IOException {
        ItemWriter.write(directory.resolve("a"), ConflictWorld.generate(17, 23));
        ItemWriter.write(directory.resolve("b"), ConflictWorld.generate(17, 23));
        try (Stream<Path> files = Files.list(directory.resolve("a"))) {
            for (final Path file : files.toList()) {
                final Path twin = directory.resolve("b").resolve(file.getFileName());
                assertArrayEquals(Files.readAllBytes(file), Files.readAllBytes(twin), file.toString());
            }
        }
    }

    @Property(tries = 8)
    void aLongerRunStartsWithTheShorterOne(@ForAll final long seed, @ForAll @IntRange(min = 1, max = 30) final int n) {
        final List<WorldItem> longer = ConflictWorld.generate(seed, n + 7);
        final List<WorldItem> shorter = ConflictWorld.generate(seed, n);
        for (int i = 0; i < n; i++) {
            assertEquals(longer.get(i).item(), shorter.get(i).item());
            assertArrayEquals(
                    longer.get(i).pixels().orElse(new byte[0]), shorter.get(i).pixels().orElse(new byte[0]));
            assertArrayEquals(
                    longer.get(i).samples().orElse(new short[0]), shorter.get(i).samples().orElse(new short[0]));
        }
    }

    @Test
    void seedsDiffer() {
        final Set<String> texts = new HashSet<>();
        for (int seed = 0; seed < 20; seed++) {
            texts.add(ConflictWorld.generate(seed, 10).stream().map(w -> w.item().question() + w.item().context())
                    .toList().toString());
        }
        assertEquals(20, texts.size());
    }

    @Property(tries = 5)
    void sourcesContradictEachOtherOnlyWhereTheConditionSaysSo(@ForAll final long seed) {
        for (final WorldItem world : ConflictWorld.generate(seed, 60)) {
            final Item item = world.item();
            final Optional<String> shown = item.answerImage().or(item::answerAudio);
            final boolean misled = item.group().equals(Optional.of("misleading-note"));
            final boolean differ = shown.isPresent() && item.answerContext().isPresent()
                    && !shown.equals(item.answerContext());
            assertEquals(item.condition() == Condition.CONFLICT || misled, differ, item.toString());
            final Optional<String> followed = item.group().equals(Optional.of("trust-note"))
                    ? item.answerContext()
                    : shown.or(item::answerContext);
            assertEquals(followed, Optional.of(item.answer()), item.toString());
            assertTrue(item.options().contains(item.answer()), item.toString());
        }
    }

    @Test
    void everyConditionHasItsSources() {
        for (final WorldItem world : ConflictWorld.generate(3, 100)) {
            final Item item = world.item();
            final boolean[] expected = switch (item.condition()) {
                case CONSISTENT, CONFLICT -> new boolean[] {true, true, true};
                case IMAGE_ONLY -> new boolean[] {true, false, false};
                case AUDIO_ONLY -> new boolean[] {false, true, false};
                case TEXT_ONLY -> new boolean[] {false, false, true};
                case ABSENT -> new boolean[] {true, true, item.group().equals(Optional.of("misleading-note"))};
            };
            assertEquals(expected[0], item.image().isPresent(), item.toString());
            assertEquals(expected[1], item.audio().isPresent(), item.toString());
            assertEquals(expected[2], item.context().isPresent(), item.toString());
            assertEquals(expected[0], world.pixels().isPresent());
            assertEquals(expected[1], world.samples().isPresent());
        }
    }

    @Test
    void kindsAttributesAndAnswersAreBalanced() {
        final int n = 1200;
        final Map<String, Integer> groups = new HashMap<>();
        final Map<String, Integer> answers = new HashMap<>();
        for (final WorldItem world : ConflictWorld.generate(11, n)) {
            final Item item = world.item();
            groups.merge(item.condition().label() + "/" + item.group().orElseThrow(), 1, Integer::sum);
            answers.merge(item.answer(), 1, Integer::sum);
        }
        assertEquals(n / 10, groups.get("conflict/no-instruction"));
        assertEquals(n / 10, groups.get("conflict/trust-note"));
        assertEquals(n / 10, groups.get("conflict/trust-picture") + groups.get("conflict/trust-sound"));
        assertEquals(n / 10, answers.get("yes"));
        assertEquals(n / 5, answers.get("no"));
        for (final Attribute attribute : Attribute.values()) {
            final int total = attribute.words().stream().mapToInt(answers::get).sum();
            final double mean = (double) total / attribute.words().size();
            // Uniform draws: five standard deviations of a binomial count.
            attribute.words().forEach(word -> assertTrue(
                    Math.abs(answers.get(word) - mean) <= 5 * Math.sqrt(mean), word + " " + answers.get(word)));
        }
    }

    @Test
    void instructionsStandInAllThreePlaces() {
        final Set<String> places = new HashSet<>();
        for (final WorldItem world : ConflictWorld.generate(5, 200)) {
            final Item item = world.item();
            final boolean instructed = item.group().orElseThrow().startsWith("trust-");
            assertTrue(instructed || item.system().isEmpty());
            if (instructed) {
                final String question = item.question();
                places.add(item.system().isPresent() ? "system"
                        : question.indexOf('?') == question.length() - 1 ? "before" : "after");
            }
        }
        assertEquals(Set.of("system", "before", "after"), places);
    }

    @Test
    void picturesShowWhatTheyAreMadeFrom() {
        final byte[] red = Picture.draw(new Scene(0, 0, 0), new SplittableRandom(1));
        final byte[] blue = Picture.draw(new Scene(2, 0, 0), new SplittableRandom(1));
        assertEquals(Picture.SIZE * Picture.SIZE * 3, red.length);
        assertNotEquals(List.of(red), List.of(blue));
        final int middle = (Picture.SIZE / 2 * Picture.SIZE + Picture.SIZE / 2) * 3;
        assertTrue((red[middle] & 255) > (red[middle + 2] & 255));
        assertFalse((blue[middle] & 255) > (blue[middle + 2] & 255));
    }
}
