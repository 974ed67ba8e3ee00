package dev.equipoise.bench.testbed;

import dev.equipoise.decoding.spec.JsonReader;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.FileErrors;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * Reads data files: UTF-8, one JSON object a line, blank lines ignored, unknown keys too. Media paths are taken
 * relative to the file and must exist.
 */
public final class ItemReader {
    private static final JsonMapper JSON = JsonMapper.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .build();

    private final Path file;
    private final boolean skipBad;
    private final List<Item> items = new ArrayList<>();
    private final List<BadLine> bad = new ArrayList<>();
    private final Set<String> ids = new HashSet<>();

    private ItemReader(final Path file, final boolean skipBad) {
        this.file = file;
        this.skipBad = skipBad;
    }

    /**
     * A line that is no item.
     *
     * @param number counted from 1
     * @param what what is wrong with it
     */
    public record BadLine(int number, String what) {
    }

    /**
     * What a file holds.
     *
     * @param items the items in their order, at least one
     * @param bad the lines that were skipped
     */
    public record Result(List<Item> items, List<BadLine> bad) {
        public Result {
            items = List.copyOf(items);
            bad = List.copyOf(bad);
        }
    }

    /**
     * Reads every item of a file.
     *
     * @throws BadInputException naming the line, if one is no item; or if the file cannot be read or holds none
     */
    public static List<Item> read(final Path file) {
        return read(file, false).items();
    }

    /**
     * Reads a file, and with {@code skipBad} collects broken lines instead of refusing the file.
     *
     * @throws BadInputException as {@link #read(Path)} does
     */
    public static Result read(final Path file, final boolean skipBad) {
        return new ItemReader(file, skipBad).read();
    }

    private Result read() {
        final byte[] bytes = FileErrors.read(file, "name a JSONL file");
        int number = 0;
        for (int start = 0; start < bytes.length;) {
            int end = start;
            while (end < bytes.length && bytes[end] != '\n') {
                end++;
            }
            number++;
            try {
                line(ByteBuffer.wrap(bytes, start, end - start));
            } catch (final Broken e) {
                bad(number, e);
            }
            start = end + 1;
        }
        if (items.isEmpty()) {
            throw new BadInputException("data file holds no item", file.toString(), "write one JSON object a line");
        }
        return new Result(items, bad);
    }

    private void bad(final int number, final Broken cause) {
        if (!skipBad) {
            throw new BadInputException(
                    cause.getMessage(),
                    file + ", line " + number,
                    "mend the line, or skip such lines (--skip-bad)",
                    cause);
        }
        bad.add(new BadLine(number, cause.getMessage()));
    }

    private void line(final ByteBuffer bytes) throws Broken {
        final String text;
        try {
            text = JsonReader.unmarked(StandardCharsets.UTF_8.newDecoder().decode(bytes).toString());
        } catch (final CharacterCodingException e) {
            throw new Broken("line is not valid UTF-8", e);
        }
        if (text.isBlank()) {
            return;
        }
        final JsonNode node;
        try {
            node = JSON.readTree(text);
        } catch (final JacksonException e) {
            throw new Broken("line is not JSON (" + JsonReader.words(e) + ")", e);
        }
        if (!node.isObject()) {
            throw new Broken("line is not a JSON object");
        }
        final Item item = item(node);
        if (!ids.add(item.id())) {
            throw new Broken("id '" + item.id() + "' is there twice");
        }
        items.add(item);
    }

    private Item item(final JsonNode node) throws Broken {
        final String label = required(node, "condition");
        return new Item(
                required(node, "id"),
                text(node, "system"),
                required(node, "question"),
                options(node),
                required(node, "answer"),
                media(node, "image"),
                media(node, "audio"),
                text(node, "context"),
                text(node, "answer_image"),
                text(node, "answer_audio"),
                text(node, "answer_context"),
                Condition.of(label).orElseThrow(() -> new Broken("condition '" + label + "' is unknown")),
                text(node, "group"));
    }

    private static List<String> options(final JsonNode node) throws Broken {
        final List<String> options = new ArrayList<>();
        final JsonNode array = node.path("options");
        if (array.isMissingNode()) {
            return options;
        }
        if (!array.isArray()) {
            throw new Broken("key 'options' is not an array");
        }
        for (final JsonNode option : array) {
            if (!option.isString()) {
                throw new Broken("key 'options' holds something else than strings");
            }
            options.add(option.stringValue());
        }
        return options;
    }

    private Optional<Path> media(final JsonNode node, final String key) throws Broken {
        final Optional<String> name = text(node, key);
        if (name.isEmpty()) {
            return Optional.empty();
        }
        try {
            final Path path = file.toAbsolutePath().resolveSibling(name.get());
            if (!Files.isRegularFile(path)) {
                throw new Broken("key '" + key + "' names no file: " + name.get());
            }
            return Optional.of(path);
        } catch (final InvalidPathException e) {
            throw new Broken("key '" + key + "' is no path: " + name.get(), e);
        }
    }

    private static String required(final JsonNode node, final String key) throws Broken {
        final String value = text(node, key).orElseThrow(() -> new Broken("key '" + key + "' is missing"));
        if (value.isBlank()) {
            throw new Broken("key '" + key + "' is empty");
        }
        return value;
    }

    private static Optional<String> text(final JsonNode node, final String key) throws Broken {
        final JsonNode value = node.path(key);
        if (value.isMissingNode() || value.isNull()) {
            return Optional.empty();
        }
        if (!value.isString()) {
            throw new Broken("key '" + key + "' is not a string");
        }
        return Optional.of(value.stringValue());
    }

    /** A line that is no item; never leaves this class. */
    private static final class Broken extends Exception {
        private static final long serialVersionUID = 1L;

        Broken(final String message) {
            super(message);
        }

        Broken(final String message, final Throwable cause) {
            super(message, cause);
        }
    }
}
