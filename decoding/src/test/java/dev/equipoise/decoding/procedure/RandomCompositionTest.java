package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.LinearContrast;
import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.TinyRig;
import dev.equipoise.decoding.Variation;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.FinishReason;
import dev.equipoise.runtime.Generation;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.NativeInfo;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.StrategyLabel;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.oracle.AnswerCheck;
import dev.equipoise.runtime.oracle.NotedChoice;
import dev.equipoise.runtime.oracle.RequestOracle;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.serving.EngineService;
import dev.equipoise.runtime.serving.ServiceOptions;
import dev.equipoise.runtime.serving.Ticket;
import dev.equipoise.steering.vector.ControlVectorFile;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Strategies put together at random from everything that files can say of a request's branches and of what acts inside
 * the network: each is refused with a reason, or answers as the oracle does, alone and beside the others.
 */
class RandomCompositionTest {
    private static final int TRIES = Integer.getInteger("equipoise.test.compositions", 100);
    private static final long FIRST = Long.getLong("equipoise.test.firstComposition", 1);
    private static final int TOGETHER = 6;
    private static final int TOKENS = 3;
    private static final int LAYERS = 4;
    private static final List<String> MODALITIES = List.of("system", "context", "image", "audio", "text");

    @TempDir
    static Path directory;

    private static TinyRig rig;
    private static Prompt prompt;
    private static RequestOracle oracle;

