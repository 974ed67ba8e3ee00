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
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Gate;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Rechoice;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.TraceEntry;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.oracle.AnswerCheck;
import dev.equipoise.runtime.oracle.NotedChoice;
import dev.equipoise.runtime.oracle.RequestOracle;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.serving.EngineService;
import dev.equipoise.runtime.serving.ServiceOptions;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.steering.vector.ControlVectorFile;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * AVCD's masks, which are chosen anew for every token: each row against plain forward passes over prompt and tokens so
 * far under fresh masks, and the choices against the paper's way of making them, written out a second time.
 */
class RechosenTokensTest {
    private static final int TOKENS = 6;
    private static final int LAYERS = 4;
    // Fewer columns than any of the prompts has, and no divisor of theirs.
    private static final int SMALL = 7;

    @TempDir
    static Path directory;

    private static TinyRig rig;
    private static Prompt prompt;
    private static RequestOracle oracle;

    @BeforeAll
    static void writeModels() {
        rig = new TinyRig(directory, 97);
        prompt = rig.prompt.withSystem("look closely");
        oracle = rig.requests();
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    private static Request request(final Strategy strategy) {
        return request(strategy, TOKENS);
    }

    private static Request request(final Strategy strategy, final int tokens) {
        return NotedChoice.onGpu(Decoding.prepare(rig.engine, strategy, prompt)
                .plan()
                .request(new Limits(tokens, List.of()), Request.MAX_LOG_PROBABILITIES));
    }

    // One that mutes what the base chooses, too, which no preset does.
    private static Strategy named(final String name) {
        return name.equals("rows")
                ? Strategies.parse(
                        Strategies.named("avcd-code")
                                .toJson()
                                .replaceAll("avcd-code", "rows")
                                .replaceAll("\"heads\"", "\"rows\"")
                                .replaceAll("\"behind\" ?: ?true", "\"behind\":false"),
                        name)
                : Strategies.named(name);
    }

    private static Strategy preset(final String name, final double above) {
        return Strategies.parse(
                named(name).toJson().replaceAll("\"above\" ?: ?[0-9.]+", "\"above\":" + above), name);
    }

    private static Strategy once(final String name) {
        return Strategies.parse(
                named(name).toJson().replaceAll("\"refresh\" ?: ?\"step\"", "\"refresh\":\"request\""),
                name);
    }

    private static Strategy read(final String json) {
        return Strategies.parse(json.replace('\'', '"'), "test");
    }

    /** Open at every token, at none, and where the model is undecided; in pieces, and beside others. */
    @ParameterizedTest
    @CsvSource({
        "avcd,0,512", "avcd,0,7", "avcd,100,7", "rows,0,512", "rows,0,7", "rows,100,512",
        "avcd-avhbench,0,7", "avcd-avhbench,100,7"
    })
    void everyTokenHasMasksOfItsOwn(final String name, final double above, final int microBatch) {
        final List<Request> requests = List.of(
                request(preset(name, above)),
                request(Strategies.named("pai")),
                request(once(name)),
                request(Strategies.named("sid")),
                request(preset(name.equals("avcd") ? "rows" : "avcd", 0)),
                request(Strategies.named("greedy")));
        assertEquals(Optional.of(new Gate.Entropy(above)), requests.getFirst().gate());
        // Other gates' branches come along for as long as can be, or never.
        try (Engine engine = Engine.open(
                rig.model,
                Tolerance.exact(8192)
                        .withMaxBranches(24)
                        .withMicroBatch(microBatch)
                        .withGatePatience(microBatch == SMALL ? Integer.MAX_VALUE : 0))) {
            final Answer answer = InCompany.together(engine, oracle, requests);
            final AnswerCheck check = AnswerCheck.of(oracle, requests.getFirst(), answer, Tolerance::f32);
            assertTrue(check.rows() > 3, "too short an answer proves nothing");
            final boolean open = above == 0;
            assertEquals(open ? check.rows() : 0, entry(answer, "contrast:" + name).tokens());
            final TraceEntry look = entry(answer, "tokens:look");
            assertEquals(check.rows(), look.tokens());
            // What --attention reports is what was asked for with it, not this.
            assertTrue(look.attention().isEmpty());
            if (open) {
                // The prompt's choice for all tokens is something else, and so is no choice.
                for (final Request other : List.of(requests.get(2), Request.plain(prompt))) {
                    final double difference = check.differenceFrom(oracle, other);
                    Placement.requireVisible(
                            difference > 10 * check.largestTolerance(),
                            difference + " from " + other.strategy().name());
                }
            }
        }
    }

    /** A gate that shuts at some tokens leaves the others' choices as they are. */
    @ParameterizedTest
    @ValueSource(strings = {
        "{'kind':'entropy','above':%s}", "{'kind':'disagreement','every':2}", "{'kind':'confidence','below':%s}"
    })
    void gatesThatShutNowAndThen(final String gate) {
        int shut = 0;
        int open = 0;
        for (final String threshold : gate.contains("entropy")
                ? List.of("5.5", "5.7", "5.9")
                : List.of("0.01", "0.02", "0.04")) {
            for (final String name : List.of("avcd", "rows")) {
                final Strategy strategy = Strategies.parse(
                        named(name)
                                .toJson()
                                .replaceAll(
                                        "\\{[^{}]*\"above\"[^{}]*\\}",
                                        gate.formatted(threshold).replace('\'', '"')),
                        name);
                final Request request = request(strategy, 8);
                final Answer answer;
                try (Engine engine = Engine.open(
                        rig.model,
                        Tolerance.exact(1024).withMicroBatch(SMALL).withGatePatience(Integer.MAX_VALUE))) {
                    answer = engine.run(request);
                }
                AnswerCheck.of(oracle, request, answer, Tolerance::f32);
                final int combined = entry(answer, "contrast:" + name).tokens();
                open += combined;
                shut += answer.logProbabilities().size() - combined;
            }
        }
        assertTrue(open > 0 && shut > 0, open + " open, " + shut + " shut");
    }

    private static TraceEntry entry(final Answer answer, final String intervention) {
        return answer.trace().stream()
                .filter(one -> one.intervention().equals(intervention))
                .findFirst()
                .orElseThrow(() -> new AssertionError(answer.trace().toString()));
    }

    // The last query's attention, the mean of the heads and of all blocks but the last; words are all columns of the
    // note and the user, generated ones too; the threshold is the median of all columns.
    private static List<Set<Integer>> chosen(final List<Integer> generated, final boolean perToken) {
        final double[][] attention = rig.attention(prompt, generated);
        final double[] map = new double[attention[0].length];
        for (int block = 0; block < LAYERS - 1; block++) {
            for (int column = 0; column < map.length; column++) {
                map[column] += attention[block][column] / (LAYERS - 1);
            }
        }
        final Set<Integer> words = rig.columns(prompt, Modality.TEXT, Modality.CONTEXT);
        for (int i = 0; i < generated.size(); i++) {
            words.add(map.length - generated.size() + i);
        }
        final List<Set<Integer>> sides = new ArrayList<>(List.of(
                rig.columns(prompt, Modality.IMAGE), rig.columns(prompt, Modality.AUDIO), words));
        int dominant = 0;
        for (int side = 1; side < 3; side++) {
            dominant = weight(sides.get(side), map, perToken) > weight(sides.get(dominant), map, perToken)
                    ? side
                    : dominant;
        }
        sides.remove(dominant);
        final double[] sorted = Arrays.stream(map).sorted().toArray();
        final double median = (sorted[(sorted.length - 1) / 2] + sorted[sorted.length / 2]) / 2;
        sides.forEach(side -> side.removeIf(column -> map[column] <= median));
        final Set<Integer> both = new TreeSet<>(sides.getFirst());
        both.addAll(sides.getLast());
        return List.of(sides.getFirst(), sides.getLast(), both);
    }

    private static double weight(final Set<Integer> side, final double[] map, final boolean perToken) {
        return side.stream().mapToDouble(column -> map[column]).sum() / (perToken ? side.size() : 1);
    }

    /** The choice is another one at every token, and about generated tokens where words are weaker. */
    @ParameterizedTest
    @CsvSource({"avcd,false", "rows,true", "avcd-avhbench,false"})
    void choicesAreThePapers(final String name, final boolean perToken) {
        final Request request = request(preset(name, 0), 12);
        final List<Integer> tokens = rig.engine.run(request).tokens();
        final Rechoice rechoice = request.rechoice().orElseThrow();
        assertEquals(
                List.of("base", "less-of-both", "less-of-first", "less-of-second"),
                request.branches().stream().map(branch -> branch.name()).sorted().toList());
        final int size = rig.attention(prompt)[0].length;
        final Set<Set<Integer>> ofPrompt = new HashSet<>();
        for (int at = 0; at < tokens.size(); at++) {
            final List<Integer> before = tokens.subList(0, at);
            final List<Set<Integer>> expected = chosen(before, perToken);
            final List<Rechoice.Taken> actual = rechoice.choice().choose(rig.seen(prompt, before, LAYERS - 1));
            for (int b = 1; b < 4; b++) {
                final int which = List.of("less-of-first", "less-of-second", "less-of-both")
                        .indexOf(request.branches().get(b).name());
                assertEquals(expected.get(which), actual.get(b).columns(), name + ", token " + at);
            }
            final Set<Integer> given = new TreeSet<>(expected.getLast());
            given.removeIf(column -> column >= size);
            ofPrompt.add(given);
        }
        assertTrue(ofPrompt.size() > tokens.size() / 2, ofPrompt.size() + " choices in " + tokens.size() + " tokens");
    }

    /** Where pictures dominate, words are masked, those among them that were generated. */
    @Test
    void generatedTokensAreMasked() {
        int masked = 0;
        for (final String mask : List.of("columns", "rows")) {
            // Louder pictures dominate in every block.
            final Request request = request(read("{'attention':[{'edit':'multiply','span':'image','factor':8}],"
                    + "'contrast':{'branches':{'x':{'tokens':{'by':'dominated','weaker':'second','within':true,"
                    + "'mask':'" + mask + "'}}},'coefficients':{'base':2,'x':-1}}}"), 10);
            final Request noted = NotedChoice.in(request);
            final Answer answer = rig.engine.run(noted);
            AnswerCheck.of(oracle, Placement.onGpu() ? noted : request, answer, Tolerance::f32);
            final List<SortedSet<Integer>> engines =
                    NotedChoice.of(noted).stream().map(taken -> taken.get(1).columns()).toList();
            final int size = rig.attention(prompt)[0].length;
            masked += (int) engines.stream()
                    .flatMap(Set::stream)
                    .filter(column -> column >= size)
                    .count();
            assertEquals(answer.logProbabilities().size(), engines.size());
            final TraceEntry entry = entry(answer, "x/tokens:dominated");
            assertEquals(List.of(0, 1, 2), entry.layers());
            if (mask.equals("rows")) {
                // One column for each token that was masked, in all readings together.
                assertEquals(engines.stream().mapToInt(Set::size).sum(), entry.tokens());
            } else {
                assertTrue(entry.tokens() >= engines.stream().mapToInt(Set::size).sum(), entry.toString());
            }
            assertTrue(entry.meanDeltaNorm() > 0);
        }
        assertTrue(masked > 0, "words were never the weaker ones");
    }

    /** In the block that is left alone, tokens that others hide are words to an edit of words, generated ones too. */
    @Test
    void hiddenTokensStayWords() {
        final Request request = request(
                read("{'attention':[{'edit':'multiply','span':'image','factor':8,'layers':'0-2'}],"
                        + "'contrast':{'branches':{'x':{"
                        + "'attention':[{'edit':'multiply','span':'text','factor':6,'layers':'3'}],"
                        + "'tokens':{'by':'dominated','weaker':'second','within':true}}},"
                        + "'coefficients':{'base':2,'x':-1}}}"),
                10);
        final Request noted = NotedChoice.in(request);
        final Answer answer = rig.engine.run(noted);
        AnswerCheck.of(oracle, Placement.onGpu() ? noted : request, answer, Tolerance::f32);
        final int size = rig.attention(prompt)[0].length;
        assertTrue(
                NotedChoice.of(noted).stream().flatMap(taken -> taken.get(1).columns().stream())
                        .anyMatch(c -> c >= size),
                "nothing that was generated is hidden");
    }

    private static Path vector() {
        final Random random = new Random(7);
        final float[] vector = new float[rig.model.info().width()];
        for (int i = 0; i < vector.length; i++) {
            vector[i] = (float) random.nextGaussian();
        }
        final Path file = directory.resolve("v.gguf");
        new ControlVectorFile("llama", new LayerVectors(Map.of(0, vector, 1, vector))).write(file);
        return file;
    }

    /** Edits, other choices and conditions of the same request stay what they are. */
    @ParameterizedTest
    @ValueSource(strings = {
        "'least':{'tokens':{'by':'least-attended','keep':3,'layer':2}}",
        "'least':{'without':['image']}",
        "'least':{'tokens':{'by':'blind','lambda':0.2}}",
        "'least':{'tokens':{'by':'dominated','weaker':'first','refresh':'request'}}",
        "'least':{'attention':[{'edit':'mask','span':'context','layers':'1-2'}],"
                + "'tokens':{'by':'dominated','weaker':'second','mask':'rows','share':0.2}}",
        "'least':{'steer':[{'vector':'V','scale':0.5,'layers':'1','scope':{'phase':['generated']}}],"
                + "'tokens':{'by':'dominated','share':1}}"
    })
    void besideOtherBranches(final String branch) {
        final Path file = vector();
        final Request request = request(read(("{'attention':[{'edit':'pai','span':'image','alpha':0.4,'layers':'1'}],"
                        + "'contrast':{'branches':{'x':{'tokens':{'by':'dominated'}}," + branch
                        + "},'coefficients':{'base':2,'x':'-0.1 * min(2, entropy(base))','least':-0.5},'beta':0.05},"
                        + "'gate':{'kind':'disagreement','every':2}}")
                .replace("'V'", "'" + file + "'")));
        final AnswerCheck check = AnswerCheck.of(oracle, request, rig.engine.run(request), Tolerance::f32);
        assertTrue(check.rows() > 2);
        try (Engine engine = Engine.open(rig.model, Tolerance.exact(2048).withMicroBatch(SMALL))) {
            AnswerCheck.of(oracle, request, engine.run(request), Tolerance::f32);
        }
    }

    @Test
    void theRowOfAPromptIsThatOfItsFirstToken() {
        final Request request = request(Strategies.named("avcd"));
        final RequestOracle.Row expected = oracle.row(request, List.of());
        final float[] actual = rig.engine.logits(request).logits();
        final double allowed = expected.weight() * Tolerance.f32(expected.base());
        for (int y = 0; y < actual.length; y++) {
            if (Double.isInfinite(expected.logits()[y])) {
                assertEquals(expected.logits()[y], actual[y], "token " + y);
            } else {
                final double difference = Math.abs(expected.logits()[y] - actual[y]);
                assertTrue(difference <= allowed, "token " + y + ": " + difference);
            }
        }
    }

    /** A service reads it like any request, and what is cancelled in the middle of a reading leaves nothing. */
    @Test
    void throughAService() throws Exception {
        Placement.requireCpu("what is chosen for a service's request is not noted");
        final Strategy strategy = Strategies.named("avcd");
        final Answer expected = rig.engine.run(request(strategy));
        try (EngineService service = EngineService.open(
                rig.model,
                Tolerance.exact(2048).withMaxBranches(10).withMicroBatch(SMALL),
                ServiceOptions.defaults())) {
            for (final Answer answer : InCompany.served(service, strategy, prompt, TOKENS)) {
                AnswerCheck.of(oracle, request(strategy), answer, Tolerance::f32);
                assertEquals(expected.strategy(), answer.strategy());
            }
        }
    }

    /** Others are not kept waiting by readings that begin again and again, nor is it itself by a pause. */
    @Test
    void restsAndLetsOthersIn() {
        try (Engine engine = Engine.open(
                rig.model, Tolerance.exact(4096).withMaxBranches(16).withMicroBatch(SMALL))) {
            final Request request = request(preset("avcd", 0), 40);
            final Answer answer = InCompany.rested(
                    engine, request, request(preset("avcd", 0), 40), request(Strategies.named("greedy"), 2), 30);
            AnswerCheck.of(oracle, request, answer, Tolerance::f32);
        }
    }

    /** Conditions are about the prompt as the base reads it, whichever branch they let act. */
    @ParameterizedTest
    @ValueSource(strings = {"", ",'scope':{'phase':['generated']}"})
    void conditionsHoldForEveryReading(final String scope) {
        final Path file = vector();
        final String json = "{'steer':[{'vector':'" + file + "','scale':0.5,'layers':'1'" + scope + "%s}],"
                + "'contrast':{'branches':{'x':{'tokens':{'by':'dominated'}},'y':{'tokens':{'by':'dominated',"
                + "'weaker':'first','mask':'rows'}}},'coefficients':{'base':2,'x':-0.5,'y':-0.5}}}";
        final String when = ",'when':{'vector':'" + file + "','layer':0,'above':%s}";
        Placement.requireCpu("choices of two requests are compared");
        final Request always = request(read(json.formatted("")));
        final Request holds = request(read(json.formatted(when.formatted("-1"))));
        AnswerCheck.of(oracle, always, rig.engine.run(holds), Tolerance::f32);
        final Request never = request(read(json.replaceAll("'scale':0.5", "'scale':0").formatted("")));
        AnswerCheck.of(
                oracle, never, rig.engine.run(request(read(json.formatted(when.formatted("1"))))), Tolerance::f32);
    }

    @Test
    void isExplained() {
        final Strategy strategy = Strategies.named("avcd");
        final Explanation explanation = Explanation.of(Lowering.lower(strategy, prompt, 0, LAYERS))
                .with(rig.engine.describe(request(strategy)));
        final Explanation.Step chooses = explanation.steps().getFirst();
        assertEquals("tokens", chooses.intervention());
        assertTrue(chooses.extraCost().contains("read their prompts and all tokens so far again"), chooses.toString());
        final List<String> names = explanation.steps().stream().map(Explanation.Step::intervention).toList();
        assertTrue(names.containsAll(List.of("tokens:look", "tokens:dominated", "gate:entropy", "contrast:linear")),
                names.toString());
        assertTrue(explanation.steps().stream().anyMatch(step -> step.intervention().equals("gate:entropy")
                && step.mechanism().contains("here they stay behind from the first shut step on")));
        // Any word may be masked, and the beginning token counts as one.
        for (final Explanation.BranchLine line : explanation.branches().subList(1, 4)) {
            assertEquals(0, line.sharedTokens().orElseThrow());
            assertTrue(line.differsIn().contains("chosen anew"), line.differsIn());
        }
        assertEquals("prepare:tokens",
                Explanation.of(Decoding.outline(once("avcd"), prompt, rig.model.info()))
                        .steps().getFirst().intervention());
    }

    @Test
    void whatCannotBeIsRefused() {
        final String branches = "'contrast':{'branches':{'x':{'tokens':{'by':'dominated'}}},"
                + "'coefficients':{'base':2,'x':-1},'beta':0.1";
        for (final String json : List.of(
                "{" + branches + ",'cutOff':'x'}}",
                "{'forkMerge':{'silence':['audio','image'],'layer':0}," + branches + "}}")) {
            final BadInputException fault =
                    assertThrows(BadInputException.class, () -> Lowering.check(read(json), prompt, 0));
            assertTrue(fault.where().contains("tokens.refresh"), fault.getMessage());
            assertThrows(BadInputException.class, () -> request(read(json)));
            // Where the choice stays, both can be.
            request(read(json.replace("'by':'dominated'", "'by':'dominated','refresh':'request'")));
        }
        final Strategy strategy = Strategies.named("avcd");
        final BadInputException fault = assertThrows(
                BadInputException.class,
                () -> MultipleChoice.likelihoods(rig.engine, strategy, prompt, List.of("red", "green")));
        assertTrue(fault.remedy().contains("refresh"), fault.getMessage());
        assertThrows(BadInputException.class, () -> rig.engine.rows(request(strategy)));
        // Where the choice stays, they can be had; and so can scores by first tokens, which are one row's.
        final Request stays = request(once("avcd"));
        assertEquals(2, rig.engine.logProbabilities(stays, List.of(new int[] {3, 4}, new int[] {5})).size());
        final Strategy uncut = Strategies.parse(
                strategy.toJson().replaceAll("\"beta\" ?: ?0.1", "\"beta\":0"), "uncut");
        final double[] row = oracle.row(request(uncut), List.of()).logits();
        final MultipleChoice.Scores scores = MultipleChoice.score(rig.engine, uncut, prompt, List.of("red", "green"));
        final int[] first = {rig.model.tokenize("red", false)[0], rig.model.tokenize("green", false)[0]};
        assertEquals(row[first[0]] > row[first[1]] ? 0 : 1, scores.best());
    }
}
