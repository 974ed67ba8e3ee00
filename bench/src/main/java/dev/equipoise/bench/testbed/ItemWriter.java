package dev.equipoise.bench.testbed;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.FileErrors;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** Writes generated items as a data file with its media beside it. */
public final class ItemWriter {
    /** Name of the data file in its directory. */
    public static final String FILE = "items.jsonl";

    private static final JsonMapper JSON = new JsonMapper();

    private ItemWriter() {
    }

    /**
     * Writes {@code items.jsonl} and every picture and clip into {@code directory}, which is made if need be; files of
     * the same names are replaced.
     *
     * @return the data file
     * @throws BadInputException if the directory cannot be written to
     */
    public static Path write(final Path directory, final List<WorldItem> items) {
        final Path file = directory.resolve(FILE);
        try {
            Files.createDirectories(directory);
            try (BufferedWriter lines = Files.newBufferedWriter(file)) {
                for (final WorldItem item : items) {
                    writeMedia(directory, item);
                    lines.write(JSON.writeValueAsString(json(item.item())));
                    lines.write('\n');
                }
            }
        } catch (final IOException e) {
            throw new BadInputException(
                    "items cannot be written (" + FileErrors.reason(e) + ")",
                    directory.toString(),
                    "choose a writable directory",
                    e);
        }
        return file;
    }

    /** Writes an item's picture and clip, if it has them, into a directory that is there. */
    public static void writeMedia(final Path directory, final WorldItem world) throws IOException {
        if (world.pixels().isPresent()) {
            Picture.write(world.pixels().get(), directory.resolve(world.item().image().orElseThrow()));
        }
        if (world.samples().isPresent()) {
            Sound.write(world.samples().get(), directory.resolve(world.item().audio().orElseThrow()));
        }
    }

    /** One line of a data file, keys in the order of its documentation, absent ones left out. */
    private static ObjectNode json(final Item item) {
        final ObjectNode node = JSON.createObjectNode();
        node.put("id", item.id());
        put(node, "system", item.system());
        node.put("question", item.question());
        if (!item.options().isEmpty()) {
            item.options().forEach(node.putArray("options")::add);
        }
        node.put("answer", item.answer());
        put(node, "image", item.image().map(Path::toString));
        put(node, "audio", item.audio().map(Path::toString));
        put(node, "context", item.context());
        put(node, "answer_image", item.answerImage());
        put(node, "answer_audio", item.answerAudio());
        put(node, "answer_context", item.answerContext());
        node.put("condition", item.condition().label());
        put(node, "group", item.group());
        return node;
    }

    private static void put(final ObjectNode node, final String key, final Optional<String> value) {
        value.ifPresent(text -> node.put(key, text));
    }
}
