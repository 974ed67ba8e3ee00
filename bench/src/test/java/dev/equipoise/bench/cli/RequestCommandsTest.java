package dev.equipoise.bench.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.tiny.TinyModels;
import dev.equipoise.steering.vector.ControlVectorFile;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import tools.jackson.databind.JsonNode;

/** {@code run}, {@code logits} and {@code explain}: the documents they promise, on a tiny random model. */
class RequestCommandsTest {
    @TempDir
    static Path directory;

    private static CliFixtures files;

    @BeforeAll
    static void write() {
        files = new CliFixtures(directory);
    }

    private static Object[] words(final String command, final Object... more) {
        final List<Object> words = new ArrayList<>(
                List.of(command, "--model", files.model, "--mmproj", files.mmproj, "--threads", 1));
        words.addAll(List.of("--prompt", "hello"));
        words.addAll(List.of(more));
        return words.toArray();
    }

    private static JsonNode json(final String command, final Object... more) {
        return CommandLineResult.json(words(command, more));
    }

    private static List<String> keys(final JsonNode node) {
        return List.copyOf(node.propertyNames());
    }

    @Test
    void runPrintsTheAnswerAndItsTimings() {
        final JsonNode run = json("run", "--max-tokens", 5);
        assertEquals(List.of("text", "tokens", "finish", "timings", "plan", "trace"), keys(run));
        assertTrue(run.get("text").isString());
        assertTrue(run.get("tokens").size() <= 5);
        assertTrue(List.of("stop", "length").contains(run.get("finish").stringValue()));
        assertEquals(List.of("ttft_ms", "decode_ms", "tokens_per_s"), keys(run.get("timings")));
        assertTrue(run.get("timings").get("ttft_ms").doubleValue() > 0);
        assertEquals("plain", run.get("plan").get("strategy").stringValue());
        assertFalse(run.get("plan").get("fingerprint").stringValue().isEmpty());
        assertTrue(run.get("trace").isEmpty());
    }

    @Test
    void aSpeedNeedsTwoTokens() {
        assertTrue(json("run", "--max-tokens", 1).get("timings").get("tokens_per_s").isNull());
        assertTrue(json("run", "--max-tokens", 3).get("timings").get("tokens_per_s").doubleValue() > 0);
        final CommandLineResult people = CommandLineResult.of(words("run", "--max-tokens", 1));
        assertTrue(people.err().contains("too few for a speed"), people.err());
    }

    @Test
    void charactersThatStandForLostOnesAreText() {
        assertTrue(json("run", "--max-tokens", 1, "--context", "a\uFFFDb").get("text").isString());
    }

    @Test
    void penaltiesReachTheSampler() {
        final List<Integer> tokens = new ArrayList<>();
        json("run", "--max-tokens", 8, "--presence-penalty", 1000).get("tokens").forEach(t -> tokens.add(t.intValue()));
        assertEquals(tokens.size(), Set.copyOf(tokens).size());
        assertNotEquals(
                json("run", "--max-tokens", 2, "--frequency-penalty", 1).get("plan").get("fingerprint"),
                json("run", "--max-tokens", 2, "--presence-penalty", 1).get("plan").get("fingerprint"));
    }

    @Test
    void commandsThatDrawNoTokenSaySo() {
        for (final String command : List.of("logits", "explain")) {
            assertTrue(CommandLineResult.of(command, "--help").out().contains("No token is drawn here"));
        }
    }

    @Test
    void runTracesAContrastAndReportsLogProbabilities() {
        final JsonNode run = json(
                "run", "--strategy", "cad", "--context", "a note: é", "--max-tokens", 3, "--logprobs", 2);
        assertEquals("cad", run.get("plan").get("strategy").stringValue());
        final JsonNode trace = run.get("trace").get(0);
        assertEquals(List.of("intervention", "layers", "tokens", "mean_delta_norm"), keys(trace));
        assertEquals("contrast:cad", trace.get("intervention").stringValue());
        assertTrue(trace.get("tokens").intValue() >= 1);
        assertTrue(trace.get("mean_delta_norm").doubleValue() > 0);
        assertEquals(run.get("tokens").size(), run.get("logprobs").size());
        final JsonNode first = run.get("logprobs").get(0);
        assertEquals(2, first.get("top").size());
        // Greedy: what was drawn is the best.
        assertEquals(first.get("token").intValue(), first.get("top").get(0).get("token").intValue());
    }

