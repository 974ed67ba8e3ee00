package dev.equipoise.bench.pairs;

import dev.equipoise.decoding.spec.JsonReader;
import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.FileErrors;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.function.BiConsumer;

/** UTF-8 files of one JSON object a line; blank lines are ignored. */
final class JsonLines {
    private JsonLines() {}

    /**
     * Hands each line's object on, with what to call it in messages.
     *
     * @throws BadInputException if the file cannot be read, or naming a line that is no object
     */
    static void read(final Path file, final BiConsumer<Section, String> line) {
        final byte[] bytes = FileErrors.read(file, "name a JSONL file");
        int number = 0;
        for (int start = 0; start < bytes.length;) {
            int end = start;
            while (end < bytes.length && bytes[end] != '\n') {
                end++;
            }
            number++;
            final String origin = file + ", line " + number;
            final String text = text(ByteBuffer.wrap(bytes, start, end - start), origin);
            if (!text.isBlank()) {
                line.accept(JsonReader.read(text, origin), origin);
            }
            start = end + 1;
        }
    }

    private static String text(final ByteBuffer bytes, final String origin) {
        try {
            return JsonReader.unmarked(StandardCharsets.UTF_8.newDecoder().decode(bytes).toString());
        } catch (final CharacterCodingException e) {
            throw new BadInputException("line is not valid UTF-8", origin, "save the file as UTF-8", e);
        }
    }
}
