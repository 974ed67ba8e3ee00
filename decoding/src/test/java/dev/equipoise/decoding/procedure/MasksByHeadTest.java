package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.Explanation;
import dev.equipoise.decoding.Lowering;
import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.TinyRig;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Audio;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Rechoice;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.TraceEntry;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.oracle.AnswerCheck;
import dev.equipoise.runtime.oracle.ContrastOracle;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.NotedChoice;
import dev.equipoise.runtime.oracle.RequestOracle;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.serving.EngineService;
import dev.equipoise.runtime.serving.ServiceOptions;
import dev.equipoise.runtime.tiny.Placement;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * AVCD as its official code runs it, each head of each block choosing its own masks in the pass that they are about:
 * rows against plain forward passes that do so, and what the base chooses against that code's arithmetic, written out a
 * second time.
 */
class MasksByHeadTest {
    private static final int TOKENS = 6;
    private static final int LAYERS = 4;
    private static final String NAME = "avcd-code";

    @TempDir
    static Path directory;

    private static TinyRig rig;
    private static Prompt prompt;
    private static RequestOracle oracle;
    private static int size;

    @BeforeAll
    static void writeModels() {
        rig = new TinyRig(directory, 131);
        prompt = rig.prompt.withSystem("look closely");
        oracle = rig.requests();
        size = rig.attention(prompt)[0].length;
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    private static Strategy code(final double above) {
        return Strategies.parse(
                Strategies.named(NAME).toJson().replaceAll("\"above\" ?: ?[0-9.]+", "\"above\":" + above), NAME);
    }

    private static Strategy read(final String json) {
        return Strategies.parse(json.replace('\'', '"'), "test");
    }

    private static Request request(final Strategy strategy, final int tokens) {
        return NotedChoice.onGpu(Decoding.prepare(rig.engine, strategy, prompt)
                .plan()
                .request(new Limits(tokens, List.of()), Request.MAX_LOG_PROBABILITIES));
    }

    private static Request request(final Strategy strategy) {
        return request(strategy, TOKENS);
    }

    private static TraceEntry entry(final Answer answer, final String intervention) {
        return answer.trace().stream()
                .filter(one -> one.intervention().equals(intervention))
                .findFirst()
                .orElseThrow(() -> new AssertionError(answer.trace().toString()));
    }

    /** Open at every token and at none, in the smallest micro-batch that holds it, and beside others. */
    @ParameterizedTest
    @CsvSource({"0,0", "0,400", "100,0"})
    void everyTokensMasksAreItsPassesOwn(final double above, final int more) {
        final List<Request> requests = List.of(
                request(code(above)),
                request(Strategies.named("pai")),
                request(Strategies.named("avcd")),
                request(code(0)),
                request(Strategies.named("greedy")));
        try (Engine engine = Engine.open(
                rig.model,
                Tolerance.exact(8192).withMaxBranches(20).withMicroBatch(size + TOKENS - 1 + more))) {
            final Answer answer = InCompany.together(engine, oracle, requests);
            final AnswerCheck check = AnswerCheck.of(oracle, requests.getFirst(), answer, Tolerance::f32);
            assertTrue(check.rows() > 3, "too short an answer proves nothing");
            final boolean open = above == 0;
            assertEquals(open ? check.rows() : 0, entry(answer, "contrast:" + NAME).tokens());
            assertEquals(check.rows(), entry(answer, "tokens:look").tokens());
            if (open) {
                // What the base would choose for all heads is something else.
                final Request rows = request(Strategies.parse(
                        code(0).toJson().replaceAll("\"heads\"", "\"rows\""), "rows"));
                for (final Request other : List.of(rows, Request.plain(prompt))) {
                    final double difference = check.differenceFrom(oracle, other);
                    Placement.requireVisible(
                            difference > 10 * check.largestTolerance(),
                            difference + " from " + other.strategy().name());
                }
            }
        }
    }

    // As torch has it.
    private static double median(final double[] row) {
        final double[] sorted = Arrays.stream(row).sorted().toArray();
        return (sorted[(sorted.length - 1) / 2] + sorted[sorted.length / 2]) / 2;
    }

    // Of all blocks but the last the last query's weights; a modality's share by its tokens, of which those of words
    // stand behind the media and count what was generated; the mean over heads of the median of the blocks' mean.
    private static double threshold(final double[][][] attention) {
        double sum = 0;
        for (int head = 0; head < attention[0].length; head++) {
            final double[] mean = new double[attention[0][0].length];
            for (int block = 0; block < LAYERS - 1; block++) {
                for (int column = 0; column < mean.length; column++) {
                    mean[column] += attention[block][head][column] / (LAYERS - 1);
                }
            }
            sum += median(mean);
        }
        return sum / attention[0].length;
    }

    private static double dominance(final double[][][] attention, final Set<Integer> columns) {
        double sum = 0;
        for (int block = 0; block < LAYERS - 1; block++) {
            for (final double[] head : attention[block]) {
                for (final int column : columns) {
                    sum += head[column] / attention[block].length;
                }
            }
        }
        return sum / columns.size();
    }

    @Test
    void whatTheBaseChoosesIsTheOfficialCodes() {
        final Request request = request(code(0), 10);
        final List<Integer> tokens = rig.engine.run(request).tokens();
        final Rechoice rechoice = request.rechoice().orElseThrow();
        final Set<Integer> video = rig.columns(prompt, Modality.IMAGE);
        final Set<Integer> audio = rig.columns(prompt, Modality.AUDIO);
        final Set<Double> thresholds = new TreeSet<>();
        for (int at = 0; at < tokens.size(); at++) {
            final List<Integer> before = tokens.subList(0, at);
            final double[][][] attention = rig.attentionByHead(prompt, before);
            final Set<Integer> language = new TreeSet<>();
            for (int column = new TreeSet<>(audio).last() + 1; column < size + at; column++) {
                language.add(column);
            }
            // The note stands before the picture, as the code's system text does.
            final List<Set<Integer>> sides = new ArrayList<>(List.of(language, video, audio));
            sides.sort((a, b) -> Double.compare(dominance(attention, b), dominance(attention, a)));
            // By name and not by weight: video, then audio, then language.
            final List<Set<Integer>> weaker = new ArrayList<>(List.of(video, audio, language));
            weaker.remove(sides.getFirst());
            final Set<Integer> both = new TreeSet<>(weaker.getFirst());
            both.addAll(weaker.getLast());
            final List<Rechoice.Taken> actual = rechoice.choice().choose(rig.seen(prompt, before, LAYERS - 1));
            for (int b = 1; b < 4; b++) {
                final int which = List.of("less-of-first", "less-of-second", "less-of-both")
                        .indexOf(request.branches().get(b).name());
                assertEquals(List.of(weaker.getFirst(), weaker.getLast(), both).get(which), actual.get(b).columns());
                // Weights in float32, of which a few are added.
                assertEquals(threshold(attention), actual.get(b).above(), 1e-6 * actual.get(b).above());
                thresholds.add(actual.get(b).above());
            }
        }
        assertEquals(tokens.size(), thresholds.size(), "each token has a threshold of its own");
    }

    // That code's masked pass, by itself: in all blocks but the last the last query's weights say of each head which
    // rows of the modality are to be zeros.
    private static double[] masked(final Set<Integer> modality, final double threshold) {
        return rig.row(prompt, new LlamaOracle.Inside() {
            private final double[][][] query = new double[LAYERS][][];

            @Override
            public boolean looksAhead(final int layer) {
                return layer < LAYERS - 1;
            }

            @Override
            public void latest(final int layer, final double[][] weights) {
                query[layer] = weights;
            }

            @Override
            public double[] weights(final int layer, final int head, final int position, final double[] row) {
                final boolean zeros = query[layer] != null
                        && modality.contains(position)
                        && query[layer][head][position] > threshold;
                return zeros ? new double[row.length] : row;
            }
        });
    }

    /** The first token's row without any part of ours but the engine, down to what the cut-off leaves. */
    @Test
    void theFirstRowIsTheOfficialCodes() {
        final double[][][] attention = rig.attentionByHead(prompt, List.of());
        final Set<Integer> video = rig.columns(prompt, Modality.IMAGE);
        final Set<Integer> audio = rig.columns(prompt, Modality.AUDIO);
        final Set<Integer> language = new TreeSet<>();
        for (int column = new TreeSet<>(audio).last() + 1; column < size; column++) {
            language.add(column);
        }
        final List<Set<Integer>> weaker = new ArrayList<>(List.of(video, audio, language));
        weaker.sort((a, b) -> Double.compare(dominance(attention, b), dominance(attention, a)));
        weaker.removeFirst();
        final Set<Integer> both = new TreeSet<>(weaker.getFirst());
        both.addAll(weaker.getLast());
        final double threshold = threshold(attention);
        final double[] all = rig.row(prompt);
        final double[][] rows = {
            all, masked(both, threshold), masked(weaker.getFirst(), threshold), masked(weaker.getLast(), threshold)
        };
        final double[] cut = ContrastOracle.cutOff(all, ContrastOracle.weightedSum(rows, 3, -1, 1, 1), 0.2);
        assertTrue(Arrays.stream(cut).anyMatch(Double::isInfinite), "a cut-off is needed to prove what it leaves");
        final double[] expected =
                Arrays.stream(cut).map(logit -> Double.isInfinite(logit) ? -1e-4f : logit).toArray();
        final float[] actual = rig.engine.logits(request(code(0))).logits();
        // The weights' sum is 6.
        final double difference = Tolerance.largestDifference(expected, actual);
        assertTrue(difference <= 6 * Tolerance.f32(all), difference + " of " + 6 * Tolerance.f32(all));
        // Taken for what it is, also by the one who draws.
        int best = 0;
        for (int y = 1; y < expected.length; y++) {
            best = expected[y] > expected[best] ? y : best;
        }
        assertEquals(best, rig.engine.run(request(code(0))).tokens().getFirst());
    }

    /** Where pictures dominate, generated words are masked, the latest itself among them. */
    @ParameterizedTest
    @ValueSource(strings = {"second", "both"})
    void generatedTokensAreMasked(final String weaker) {
        final Request request = request(
                read("{'attention':[{'edit':'multiply','span':'image','factor':20}],'contrast':{'branches':{'x':{"
                        + "'tokens':{'by':'dominated','weaker':'" + weaker + "','mask':'heads','share':0.9}}},"
                        + "'coefficients':{'base':2,'x':-1}}}"),
                10);
        final Request noted = NotedChoice.in(request);
        final Answer answer = rig.engine.run(noted);
        AnswerCheck.of(oracle, Placement.onGpu() ? noted : request, answer, Tolerance::f32);
        final long masked = NotedChoice.of(noted).stream()
                .flatMap(taken -> taken.get(1).columns().stream())
                .filter(column -> column >= size)
                .count();
        assertTrue(masked > 0, "words were never the weaker ones");
        final TraceEntry entry = entry(answer, "x/tokens:dominated");
        assertEquals(List.of(0, 1, 2), entry.layers());
        assertTrue(entry.meanDeltaNorm() > 0);
    }

    /** Edits, and other branches of the same request, which are read whole as well. */
    @ParameterizedTest
    @ValueSource(strings = {
        "'other':{'without':['image']}",
        "'other':{'tokens':{'by':'blind','lambda':0.2}}",
        "'other':{'tokens':{'by':'dominated','weaker':'first'}}",
        "'other':{'attention':[{'edit':'mask','span':'context','layers':'1-2'}],"
                + "'tokens':{'by':'dominated','weaker':'second','mask':'rows','share':0.2}}",
        "'other':{'silence':['audio'],'tokens':{'by':'dominated','mask':'heads','share':0.7,'behind':true}}"
    })
    void besideOtherBranches(final String branch) {
        final Request request = request(read("{'attention':[{'edit':'pai','span':'image','alpha':0.4,'layers':'1'},"
                + "{'edit':'reallocate','from':'audio','to':'image','threshold':0.1,'fraction':0.6,'layers':'2'}],"
                + "'contrast':{'branches':{'x':{'tokens':{'by':'dominated','mask':'heads'}}," + branch
                + "},'coefficients':{'base':2,'x':'-0.1 * min(2, entropy(base))','other':-0.5},'beta':0.05},"
                + "'gate':{'kind':'disagreement','every':2}}"));
        final AnswerCheck check = AnswerCheck.of(oracle, request, rig.engine.run(request), Tolerance::f32);
        assertTrue(check.rows() > 2);
    }

    /** Of a medium that stands twice in a row each is read from its first row on. */
    @Test
    void aPictureThatStandsTwiceInARow() {
        final byte[] pixels = new byte[3 * 32 * 32];
        new Random(3).nextBytes(pixels);
        final Image picture = Image.rgb(32, 32, pixels);
        final Prompt twice = Prompt.builder()
                .image(picture)
                .image(picture)
                .audio(Audio.pcm(new float[16_000]))
                .text("which")
                .build();
        final Request request = NotedChoice.onGpu(Decoding.prepare(rig.engine, code(0), twice)
                .plan()
                .request(new Limits(3, List.of()), Request.MAX_LOG_PROBABILITIES));
        AnswerCheck.of(oracle, request, rig.engine.run(request), Tolerance::f32);
    }

    @Test
    void theRowOfAPromptIsThatOfItsFirstToken() {
        final Request request = request(code(0));
        final RequestOracle.Row expected = oracle.row(request, List.of());
        final float[] actual = rig.engine.logits(request).logits();
        final double allowed = expected.weight() * Tolerance.f32(expected.base());
        for (int y = 0; y < actual.length; y++) {
            final double difference = Math.abs(expected.logits()[y] - actual[y]);
            assertTrue(
                    difference <= allowed || Math.abs(expected.margin()[y]) <= allowed,
                    "token " + y + ": " + difference);
        }
    }

    /** A service reads it like any request, and what is cancelled in the middle of a reading leaves nothing. */
    @Test
    void throughAService() throws Exception {
        Placement.requireCpu("what is chosen for a service's request is not noted");
        final Strategy strategy = code(0);
        try (EngineService service = EngineService.open(
                rig.model, Tolerance.exact(2048).withMaxBranches(10), ServiceOptions.defaults())) {
            for (final Answer answer : InCompany.served(service, strategy, prompt, TOKENS)) {
                AnswerCheck.of(oracle, request(strategy), answer, Tolerance::f32);
            }
        }
    }

    /** It rests between two branches as well as between two tokens, and others begin meanwhile. */
    @Test
    void restsAndLetsOthersIn() {
        try (Engine engine = Engine.open(rig.model, Tolerance.exact(4096).withMaxBranches(16))) {
            final Request request = request(code(0), 30);
            final Answer answer =
                    InCompany.rested(engine, request, request(code(0), 30), request(Strategies.named("greedy"), 2), 8);
            AnswerCheck.of(oracle, request, answer, Tolerance::f32);
        }
    }

    @Test
    void isExplained() {
        final Explanation explanation = Explanation.of(Lowering.lower(code(0.6), prompt, 0, LAYERS))
                .with(rig.engine.describe(request(code(0.6))));
        final Explanation.Step chooses = explanation.steps().getFirst();
        assertEquals("tokens", chooses.intervention());
        assertTrue(chooses.mechanism().contains("in each head by itself"), chooses.mechanism());
        assertTrue(chooses.extraCost().contains("in one micro-batch"), chooses.extraCost());
        assertTrue(explanation.steps().stream().anyMatch(step -> step.intervention().equals("tokens:dominated")
                && step.mechanism().contains("in each head")
                && step.extraCost().contains("flash")));
    }

    @Test
    void whatCannotBeIsRefused() {
        for (final String tokens : List.of(
                "{'by':'dominated','mask':'heads','refresh':'request'}|tokens.refresh",
                "{'by':'dominated','mask':'heads','within':true}|tokens.within")) {
            final String[] parts = tokens.split("\\|");
            final BadInputException fault = assertThrows(BadInputException.class, () -> read(
                    "{'contrast':{'branches':{'x':{'tokens':" + parts[0] + "}},'coefficients':{'base':2,'x':-1}}}"));
            assertTrue(fault.where().contains(parts[1]), fault.getMessage());
        }
        final Request request = request(code(0));
        try (Engine small = Engine.open(rig.model, Tolerance.exact(2048).withMicroBatch(size + TOKENS - 2))) {
            final BadInputException fault = assertThrows(BadInputException.class, () -> small.submit(request));
            assertTrue(fault.where().contains(size + TOKENS - 1 + " columns"), fault.getMessage());
            assertTrue(fault.remedy().contains("--micro-batch"), fault.getMessage());
            assertEquals(small.room().cells(), small.room().freeCells());
            // One token less fits.
            AnswerCheck.of(oracle, request, small.run(request(code(0), TOKENS - 1)), Tolerance::f32);
        }
        final Intervention mute = new Intervention.MuteAttended(
                "mute", Set.of(Modality.IMAGE), Optional.empty(), 0.1, new TreeSet<>(Set.of(0)));
        assertThrows(BadInputException.class, () -> rig.engine.observe(new Branch("mute", prompt, List.of(mute))));
        assertThrows(BadInputException.class, () -> new Intervention.MuteAttended(
                "mute", Set.of(Modality.IMAGE), Optional.empty(), 1.1, new TreeSet<>(Set.of(0))));
    }
}
