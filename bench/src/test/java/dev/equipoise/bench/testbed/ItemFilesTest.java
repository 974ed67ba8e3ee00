package dev.equipoise.bench.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class ItemFilesTest {
    private static final String GOOD =
            "{\"id\":\"a\",\"question\":\"q?\",\"answer\":\"red\",\"condition\":\"text-only\",\"context\":\"note\"}";

    @TempDir
    private Path directory;

    @Test
    void whatIsWrittenIsReadAgain() {
        final List<WorldItem> written = ConflictWorld.generate(29, 20);
        final List<Item> read = ItemReader.read(ItemWriter.write(directory, written));
        assertEquals(written.size(), read.size());
        for (int i = 0; i < read.size(); i++) {
            final Item before = written.get(i).item();
            final Item after = read.get(i);
            assertEquals(before.image().map(directory::resolve), after.image());
            assertEquals(before.audio().map(directory::resolve), after.audio());
            assertEquals(
                    List.of(before.id(), before.system(), before.question(), before.options(), before.answer()),
                    List.of(after.id(), after.system(), after.question(), after.options(), after.answer()));
            assertEquals(
                    List.of(before.context(), before.answerImage(), before.answerAudio(), before.answerContext()),
                    List.of(after.context(), after.answerImage(), after.answerAudio(), after.answerContext()));
            assertEquals(List.of(before.condition(), before.group()), List.of(after.condition(), after.group()));
        }
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '~', textBlock = """
            {"id":"b"                                                            | not JSON
            []                                                                   | not a JSON object
            {"id":"b","id":"c"}                                                  | not JSON
            {"id":"b"} 7                                                         | not JSON
            {"id":"b","question":"q","answer":"x"}                               | 'condition' is missing
            {"id":"b","question":"q","answer":"x","condition":"odd"}             | 'odd' is unknown
            {"id":"b","question":" ","answer":"x","condition":"absent"}          | 'question' is empty
            {"id":7,"question":"q","answer":"x","condition":"absent"}            | 'id' is not a string
            {"id":"b","question":"q","answer":"x","condition":"absent","options":"x"}   | not an array
            {"id":"b","question":"q","answer":"x","condition":"absent","options":[1]}   | else than strings
            {"id":"b","question":"q","answer":"x","condition":"absent","image":"no.png"} | names no file
            {"id":"a","question":"q","answer":"x","condition":"absent"}          | there twice
            """)
    void aBrokenLineIsNamedByItsNumber(final String line, final String what) throws IOException {
        final Path file = file(GOOD + "\n\n" + line + "\n" + GOOD.replace("\"a\"", "\"z\"") + "\n");
        final BadInputException error = assertThrows(BadInputException.class, () -> ItemReader.read(file));
        assertTrue(error.where().endsWith("line 3"), error.getMessage());
        assertTrue(error.what().contains(what), error.getMessage());

        final ItemReader.Result result = ItemReader.read(file, true);
        assertEquals(List.of("a", "z"), result.items().stream().map(Item::id).toList());
        assertEquals(List.of(3), result.bad().stream().map(ItemReader.BadLine::number).toList());
    }

    @Test
    void aByteOrderMarkIsOverlooked() throws IOException {
        assertEquals("a", ItemReader.read(file("\uFEFF" + GOOD + "\n")).getFirst().id());
    }

    @Test
    void aLineThatIsNotUtf8IsBroken() throws IOException {
        final byte[] bytes = (GOOD + "\n" + GOOD.replace("note", "\u00ff")).getBytes(StandardCharsets.ISO_8859_1);
        final Path file = Files.write(directory.resolve("items.jsonl"), bytes);
        final BadInputException error = assertThrows(BadInputException.class, () -> ItemReader.read(file));
        assertTrue(error.where().endsWith("line 2") && error.what().contains("UTF-8"), error.getMessage());
    }

    @Test
    void aFileWithoutItemsIsRefused() throws IOException {
        assertThrows(BadInputException.class, () -> ItemReader.read(file("\n\n")));
        assertThrows(BadInputException.class, () -> ItemReader.read(directory));
        assertThrows(BadInputException.class, () -> ItemReader.read(directory.resolve("none.jsonl")));
        assertThrows(BadInputException.class, () -> ItemReader.read(file("{}"), true));
    }

    @Test
    void aPlaceThatCannotBeWrittenToIsRefused() throws IOException {
        final Path file = file(GOOD);
        assertThrows(BadInputException.class, () -> ItemWriter.write(file, ConflictWorld.generate(1, 1)));
    }

    private Path file(final String text) throws IOException {
        return Files.writeString(directory.resolve("items.jsonl"), text);
    }
}