    @Test
    void conditionsSayHowTheyCameOut() throws Exception {
        final float[] direction = new float[64];
        Arrays.fill(direction, 1);
        final Path vector = directory.resolve("direction.gguf");
        new ControlVectorFile("llama", new LayerVectors(Map.of(0, direction, 1, direction))).write(vector);
        final Path file = Files.writeString(
                directory.resolve("conditional.json"),
                "{\"steer\": [{\"vector\": \"direction.gguf\", \"when\": {\"vector\": \"direction.gguf\","
                        + " \"layer\": 0, \"below\": -1}}]}");
        final JsonNode run = json("run", "--max-tokens", 3, "--strategy", file);
        final JsonNode condition = run.get("trace").get(0);
        assertEquals("condition:direction", condition.get("intervention").stringValue());
        assertFalse(condition.get("condition").get("fired").booleanValue());
        assertTrue(Math.abs(condition.get("condition").get("similarity").doubleValue()) <= 1);
        assertEquals(json("run", "--max-tokens", 3).get("tokens"), run.get("tokens"));
        final String explained = CommandLineResult.of(words("explain", "--strategy", file)).out();
        assertTrue(explained.contains("when the mean prompt state"), explained);
        // A preset that lacks its vector takes it behind a colon.
        final JsonNode vti = json("run", "--max-tokens", 3, "--strategy", "vti:" + vector);
        assertEquals("vti", vti.get("plan").get("strategy").stringValue());
        CommandLineResult.of(words("run", "--strategy", "vti")).assertFails(3, "vti:FILE.gguf");
    }

    @Test
    void runReportsWhereGeneratedTokensLook() {
        final Object[] asked = {
            "--image", files.image, "--context", "a note", "--system", "look", "--max-tokens", 4, "--attention"
        };
        final JsonNode run = json("run", asked);
        final JsonNode attention = run.get("attention");
        assertEquals(List.of("recipe", "queries", "tokens", "layers", "groups"), keys(attention));
        // One for each token that was chosen, the end of the answer too.
        final int chosen = run.get("tokens").size() + (run.get("finish").stringValue().equals("stop") ? 1 : 0);
        assertEquals(chosen, attention.get("queries").intValue());
        final int depth = attention.get("layers").size();
        assertTrue(depth >= 2);
        for (final JsonNode layer : attention.get("layers")) {
            double sum = layer.get("generated").doubleValue();
            for (final JsonNode share : layer.get("mass")) {
                sum += share.doubleValue();
            }
            // Weights are float32 and sum to 1 in each of a few queries and heads.
            assertEquals(1, sum, 1e-5);
        }
        final JsonNode late = attention.get("groups").get(2);
        assertEquals("late", late.get("name").stringValue());
        assertEquals(
                late.get("mdi").doubleValue(),
                mdi(attention, late.get("layers").get(0).intValue(), late.get("layers").get(1).intValue()),
                1e-9);
        // Reading changes nothing, but for the rounding of a path without flash.
        final List<Object> plain = new ArrayList<>(List.of(asked));
        plain.remove("--attention");
        plain.addAll(List.of("--flash-attention", "off"));
        assertEquals(json("run", plain.toArray()).get("tokens"), run.get("tokens"));
        final CommandLineResult people = CommandLineResult.of(words("run", asked));
        assertTrue(people.err().contains("MDI"), people.err());
        assertTrue(people.err().contains(attention.get("recipe").stringValue()), people.err());
        assertTrue(json("run", "--max-tokens", 1, "--attention").get("attention").get("groups").get(0).get("mdi")
                .isNull(), "without a picture there is no index");
        // What a search reads is no answer's, as far as it is rejected.
        CommandLineResult.of(words("run", "--strategy", "beam-search", "--attention")).assertFails(3, "--attention");
    }

    // Weight per token on words over weight per token on the picture, the mean of two layers.
    private static double mdi(final JsonNode attention, final int... layers) {
        double sum = 0;
        for (final int number : layers) {
            JsonNode layer = null;
            for (final JsonNode each : attention.get("layers")) {
                layer = each.get("layer").intValue() == number ? each : layer;
            }
            double words = 0;
            double tokens = 0;
            for (final String modality : attention.get("tokens").propertyNames()) {
                if (!modality.equals("image")) {
                    words += layer.get("mass").get(modality).doubleValue();
                    tokens += attention.get("tokens").get(modality).intValue();
                }
            }
            final double seen = layer.get("mass").get("image").doubleValue()
                    / attention.get("tokens").get("image").intValue();
            sum += words / tokens / seen;
        }
        return sum / layers.length;
    }

