package dev.equipoise.bench.pairs;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.bench.testbed.ConflictWorld;
import dev.equipoise.bench.testbed.ItemWriter;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Audio;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Part;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.steering.vector.PromptPair;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PairReaderTest {
    private static final String GOOD = """
            {"positive": {"prompt": "a"}, "negative": {"prompt": "b"}}
            """;

    @TempDir
    static Path directory;

    private static Path image;
    private static Path audio;

    @BeforeAll
    static void write() {
        final Path items = ItemWriter.write(directory.resolve("media"), ConflictWorld.generate(3, 1));
        image = items.resolveSibling("3-000000.png");
        audio = items.resolveSibling("3-000000.wav");
    }

    private static Path file(final String... lines) throws IOException {
        return Files.writeString(directory.resolve("pairs.jsonl"), String.join("\n", lines));
    }

    private static BadInputException assertRefused(final Path file) {
        return assertThrows(BadInputException.class, () -> PairReader.read(file));
    }

    @Test
    void sidesInheritWhatStandsBesideThem() throws IOException {
        final List<PromptPair> pairs = PairReader.read(file(
                """
                {"image": "media/3-000000.png", "audio": "media/3-000000.wav", "context": "note", "prompt": "which?", \
                "positive": {"system": "look"}, "negative": {"system": "read", "context": "another", "prompt": "what?"}}
                """,
                "",
                GOOD));
        assertEquals(2, pairs.size());
        assertEquals(
                Prompt.builder().system("look").context("note").image(Image.read(image)).audio(Audio.read(audio))
                        .text("which?").build(),
                pairs.getFirst().positive());
        assertEquals(
                Prompt.builder().system("read").context("another").image(Image.read(image)).audio(Audio.read(audio))
                        .text("what?").build(),
                pairs.getFirst().negative());
        assertEquals(Prompt.builder().text("b").build(), pairs.getLast().negative());
        assertEquals(1, PairReader.read(file("\uFEFF" + GOOD)).size());
    }

    @Test
    void anAnswerBeginsTheModelsTurn() throws IOException {
        final PromptPair pair = PairReader.read(file("""
                {"prompt": "which?", "answer": "(A", "positive": {}, "negative": {"answer": "(B"}}
                """)).getFirst();
        assertEquals(Prompt.builder().text("which?").build().answered("(A"), pair.positive());
        assertEquals(Prompt.builder().text("which?").build().answered("(B"), pair.negative());
    }

    @Test
    void sharedMediaAreHeldOnce() throws IOException {
        final String line = """
                {"image": "media/3-000000.png", "prompt": "p", "positive": {"system": "a"}, "negative": {"system": "b"}}
                """;
        final List<PromptPair> pairs = PairReader.read(file(line, line));
        assertSame(picture(pairs.getFirst().positive()), picture(pairs.getFirst().negative()));
        assertSame(picture(pairs.getFirst().positive()), picture(pairs.getLast().positive()));
    }

    private static Image picture(final Prompt prompt) {
        return prompt.parts().stream()
                .filter(Part.Picture.class::isInstance)
                .map(part -> ((Part.Picture) part).image())
                .findFirst()
                .orElseThrow();
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            {"positive": {"prompt": "a"}, "negative": {"prompt": "b", "promt": "c"}} | $.negative.promt
            {"positive": {"prompt": "a"}, "negative": {"prompt": "b"}, "label": 1} | $.label
            {"positive": {"prompt": "a"}} | $.negative
            {"positive": {"prompt": "a"}, "negative": "b"} | $.negative
            {"positive": {"prompt": "a"}, "negative": {"system": "b"}} | $.negative.prompt
            {"positive": {"prompt": "a"}, "negative": {"prompt": 2}} | $.negative.prompt
            {"positive": {"prompt": "a"}, "negative": {"prompt": " "}} | $.negative.prompt
            {"positive": {"prompt": "a"}, "negative": {"prompt": null}, "prompt": "c"} | $.negative.prompt
            {"positive": {"prompt": "a"}, "negative": {"prompt": "b", "prompt": "c"}} | $.negative.prompt
            {"positive": {"prompt": "a"}, "negative": {"prompt": "b"}, "image": "none.png"} | $.image
            {"positive": {"prompt": "a", "audio": "pairs.jsonl"}, "negative": {"prompt": "b"}} | $.positive.audio
            {"positive": {"prompt": "a", "image": "\\u0000"}, "negative": {"prompt": "b"}} | $.positive.image
            {"positive": {"prompt": "a"}, "negative": {"prompt": "a"}} | line 3
            {"positive": {"prompt": "a"}, "negative": {"prompt": "\\ud800"}} | line 3, text, character 0
            {"positive": {"prompt": "a"}, "negative": {"prompt": "b"} | line 3 column
            [] | line 3
            """)
    void brokenLinesAreNamed(final String line, final String where) throws IOException {
        final BadInputException e = assertRefused(file(GOOD.strip(), "", line));
        assertTrue(e.where().contains("pairs.jsonl, line 3"), e.getMessage());
        assertTrue(e.where().contains(where), e.getMessage());
    }

    @Test
    void filesWithoutPairsAreRefused() throws IOException {
        assertTrue(assertRefused(file("", " ")).what().contains("no pair"));
        assertTrue(assertRefused(directory.resolve("none.jsonl")).where().contains("none.jsonl"));
        assertRefused(directory);
        final Path latin = directory.resolve("latin.jsonl");
        Files.write(latin, GOOD.replace("a", "é").getBytes(StandardCharsets.ISO_8859_1));
        assertTrue(assertRefused(latin).what().contains("UTF-8"));
    }
}
