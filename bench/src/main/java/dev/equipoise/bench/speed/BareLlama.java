package dev.equipoise.bench.speed;

import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.kernels.error.UnavailableException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * The measuring programs of bare llama.cpp, built over the same libraries as ours.
 *
 * <p>What they time: {@code llama-bench} decodes a prompt, then times single-token decodes, each followed by a
 * synchronisation, of random tokens; {@code llama-batched-bench} the same with one token of each sequence a decode.
 * Both copy logits out and draw nothing: argmax, contrast, detokenisation and limits are on our side of the ratio
 * only. Their first timed decode builds its graph; ours was built by the first token, which is not timed: about one
 * part in a thousand at 128 tokens.
 *
 * @param folder holds the two programs
 * @param model GGUF file
 * @param settings tokens, threads, KV type and GPU layers
 * @param flashAttention whether attention weights are materialised, as our engine resolved it
 */
record BareLlama(Path folder, Path model, Settings settings, boolean flashAttention) {
    /** Decodes one sequence. */
    static final String ONE = "llama-bench";
    /** Decodes several. */
    static final String SEVERAL = "llama-batched-bench";

    // llama-batched-bench prints from a thread that does not survive main: a busy machine loses its last words. A
    // second, short measurement keeps main alive; it may get lost.
    private static final int ATTEMPTS = 10;
    private static final String FAREWELL = ",16";
    private static final double NANOS_PER_MILLI = 1e6;
    private static final double MILLIS_PER_SECOND = 1e3;

    BareLlama {
        for (final String program : List.of(ONE, SEVERAL)) {
            if (!Files.isExecutable(folder.resolve(program))) {
                throw new UnavailableException(
                            "no " + program,
                        folder.toString(),
                        "build it with native/llama/build.sh " + ONE + " " + SEVERAL);
            }
        }
    }

    /** Milliseconds per decode of one sequence, {@code depth} tokens into the context. */
    double one(final int depth) {
        final String output = Program.output(oneCommand(depth), false);
        final Map<String, Integer> expected = expected(Map.of("n_gen", settings.tokens(), "n_depth", depth));
        return parseOne(output, expected, settings.kvType().label());
    }

    /**
     * Milliseconds per decode of some sequences in one unified cache, each of a prompt of {@code depth} tokens.
     *
     * @param shared whether it is one prompt, held once
     */
    double several(final int sequences, final int depth, final boolean shared) {
        final Map<String, Integer> expected = expected(
                Map.of("tg", settings.tokens(), "pp", depth, "pl", sequences, "is_pp_shared", shared ? 1 : 0));
        String output = "";
        for (int attempt = 0; attempt < ATTEMPTS && output.isBlank(); attempt++) {
            output = Program.output(severalCommand(sequences, depth, shared), false);
        }
        return parseSeveral(output, expected);
    }

    List<String> oneCommand(final int depth) {
        final List<String> command = new ArrayList<>(List.of(folder.resolve(ONE).toString(), "-p", "0"));
        command.addAll(List.of("-n", text(settings.tokens()), "-d", text(depth), "-r", "1", "-o", "json"));
        command.addAll(common());
        return command;
    }

    List<String> severalCommand(final int sequences, final int depth, final boolean shared) {
        final int cells = (shared ? depth : sequences * depth) + sequences * settings.tokens();
        final List<String> command = new ArrayList<>(List.of(folder.resolve(SEVERAL).toString(), "-kvu"));
        if (shared) {
            command.add("-pps");
        }
        command.addAll(List.of("-npp", text(depth), "-ntg", settings.tokens() + FAREWELL, "-npl", text(sequences)));
        command.addAll(List.of("-c", text(cells), "-tb", text(settings.threads()), "--output-format", "jsonl"));
        command.addAll(common());
        return command;
    }

    private List<String> common() {
        final String kv = settings.kvType().label();
        final String flash = flashAttention ? "on" : "off";
        return List.of(
                "-m", model.toString(), "-t", text(settings.threads()), "-ctk", kv, "-ctv", kv, "-fa", flash, "-ngl",
                text(settings.gpuLayers()));
    }

    // What both say of themselves beside what one of them does.
    private Map<String, Integer> expected(final Map<String, Integer> own) {
        final Map<String, Integer> all = new TreeMap<>(own);
        all.put("n_threads", settings.threads());
        all.put("n_gpu_layers", settings.gpuLayers());
        all.put("flash_attn", flashAttention ? 1 : 0);
        return all;
    }

    /** Milliseconds per token in what {@code llama-bench -r 1 -o json} printed. */
    static double parseOne(final String output, final Map<String, Integer> expected, final String kvType) {
        final JsonNode test = read(ONE, output).path(0);
        require(ONE, test, expected);
        for (final String type : List.of("type_k", "type_v")) {
            if (!test.path(type).asString("").equals(kvType)) {
                throw misread(ONE, type + " is " + test.path(type) + ", not " + kvType);
            }
        }
        final JsonNode samples = test.path("samples_ns");
        if (samples.size() != 1) {
            throw misread(ONE, "samples_ns is " + samples);
        }
        return positive(ONE, samples.get(0)) / NANOS_PER_MILLI / expected.get("n_gen");
    }

    /** Milliseconds per step in what {@code llama-batched-bench --output-format jsonl} printed. */
    static double parseSeveral(final String output, final Map<String, Integer> expected) {
        final JsonNode test = output.lines()
                .filter(line -> line.startsWith("{"))
                .findFirst()
                .map(line -> read(SEVERAL, line))
                .orElseThrow(() -> misread(SEVERAL, "no result"));
        require(SEVERAL, test, expected);
        return positive(SEVERAL, test.path("t_tg")) * MILLIS_PER_SECOND / expected.get("tg");
    }

    private static JsonNode read(final String program, final String json) {
        try {
            return JsonMapper.shared().readTree(json);
        } catch (final JacksonException e) {
            throw new InternalException(program + " does not print JSON", json, "report this as a bug", e);
        }
    }

    // A program that did something else than it was asked to is no peer.
    private static void require(final String program, final JsonNode test, final Map<String, Integer> expected) {
        expected.forEach((key, value) -> {
            if (!test.path(key).isInt() || test.path(key).asInt() != value) {
                throw misread(program, key + " is " + test.path(key) + ", not " + value);
            }
        });
    }

    private static double positive(final String program, final JsonNode time) {
        final double value = time.asDouble(0);
        if (!(value > 0)) {
            throw misread(program, "its time is " + time);
        }
        return value;
    }

    private static InternalException misread(final String program, final String why) {
        return new InternalException(
                program + " did not measure what it was asked to", why, "use the programs of the pinned llama.cpp");
    }

    private static String text(final int number) {
        return Integer.toString(number);
    }
}