    @Test
    void runStreamsTheSameTextForPeople() {
        final String text = json("run", "--max-tokens", 5).get("text").stringValue();
        final CommandLineResult plain = CommandLineResult.of(words("run", "--max-tokens", 5));
        assertEquals(0, plain.code(), plain.err());
        assertEquals(text + "\n", plain.out());
        assertEquals(1, plain.err().lines().count());
    }

    @Test
    void theCommandLineOverridesTheStrategysSampling() throws Exception {
        final Path file = Files.writeString(
                directory.resolve("warm.json"), "{\"sampling\": {\"temperature\": 3, \"seed\": 4}}");
        final JsonNode greedy = json("run", "--max-tokens", 6);
        final JsonNode warm = json("run", "--max-tokens", 6, "--strategy", file);
        final JsonNode cooled = json("run", "--max-tokens", 6, "--strategy", file, "--temperature", 0);
        assertNotEquals(greedy.get("tokens"), warm.get("tokens"));
        assertEquals(greedy.get("tokens"), cooled.get("tokens"));
        assertNotEquals(
                warm.get("plan").get("fingerprint"), cooled.get("plan").get("fingerprint"), "sampling is behaviour");
        assertEquals(
                warm.get("tokens"),
                json("run", "--max-tokens", 6, "--temperature", 3, "--seed", 4).get("tokens"));
    }

    @Test
    void stopTextsAndGrammarsAreObeyed() throws Exception {
        final String text = json("run", "--max-tokens", 8).get("text").stringValue();
        final String stop = text.substring(text.length() / 2, text.length() / 2 + 1);
        final JsonNode stopped = json("run", "--max-tokens", 8, "--stop", "no such text", "--stop", stop);
        assertEquals("stop", stopped.get("finish").stringValue());
        assertEquals(text.substring(0, text.indexOf(stop)), stopped.get("text").stringValue());

        final Path grammar = Files.writeString(directory.resolve("yes.gbnf"), "root ::= \"yes\" | \"no\"\n");
        final String word =
                json("run", "--max-tokens", 8, "--grammar", grammar).get("text").stringValue();
        assertTrue(List.of("yes", "no").contains(word), word);
    }

    @Test
    void logitsCoverThePromptAndTheVocabulary() {
        final JsonNode logits = json("logits", "--audio", files.audio, "--image", files.image, "--context", "note");
        assertEquals(List.of("prompt_tokens", "spans", "n_vocab", "logits"), keys(logits));
        assertEquals(512, logits.get("n_vocab").intValue());
        assertEquals(512, logits.get("logits").size());
        logits.get("logits").forEach(value -> assertTrue(value.isNumber()));
        final List<String> modalities = new ArrayList<>();
        int next = 0;
        for (final JsonNode span : logits.get("spans")) {
            assertEquals(next, span.get("start").intValue());
            next += span.get("length").intValue();
            modalities.add(span.get("modality").stringValue());
        }
        assertEquals(logits.get("prompt_tokens").size(), next);
        // Media in the order of their options.
        assertEquals(List.of("text", "context", "audio", "image", "text"), modalities);
    }

    @Test
    void mediaMayBeMixedAndRepeated() {
        final JsonNode logits =
                json("logits", "--image", files.image, "--audio", files.audio, "--image", files.image);
        final List<String> modalities = new ArrayList<>();
        logits.get("spans").forEach(span -> modalities.add(span.get("modality").stringValue()));
        assertEquals(List.of("text", "image", "audio", "image", "text"), modalities);
        final int media = 2 * TinyModels.IMAGE_TOKENS + TinyModels.AUDIO_TOKENS;
        int embedded = 0;
        for (final JsonNode token : logits.get("prompt_tokens")) {
            embedded += token.intValue() < 0 ? 1 : 0;
        }
        assertEquals(media, embedded);
    }