    @BeforeAll
    static void write() {
        rig = new TinyRig(directory, 131);
        prompt = rig.prompt.withSystem("look closely");
        oracle = rig.requests();
        final Random random = new Random(132);
        for (int file = 0; file < 4; file++) {
            final Map<Integer, float[]> vectors = new HashMap<>();
            for (int layer = 0; layer < LAYERS; layer++) {
                final float[] vector = new float[rig.model.info().width()];
                for (int i = 0; i < vector.length; i++) {
                    vector[i] = (float) random.nextGaussian();
                }
                vectors.put(layer, vector);
            }
            new ControlVectorFile("llama", new LayerVectors(vectors)).write(directory.resolve("v" + file + ".gguf"));
        }
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    /** Texts of strategy files, the same for the same seed. */
    private static final class Maker {
        private final Random random;

        Maker(final long seed) {
            random = new Random(seed);
        }

        private String one(final String... of) {
            return of[random.nextInt(of.length)];
        }

        private boolean chance(final double share) {
            return random.nextDouble() < share;
        }

        private String number(final double least, final double most) {
            return String.format(Locale.ROOT, "%.3f", least + random.nextDouble() * (most - least));
        }

        private String modality() {
            return MODALITIES.get(random.nextInt(MODALITIES.size()));
        }

        private String some(final List<String> of, final int most) {
            final int count = 1 + random.nextInt(most);
            return random.ints(0, of.size())
                    .distinct()
                    .limit(count)
                    .mapToObj(i -> "\"" + of.get(i) + "\"")
                    .collect(Collectors.joining(",", "[", "]"));
        }

        private String vector() {
            return directory.resolve("v" + random.nextInt(4) + ".gguf").toString();
        }

        private String layers() {
            return one("all", "0", "1", "2", "0-1", "1-2", "0,2", "0-2/2", "25%-75%", "all-but-last");
        }

        private String scope() {
            final List<String> keys = new ArrayList<>();
            if (chance(0.3)) {
                keys.add("\"phase\":[" + one("\"prompt\"", "\"generated\"", "\"prompt\",\"generated\"") + "]");
            }
            if (chance(0.4)) {
                keys.add("\"modality\":" + some(MODALITIES, 3));
            }
            if (chance(0.1)) {
                keys.add("\"media\":" + random.nextInt(2));
            }
            if (chance(0.2)) {
                final int first = random.nextInt(60);
                keys.add("\"positions\":\"" + first + "-" + (first + random.nextInt(30)) + "\"");
            }
            if (chance(0.3)) {
                keys.add("\"" + one("last", "after-media", "after-instruction") + "\":true");
            }
            return "{" + String.join(",", keys) + "}";
        }

        private String steer() {
            final String op = one("add", "add-norm-preserving", "add-norm-capped", "add-signed", "ablate", "clamp",
                    "rotate", "rotate-toward", "turn", "turn-aware");
            final String at = one("layer", "layer", "layer", "mlp", "attention", "norm", "embedding");
            final String amount = switch (op) {
                case "ablate" -> "";
                case "clamp" -> ",\"target\":" + number(-3, 3);
                case "rotate", "rotate-toward" -> ",\"second\":\"" + vector() + "\",\"angle\":" + number(-180, 180);
                default -> ",\"scale\":" + number(-0.6, 0.6);
            };
            final String layers = at.equals("embedding") ? one("0", "1") : layers();
            return "{\"vector\":\"" + vector() + "\",\"op\":\"" + op + "\",\"at\":\"" + at + "\"" + amount
                    + ",\"layers\":\"" + layers + "\",\"scope\":" + scope() + "}";
        }

        private String attention() {
            final String span = modality();
            final String medium = chance(0.1) ? ",\"media\":" + random.nextInt(2) : "";
            final String rest = ",\"layers\":\"" + layers() + "\"";
            final String heads = chance(0.3) ? ",\"heads\":\"" + one("0", "1,3", "0-2") + "\"" : "";
            final String queries =
                    chance(0.4) ? ",\"queries\":\"" + one("all", "last", "generated", "after-media") + "\"" : "";
            final String most = heads + queries + rest + "}";
            return switch (one("multiply", "mask", "temperature", "pai", "vaf", "var", "reallocate", "outro")) {
                case "multiply" -> "{\"edit\":\"multiply\",\"span\":\"" + span + "\",\"factor\":"
                        + (chance(0.1) ? "0" : number(0.1, 6)) + medium + most;
                case "mask" -> "{\"edit\":\"mask\",\"span\":\"" + span + "\"" + medium
                        + (chance(0.5) ? ",\"from\":" + some(MODALITIES, 2) : "") + rest + "}";
                case "temperature" -> "{\"edit\":\"temperature\",\"tau\":" + number(0.5, 2) + most;
                case "pai" -> "{\"edit\":\"pai\",\"span\":\"" + span + "\",\"alpha\":" + number(-0.5, 1) + most;
                case "vaf" -> "{\"edit\":\"vaf\",\"span\":\"" + span + "\"" + most;
                case "var" -> "{\"edit\":\"var\",\"span\":\"" + span + "\",\"sinkDimensions\":\"3,17\",\"tau\":"
                        + number(0.8, 2) + ",\"rho\":0.9,\"mass\":0.05" + most;
                case "outro" -> "{\"edit\":\"outro\",\"threshold\":" + number(1.5, 3) + ",\"medianFactor\":"
                        + number(0, 4) + ",\"gamma\":" + one("0", "3", "0.7") + ",\"temperature\":" + number(0.05, 1)
                        + (chance(0.5) ? ",\"every\":" + random.nextInt(3) : "") + rest + "}";
                default -> "{\"edit\":\"reallocate\",\"from\":\"" + span + "\",\"to\":\"" + modality()
                        + "\",\"threshold\":" + number(0, 0.6) + ",\"fraction\":" + number(0, 1) + most;
            };
        }

        private String exits() {
            final String layers = one("0", "0,2", "embedding,1", "low", "high", "all-but-last");
            final String normed = chance(0.5) ? ",\"normed\":true" : "";
            return chance(0.5)
                    ? "{\"method\":\"average\",\"layers\":\"" + layers + "\",\"weight\":"
                            + number(0, 0.5) + normed + "}"
                    : "{\"method\":\"contrast\",\"layers\":\"" + layers + "\",\"relativeTop\":"
                            + (chance(0.5) ? "0" : number(0.001, 0.1)) + normed
                            + (chance(0.5) ? ",\"divergence\":\"arithmetic-geometric\"" : "") + "}";
        }

        private String list(final String key, final int most, final Supplier<String> item) {
            final int count = random.nextInt(most + 1);
            return count == 0
                    ? ""
                    : "\"" + key + "\":" + IntStream.range(0, count)
                            .mapToObj(i -> item.get())
                            .collect(Collectors.joining(",", "[", "]"));
        }

        private void inside(final List<String> keys, final double share) {
            if (chance(share)) {
                keys.add(list("steer", 2, this::steer));
            }
            if (chance(share)) {
                keys.add(list("attention", 2, this::attention));
            }
            if (chance(share / 3)) {
                keys.add("\"exits\":[" + exits() + "]");
            }
        }

        private static String object(final List<String> keys) {
            return keys.stream().filter(key -> !key.isEmpty()).collect(Collectors.joining(",", "{", "}"));
        }

        private String compress() {
            return "\"compress\":{\"keep\":" + number(0.2, 0.9) + ",\"saliency\":\"" + one("norm", "attention") + "\"}";
        }

        private String branch() {
            final List<String> keys = new ArrayList<>();
            switch (random.nextInt(9)) {
                case 0 -> keys.add("\"without\":" + some(List.of("image", "audio", "context", "system"), 2));
                case 1 -> keys.add("\"only\":" + some(List.of("image", "audio", "context"), 2));
                case 2 -> keys.add("\"noise\":{\"step\":" + random.nextInt(1000) + "}");
                case 3 -> keys.add("\"silence\":" + some(MODALITIES, 2));
                case 4 -> keys.add(compress());
                case 5 -> keys.add("\"tokens\":" + one(
                        "{\"by\":\"least-attended\",\"share\":0.4,\"layer\":" + (1 + random.nextInt(3)) + "}",
                        "{\"by\":\"blind\",\"span\":\"" + one("image", "audio") + "\",\"lambda\":0.2}",
                        "{\"by\":\"dominated\",\"weaker\":\"" + one("first", "second", "both") + "\",\"mask\":\""
                                + one("columns", "rows") + "\",\"within\":" + chance(0.5) + ",\"refresh\":\""
                                + one("step", "request") + "\"}"));
                case 6 -> keys.add("\"system\":\"be odd\"");
                case 7 -> keys.add("\"picture\":" + one("{\"draw\":\"all\"}", "{\"blackout\":\"3,1,20,30\"}"));
                default -> { }
            }
            inside(keys, 0.4);
            return object(keys);
        }

        private String contrast() {
            final int count = 1 + random.nextInt(3);
            final List<String> branches = new ArrayList<>();
            final List<String> coefficients = new ArrayList<>(List.of("\"base\":" + number(1, 3)));
            for (int b = 0; b < count; b++) {
                branches.add("\"b" + b + "\":" + branch());
                coefficients.add("\"b" + b + "\":" + one(
                        number(-1, 0.5), "\"0.2 * min(1, t / 3)\"", "\"0.1 * min(1, entropy(base))\"",
                        "\"-0.1 * min(2, entropy(b" + b + "))\""));
            }
            final List<String> keys = new ArrayList<>();
            keys.add("\"branches\":" + object(branches));
            keys.add("\"coefficients\":" + object(coefficients));
            keys.add(chance(0.3) ? "\"logProbabilities\":true" : "");
            keys.add(chance(0.5) ? "\"beta\":" + number(0.001, 0.2) : "");
            keys.add(chance(0.2) ? "\"cutOff\":\"b0\"" : "");
            keys.add(chance(0.1) ? "\"cutOffValue\":" + number(-3, -1) : "");
            return "\"contrast\":" + object(keys);
        }

        private String gate() {
            return "\"gate\":" + one(
                    "{\"kind\":\"entropy\",\"above\":" + number(2, 6) + "}",
                    "{\"kind\":\"confidence\",\"below\":" + number(0, 0.3) + "}",
                    "{\"kind\":\"disagreement\",\"every\":" + (1 + random.nextInt(3)) + "}");
        }

        private String forkMerge() {
            return "\"forkMerge\":{\"silence\":" + one(
                            "[\"image\",\"audio\"]", "[\"context\",\"image\"]", "[\"audio\",\"context\"]")
                    + ",\"by\":\"" + one("zeros", "mask") + "\",\"layer\":" + random.nextInt(3)
                    + ",\"alpha\":{\"image\":" + number(0, 1) + ",\"text\":" + number(0, 1) + "}}";
        }

        String strategy() {
            final List<String> keys = new ArrayList<>();
            keys.add(chance(0.15) ? compress() : "");
            inside(keys, 0.6);
            keys.add(chance(0.2) ? forkMerge() : "");
            if (chance(0.6)) {
                keys.add(contrast());
                keys.add(chance(0.3) ? gate() : "");
            }
            return object(keys);
        }
    }

    /** Put together by hand: what parts make of each other that is neither's own. */
    @ParameterizedTest
    @ValueSource(strings = {
        // Tokens that exits cut off of another branch's row would be infinitely far from the sum.
        "{'exits':[{'method':'contrast','layers':'low','relativeTop':0.1}],'contrast':{'method':'cad'}}",
        "{'exits':[{'method':'contrast','layers':'high','relativeTop':0.05,'normed':true}],"
                + "'forkMerge':{'silence':['image','audio'],'layer':1},"
                + "'contrast':{'branches':{'b':{'without':['context']}},'coefficients':{'base':2,'b':-1},'beta':0.01}}",
        "{'contrast':{'branches':{'early':{'exits':[{'method':'contrast','layers':'low','relativeTop':0.1}]}},"
                + "'coefficients':{'base':-1,'early':2},'beta':0.01,'cutOff':'early'}}",
        // What the cut-off leaves of a token may make it the best: then the rows disagree.
        "{'contrast':{'branches':{'b':{'without':['image']}},'coefficients':{'base':2,'b':-1},"
                + "'logProbabilities':true,'beta':0.5,'cutOffValue':-1.5},'gate':{'kind':'disagreement','every':3}}",
        // A prompt that is read whole beside those that are read in pieces, and beside another.
        "{'attention':[{'edit':'outro','threshold':2,'medianFactor':0,'layers':'all'}],"
                + "'contrast':{'branches':{'b':{'without':['image']}},'coefficients':{'base':2,'b':-1},'beta':0.01}}",
        "{'contrast':{'branches':{'a':{'without':['context']},'b':{'without':['image'],"
                + "'attention':[{'edit':'outro','threshold':2.2,'medianFactor':0,'every':1,'layers':'0-2'}]}},"
                + "'coefficients':{'base':2,'a':'-0.5','b':'-0.5'}}}",
        "{'attention':[{'edit':'outro','threshold':2,'medianFactor':0}],"
                + "'steer':[{'vector':'V','scale':0.5,'layers':'0-2'}],'search':{'beams':2}}",
        // A silenced state has no direction.
        "{'contrast':{'branches':{'b':{'silence':['system','text'],"
                + "'steer':[{'vector':'V','op':'turn','scale':0.5,'layers':'0-2'}]}},'coefficients':{'base':2,'b':-1}}}"
    })
    void partsThatMeet(final String json) {
        final Request request = request(
                json.replace("'V'", "'" + directory.resolve("v0.gguf") + "'").replace('\'', '"'));
        final Answer answer = rig.engine.run(request);
        assertEquals(Math.max(1, answer.tokens().size()),
                AnswerCheck.of(oracle, request, answer, Tolerance::f32).rows());
    }

    @Test
    void aCutOffOfExitsOnAnotherBranchIsRefused() {
        final BadInputException fault = assertThrows(BadInputException.class, () -> request("""
                {"contrast": {"branches": {"early": {"exits": [{"method": "contrast", "layers": "low"}]}},
                              "coefficients": {"base": 2, "early": -1}}}"""));
        assertTrue(fault.where().contains("branch early, exits.relativeTop"), fault.where());
    }

    private static Request request(final String json) {
        final Strategy strategy = Strategies.parse(json, "random");
        assertEquals(
                strategy.fingerprint(LAYERS),
                Strategies.parse(strategy.toJson(), "again").fingerprint(LAYERS),
                json);
        return NotedChoice.onGpu(Decoding.prepare(rig.engine, strategy, prompt)
                .plan()
                .request(new Limits(TOKENS, List.of()), Request.MAX_LOG_PROBABILITIES));
    }

    @Test
    void isRefusedOrAnswersAsTheOracle() {
        final Engine.Room whole = rig.engine.room();
        final long open = NativeInfo.liveObjects();
        final List<Request> batch = new ArrayList<>();
        final List<String> texts = new ArrayList<>();
        final List<String> faults = new ArrayList<>();
        int compared = 0;
        for (long seed = FIRST; seed < FIRST + TRIES; seed++) {
            final String json = new Maker(seed).strategy();
            try {
                final Request request = request(json);
                final Answer answer = rig.engine.run(request);
                if (seed % 4 == 0) {
                    requireNoOrder(request, json);
                }
                if (!answer.logProbabilities().isEmpty()) {
                    AnswerCheck.of(oracle, request, answer, Tolerance::f32);
                    compared++;
                    batch.add(request);
                    texts.add(seed + ": " + json);
                }
            } catch (final BadInputException e) {
                assertFalse(e.remedy().isBlank(), json);
            } catch (final RuntimeException | AssertionError e) {
                faults.add(seed + ": " + e + "\n" + json);
            }
            if (!whole.equals(rig.engine.room()) || open != NativeInfo.liveObjects()) {
                faults.add(seed + ": leaves something behind: " + rig.engine.room() + "\n" + json);
            }
            if (batch.size() == TOGETHER) {
                together(batch, texts, faults, seed);
                batch.clear();
                texts.clear();
            }
        }
        assertTrue(faults.isEmpty(), () -> String.join("\n", faults));
        assertTrue(compared >= TRIES / 2, compared + " of " + TRIES + " compared prove little");
    }

    // Branches that stand the other way round are the same to the last bit.
    private static void requireNoOrder(final Request request, final String json) {
        final Strategy strategy = Strategies.parse(json, "random");
        if (!(strategy.contrast().orElse(null) instanceof LinearContrast linear)) {
            return;
        }
        final Map<String, Variation> turned = new LinkedHashMap<>();
        final List<String> names = new ArrayList<>(linear.branches().keySet());
        names.reversed().forEach(name -> turned.put(name, linear.branches().get(name)));
        final Strategy other = strategy.withContrast(linear.withBranches(turned));
        assertEquals(strategy.fingerprint(LAYERS), other.fingerprint(LAYERS));
        assertArrayEquals(
                rig.engine.logits(request).logits(),
                rig.engine
                        .logits(Decoding.prepare(rig.engine, other, prompt)
                                .plan()
                                .request(new Limits(TOKENS, List.of()), Request.MAX_LOG_PROBABILITIES))
                        .logits());
    }

    private static void together(
            final List<Request> batch, final List<String> texts, final List<String> faults, final long seed) {
        // What is read at once needs room for all of it.
        final boolean whole = texts.stream().anyMatch(text -> text.contains("outro"));
        final int microBatch = whole ? 512 : List.of(5, 16, 64).get((int) (seed % 3));
        final EngineOptions options = Tolerance.exact(4096)
                .withMaxBranches(1 + batch.stream().mapToInt(one -> one.branches().size()).sum())
                .withMicroBatch(microBatch);
        try (Engine engine = Engine.open(rig.model, options)) {
            final List<Generation> all = new ArrayList<>();
            batch.forEach(one -> all.add(engine.submit(one)));
            final Generation left = engine.submit(Request.plain(prompt));
            while (!all.stream().allMatch(Generation::isDone)) {
                engine.step();
                left.cancel();
            }
            for (int i = 0; i < batch.size(); i++) {
                try {
                    final Answer answer = all.get(i).answer();
                    assertFalse(answer.logProbabilities().isEmpty());
                    AnswerCheck.of(oracle, batch.get(i), answer, Tolerance::f32);
                } catch (final AssertionError e) {
                    faults.add("together, micro-batch " + microBatch + ", " + texts.get(i) + "\n" + e);
                }
            }
        } catch (final RuntimeException e) {
            faults.add("together, micro-batch " + microBatch + ": " + e + "\n" + String.join("\n", texts));
        }
    }

    /** Many threads, each of which reads, stops reading or cancels at a moment of its own: nothing is left of any. */
    @Test
    void whateverBecomesOfThemASharedEngineIsAsBefore() throws Exception {
        final long open = NativeInfo.liveObjects();
        final EngineOptions options = Tolerance.exact(2048).withMaxBranches(10).withMicroBatch(16);
        final ServiceOptions impatient = ServiceOptions.defaults()
                .withStreamTokens(1)
                .withWaiting(1000)
                .withPatience(Duration.ofMillis(20));
        try (EngineService service = EngineService.open(rig.model, options, impatient);
                ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
            final List<Future<FinishReason>> ends = new ArrayList<>();
            for (long seed = FIRST; seed < FIRST + TRIES; seed++) {
                final Random random = new Random(-seed);
                final Strategy strategy;
                try {
                    strategy = Strategies.parse(new Maker(seed).strategy(), "random");
                } catch (final BadInputException e) {
                    continue;
                }
                ends.add(threads.submit(() -> used(service, strategy, random)));
            }
            for (final Future<FinishReason> end : ends) {
                end.get(); // refusals are ends too
            }
            assertEquals(new EngineService.Load(0, 0), service.load());
            final Ticket<Answer> whole = service.submit(new Request(
                    Request.plain(prompt).branches(),
                    Optional.empty(),
                    Sampling.greedy(),
                    new Limits(1900, List.of()),
                    0,
                    StrategyLabel.PLAIN));
            assertTrue(whole.next().isPresent());
            whole.cancel();
        }
        assertEquals(open, NativeInfo.liveObjects());
    }

    private static FinishReason used(final EngineService service, final Strategy strategy, final Random random)
            throws InterruptedException {
        try {
            final Ticket<Answer> ticket = Decoding.submit(service, strategy, prompt, new Limits(8, List.of()), 0);
            switch (random.nextInt(4)) {
                case 0 -> Thread.sleep(random.nextInt(40)); // and then cancels
                case 1 -> ticket.next(); // and then cancels
                case 2 -> {
                    ticket.next();
                    Thread.sleep(60); // its reader stays away for longer than it is waited for
                    return ticket.await().finish();
                }
                default -> {
                    return ticket.await().finish();
                }
            }
            ticket.cancel();
            return ticket.await().finish();
        } catch (final BadInputException e) {
            return FinishReason.STOP;
        }
    }
}
