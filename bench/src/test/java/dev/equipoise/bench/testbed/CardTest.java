package dev.equipoise.bench.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** The card states the language and the files as they are. */
final class CardTest {
    @Test
    void everyTemplateIsOnTheCard() throws IOException {
        final String card = new String(resource("card.md"), StandardCharsets.UTF_8).replaceAll("\\s+", " ");
        final List<String> templates = new ArrayList<>();
        for (final Attribute attribute : Attribute.values()) {
            templates.addAll(Phrasebook.OPEN_QUESTIONS.get(attribute));
            templates.addAll(Phrasebook.PRESENCE_QUESTIONS.get(attribute));
            templates.addAll(Phrasebook.CLAIMS.get(attribute));
            assertTrue(card.contains("(" + String.join(", ", attribute.words()) + ")"), attribute.toString());
        }
        templates.addAll(Phrasebook.JOINT_CLAIMS);
        templates.addAll(Phrasebook.INSTRUCTIONS);
        templates.addAll(Phrasebook.NEUTRAL);
        templates.addAll(Phrasebook.NOTE_STARTS.stream().filter(start -> !start.isEmpty()).toList());
        templates.forEach(template -> assertTrue(card.contains("`" + template + "`"), template));
        for (final Map.Entry<String, List<String>> slot : Phrasebook.SLOTS.entrySet()) {
            assertTrue(card.contains(String.join(", ", slot.getValue())), slot.getKey());
        }
        assertTrue(card.contains("vocabulary " + new Vocabulary().size()));
    }

    @Test
    void theFilesAreThoseOfTheCard() throws IOException, NoSuchAlgorithmException {
        final JsonNode files = new JsonMapper().readTree(resource("card.json")).get("files");
        long total = 0;
        for (final String name : List.of("testbed-q8_0.gguf", "testbed-mmproj.gguf")) {
            final byte[] bytes = resource(name);
            total += bytes.length;
            assertEquals(bytes.length, files.get(name).get("bytes").asInt(), name);
            assertEquals(
                    HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes)),
                    files.get(name).get("sha256").asString(),
                    name);
        }
        assertTrue(total <= 8_000_000, total + " bytes");
    }

    private static byte[] resource(final String name) throws IOException {
        try (InputStream stream = CardTest.class.getResourceAsStream(name)) {
            return stream.readAllBytes();
        }
    }
}