    @Test
    void logitsThatAreCutOffAreNull() {
        final JsonNode logits = json("logits", "--strategy", "plausibility-only");
        int cut = 0;
        for (final JsonNode value : logits.get("logits")) {
            cut += value.isNull() ? 1 : 0;
        }
        assertTrue(cut > 0 && cut < 512, cut + " cut off");
    }

    @Test
    void everyChoiceOfCacheAndBatchIsTaken() {
        // Heads of 32 elements: a q8_0 cache stores them in blocks of as many.
        final Path model = TinyModels.llama(directory.resolve("heads.gguf"), 7, 2, 64, 2, 2, 96, 512);
        for (final String kv : List.of("f16", "F32", "q8_0")) {
            CommandLineResult.json(
                    "logits", "--model", model, "--prompt", "hello", "--threads", 1, "--kv-type", kv,
                    "--flash-attention", "on", "--micro-batch", 3, "--ctx", 64);
        }
        json("logits", "--kv-type", "f32", "--flash-attention", "OFF", "--micro-batch", 64);
    }

    @Test
    void logitsForPeopleShowTheBestTokens() {
        final CommandLineResult logits = CommandLineResult.of(words("logits"));
        assertEquals(0, logits.code(), logits.err());
        assertEquals(11, logits.out().lines().count(), logits.out());
    }

    @Test
    void explainSaysBranchesAndSteps() {
        final JsonNode plan = json("explain", "--strategy", "vcd", "--image", files.image);
        final boolean divided = plan.has("graph_parts"); // on a device, or an emulated one
        assertEquals(
                divided ? List.of("branches", "steps", "graph_parts") : List.of("branches", "steps"), keys(plan));
        assertEquals(2, plan.get("branches").size());
        for (final JsonNode branch : plan.get("branches")) {
            assertEquals(List.of("name", "differs_in", "shared_tokens"), keys(branch));
            assertTrue(branch.get("shared_tokens").isInt());
        }
        assertFalse(plan.get("steps").isEmpty());
        for (final JsonNode step : plan.get("steps")) {
            final List<String> told = keys(step);
            assertEquals(List.of("intervention", "mechanism", "layers", "scope", "extra_cost"), told.subList(0, 5));
            assertTrue(told.size() == 5 || divided, told.toString());
        }
        final CommandLineResult people =
                CommandLineResult.of(words("explain", "--strategy", "vcd", "--image", files.image));
        assertTrue(people.out().contains("contrast:vcd"), people.out());
    }

    @Test
    void explainSaysWhatFallsBackToTheCpu() throws Exception {
        final Path file = Files.writeString(
                directory.resolve("placed.json"),
                """
                {"attention": [
                  {"edit": "multiply", "span": "context", "factor": 2, "layers": "0"},
                  {"edit": "multiply", "span": "context", "factor": 2, "layers": "1-2", "heads": [1]},
                  {"edit": "temperature", "tau": 2, "layers": "1"}],
                 "contrast": {"method": "cad"}}
                """);
        final Object[] asked = {"--strategy", file, "--context", "a note"};
        final JsonNode plan = json("explain", asked);
        final String words = CommandLineResult.of(words("explain", asked)).out();
        assertEquals(plan.has("graph_parts"), words.contains("runs on: "), words);
        if (!plan.has("graph_parts")) {
            return; // all on the CPU: nothing falls back
        }
        final List<String> places = new ArrayList<>();
        for (final JsonNode step : plan.get("steps")) {
            final boolean onCpu = step.get("runs_on").stringValue().equals("cpu");
            assertEquals(onCpu, !step.get("why").isNull(), step.toString());
            places.add(step.get("intervention").stringValue().replaceAll(":.*", "") + " "
                    + step.get("runs_on").stringValue() + " " + step.get("cpu_layers"));
        }
        // Where best tokens are found is the engine's choice.
        assertEquals(
                List.of("attention cuda []", "attention cpu [1,2]", "attention cuda []", "contrast cuda []"),
                places.subList(0, 4));
        assertTrue(words.contains("runs on: the CPU, because it makes a mask for each head"), words);
        assertTrue(plan.get("graph_parts").get("request").intValue() >= 1);
    }

