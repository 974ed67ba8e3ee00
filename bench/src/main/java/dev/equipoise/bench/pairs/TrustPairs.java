package dev.equipoise.bench.pairs;

import dev.equipoise.bench.testbed.Item;
import dev.equipoise.bench.testbed.ItemWriter;
import dev.equipoise.bench.testbed.WorldItem;
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

/**
 * Pairs of the conflict world for steering vectors: the same picture, sound, note and question, once with the
 * instruction to trust the picture and once to trust the note.
 */
public final class TrustPairs {
    /** Name of the pair file in its directory. */
    public static final String FILE = "pairs.jsonl";

    // Words of the testbed's language that mean the same.
    private static final List<String> TRUST = List.of("trust", "believe", "follow", "use");
    private static final JsonMapper JSON = new JsonMapper();

    private TrustPairs() {}

    /** Whether an item can be a pair: its note contradicts its picture, and it says nothing of whom to trust. */
    public static boolean fits(final Item item) {
        return item.group().equals(Optional.of("no-instruction")) && item.answerImage().isPresent();
    }

    /**
     * Writes {@code pairs.jsonl} and the media beside it.
     *
     * @param items that fit
     * @return the pair file
     * @throws BadInputException if the directory cannot be written to
     */
    public static Path write(final Path directory, final List<WorldItem> items) {
        final Path file = directory.resolve(FILE);
        try {
            Files.createDirectories(directory);
            try (BufferedWriter lines = Files.newBufferedWriter(file)) {
                for (int i = 0; i < items.size(); i++) {
                    ItemWriter.writeMedia(directory, items.get(i));
                    lines.write(JSON.writeValueAsString(json(items.get(i).item(), TRUST.get(i % TRUST.size()))));
                    lines.write('\n');
                }
            }
        } catch (final IOException e) {
            throw new BadInputException(
                    "pairs cannot be written (" + FileErrors.reason(e) + ")",
                    directory.toString(),
                    "choose a writable directory",
                    e);
        }
        return file;
    }

    private static ObjectNode json(final Item item, final String trust) {
        final ObjectNode node = JSON.createObjectNode();
        node.put("prompt", item.question());
        item.context().ifPresent(note -> node.put("context", note));
        item.image().ifPresent(image -> node.put("image", image.toString()));
        item.audio().ifPresent(audio -> node.put("audio", audio.toString()));
        node.putObject("positive").put("system", trust + " the picture.");
        node.putObject("negative").put("system", trust + " the note.");
        return node;
    }
}
