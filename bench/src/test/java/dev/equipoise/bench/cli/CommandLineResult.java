package dev.equipoise.bench.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import tools.jackson.databind.DeserializationFeature;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** What a command left behind, run in this process. */
record CommandLineResult(int code, String out, String err) {
    private static final JsonMapper JSON =
            JsonMapper.builder().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).build();

    static CommandLineResult of(final Object... words) {
        return of(List.of(words));
    }

    static CommandLineResult of(final List<?> words) {
        final ByteArrayOutputStream out = new ByteArrayOutputStream();
        final ByteArrayOutputStream err = new ByteArrayOutputStream();
        final int code = Main.execute(words.stream().map(String::valueOf).toList(), out, err);
        return new CommandLineResult(
                code, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
    }

    /** The one document of a command with {@code --json}. */
    static JsonNode json(final Object... words) {
        final List<Object> all = new ArrayList<>(List.of(words));
        all.add("--json");
        final CommandLineResult result = of(all);
        assertEquals(0, result.code(), result.err());
        return JSON.readTree(result.out());
    }

    /** Asserts a failure: the exit code, one line on standard error that holds {@code part}, nothing else anywhere. */
    CommandLineResult assertFails(final int expected, final String part) {
        assertEquals(expected, code, err);
        assertEquals("", out);
        assertTrue(err.matches("equipoise: [^\\n]+: [^\\n]+: [^\\n]+\\n"), err);
        assertTrue(err.contains(part), err);
        return this;
    }
}