    @Test
    void tokensAreTheSameWhereverTheyAreDrawn() {
        final JsonNode host = json("run", "--draw", "host", "--max-tokens", 6);
        assertEquals(host.get("tokens"), json("run", "--draw", "graph", "--max-tokens", 6).get("tokens"));
        final JsonNode steps = json("explain", "--draw", "graph").get("steps");
        final String mechanism = steps.get(steps.size() - 1).get("mechanism").stringValue();
        assertTrue(mechanism.contains("in the graph"), mechanism);
    }

    @Test
    void patienceWithGatesIsTheEngines() throws Exception {
        final Path file = Files.writeString(
                directory.resolve("gated.json"),
                "{\"contrast\": {\"method\": \"cad\"}, \"gate\": {\"kind\": \"entropy\", \"above\": 1}}");
        for (final Map.Entry<Integer, String> patience : Map.of(
                0, "stay behind from the first shut step on",
                3, "until it has been shut for 3 tokens in a row",
                Integer.MAX_VALUE, "come along at every token from its first opening on").entrySet()) {
            final JsonNode plan = json(
                    "explain", "--strategy", file, "--context", "a note", "--gate-patience", patience.getKey());
            final List<String> gates = new ArrayList<>();
            plan.get("steps").forEach(step -> {
                if (step.get("intervention").stringValue().startsWith("gate:")) {
                    gates.add(step.get("mechanism").stringValue());
                }
            });
            assertEquals(1, gates.size());
            assertTrue(gates.getFirst().endsWith(patience.getValue()), gates.getFirst());
        }
    }

    static List<String> presets() {
        return Strategies.names();
    }

    @ParameterizedTest
    @MethodSource("presets")
    void everyPresetRunsIsExplainedAndHasALogitsRow(final String name) {
        final Object[] asked = {
            "--strategy", name, "--image", files.image, "--audio", files.audio, "--context", "a note", "--max-tokens", 3
        };
        final JsonNode run = json("run", asked);
        assertEquals(name, run.get("plan").get("strategy").stringValue());
        assertEquals(
                Strategies.named(name).fingerprint(CliFixtures.LAYERS),
                run.get("plan").get("fingerprint").stringValue());
        final List<String> traced = new ArrayList<>();
        run.get("trace").forEach(entry -> traced.add(entry.get("intervention").stringValue()));
        final List<String> explained = new ArrayList<>();
        json("explain", asked).get("steps").forEach(step -> explained.add(step.get("intervention").stringValue()));
        assertEquals(
                explained.stream().filter(step -> step.startsWith("prepare:")).toList(),
                traced.stream().filter(step -> step.startsWith("prepare:")).toList());
        final Strategy resolved = Strategies.named(name).resolved();
        assertEquals(
                resolved.passes().size() + (resolved.choices().isEmpty() ? 0 : 1),
                traced.stream().filter(step -> step.startsWith("prepare:")).count());
        assertEquals(resolved.search().isPresent() ? "search" : "sampler", explained.getLast());
        final JsonNode logits = json("logits", asked);
        assertEquals(512, logits.get("logits").size());
        // Greedy, unless something is added to the row after it: what is drawn first is what the row has most of. The
        // best of whole answers may begin otherwise.
        final boolean greedy = resolved.sampling().isArgmax() && resolved.search().isEmpty();
        if (greedy && !run.get("tokens").isEmpty()) {
            final double drawn = logits.get("logits").get(run.get("tokens").get(0).intValue()).doubleValue();
            logits.get("logits").forEach(value -> assertTrue(value.isNull() || value.doubleValue() <= drawn));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"dcd", "mad-note", "greedy"})
    void anOptionIsChosen(final String name) {
        final Object[] asked = {
            "--strategy", name, "--image", files.image, "--context", "a note", "--option", "red", "--option", "blue"
        };
        final JsonNode run = json("run", asked);
        assertEquals(List.of("text", "tokens", "finish", "timings", "plan", "trace", "options"), keys(run));
        assertTrue(List.of("red", "blue").contains(run.get("text").stringValue()));
        assertEquals(name, run.get("plan").get("strategy").stringValue());
        final List<String> traced = new ArrayList<>();
        run.get("trace").forEach(entry -> traced.add(entry.get("intervention").stringValue()));
        assertEquals(switch (name) {
            case "dcd" -> List.of("choose:dcd");
            case "mad-note" -> List.of("contrast:mad-note", "choose:options");
            default -> List.of("choose:options");
        }, traced);
        if (name.equals("mad-note")) {
            assertEquals(1, run.get("trace").get(0).get("tokens").intValue());
            assertTrue(run.get("trace").get(0).get("mean_delta_norm").doubleValue() > 0);
        }
        assertTrue(run.get("timings").get("ttft_ms").doubleValue() > 0);
        assertTrue(run.get("timings").get("tokens_per_s").isNull());
        final JsonNode options = run.get("options");
        assertEquals(2, options.size());
        final int best = options.get(0).get("logit").doubleValue() >= options.get(1).get("logit").doubleValue() ? 0 : 1;
        assertEquals(options.get(best).get("text"), run.get("text"));
        final CommandLineResult people = CommandLineResult.of(words("run", asked));
        assertEquals(run.get("text").stringValue() + System.lineSeparator(), people.out());
    }

    @ParameterizedTest
    @ValueSource(strings = {"mad-note", "greedy"})
    void optionsAreChosenAmongByAllTheirTokens(final String name) {
        // They begin alike.
        final JsonNode run = json(
                "run", "--strategy", name, "--image", files.image, "--context", "a note", "--likelihood",
                "--option", "red", "--option", "red or blue", "--option", "reddish");
        assertEquals(List.of("text", "tokens", "finish", "timings", "plan", "trace", "options"), keys(run));
        final JsonNode trace = run.get("trace");
        assertEquals("choose:likelihood", trace.get(trace.size() - 1).get("intervention").stringValue());
        JsonNode best = run.get("options").get(0);
        for (final JsonNode option : run.get("options")) {
            assertEquals(List.of("text", "logit", "logprobs"), keys(option));
            double sum = 0;
            for (final JsonNode token : option.get("logprobs")) {
                assertTrue(token.doubleValue() <= 0);
                sum += token.doubleValue();
            }
            assertEquals(sum, option.get("logit").doubleValue(), 1e-9);
            best = option.get("logit").doubleValue() > best.get("logit").doubleValue() ? option : best;
        }
        assertEquals(best.get("text"), run.get("text"));
    }

    @Test
    void optionsThatCannotBeChosenAmongAreRefused() {
        CommandLineResult.of(words("run", "--likelihood")).assertFails(2, "--likelihood");
        CommandLineResult.of(words(
                        "run", "--strategy", "dcd", "--image", files.image, "--likelihood",
                        "--option", "red", "--option", "blue"))
                .assertFails(3, "--likelihood");
        CommandLineResult.of(words(
                        "run", "--likelihood", "--repeat-penalty", 2, "--option", "red", "--option", "blue"))
                .assertFails(3, "penalties");
        CommandLineResult.of(words("run", "--option", "red")).assertFails(2, "--option");
        CommandLineResult.of(words("run", "--option", "red", "--option", "blue", "--logprobs", 3))
                .assertFails(2, "--logprobs");
        CommandLineResult.of(words("run", "--strategy", "dcd", "--image", files.image)).assertFails(3, "run --option");
    }

    @Test
    void nothingIsDecodedForAReaderWhoLeft() {
        final OutputStream gone = new OutputStream() {
            @Override
            public void write(final int b) throws IOException {
                throw new IOException("gone");
            }
        };
        final ByteArrayOutputStream err = new ByteArrayOutputStream();
        final int code = Main.execute(
                Arrays.stream(words("run", "--max-tokens", 64)).map(String::valueOf).toList(), gone, err);
        assertEquals(4, code);
        // A whole answer would end with how long it took.
        assertEquals(
                "equipoise: the result could not be written (its reader is gone, or there is no room): "
                        + "standard output: send it where there is room, and a reader to its end",
                err.toString(StandardCharsets.UTF_8).strip());
    }

    @Test
    void peopleAreShownTokensThatCanBeDrawn() {
        final CommandLineResult shown = CommandLineResult.of(words("logits", "--strategy", "plausibility-only"));
        assertEquals(0, shown.code(), shown.err());
        assertFalse(shown.out().contains("Infinity"), shown.out());
    }

    @Test
    void controlsAreMadeOfOtherStrategies() {
        final JsonNode zero = json("run", "--strategy", "zero-scale:mad-note", "--max-tokens", 4);
        assertEquals(json("run", "--max-tokens", 4).get("tokens"), zero.get("tokens"));
        assertEquals("zero-scale:mad-note", zero.get("plan").get("strategy").stringValue());
    }
}
