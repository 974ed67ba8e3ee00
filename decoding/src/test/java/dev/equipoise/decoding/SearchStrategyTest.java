package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.procedure.Decoding;
import dev.equipoise.decoding.procedure.MultipleChoice;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.FinishReason;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.search.BeamSearch;
import dev.equipoise.runtime.search.OverTrust;
import dev.equipoise.runtime.serving.EngineService;
import dev.equipoise.runtime.serving.ServiceOptions;
import dev.equipoise.runtime.serving.StreamedToken;
import dev.equipoise.runtime.serving.Ticket;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The section {@code search}: what it says, what is equal to what, what goes together, and how it is told. */
class SearchStrategyTest {
    private static final Limits LIMITS = new Limits(12, List.of());

    @TempDir
    static Path directory;

    private static TinyRig rig;

    @BeforeAll
    static void writeModels() {
        rig = new TinyRig(directory, 61);
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    private static Strategy read(final String json) {
        return Strategies.parse(json.replace('\'', '"'), "test");
    }

    private static String fingerprint(final String search) {
        return read("{'search': " + search + "}").fingerprint();
    }

    @Test
    void whatIsNotSaidIsTheOfficialCodes() {
        final BeamSearch search = read("{'search': {'overTrust': {}}}").search().orElseThrow();
        final BeamSearch opera = Strategies.named("opera").search().orElseThrow();
        final OverTrust official = opera.overTrust().orElseThrow();
        assertEquals(
                new OverTrust(
                        official.candidates(),
                        official.scale(),
                        official.factor(),
                        official.weight(),
                        official.opening(),
                        official.span(),
                        OptionalInt.empty()),
                search.overTrust().orElseThrow());
        assertEquals(5, search.beams());
        assertFalse(search.countsPrompt());
        assertTrue(opera.countsPrompt());
        assertEquals(15, official.threshold().orElseThrow());
        final OverTrust fast =
                Strategies.named("opera-fast").search().orElseThrow().overTrust().orElseThrow();
        assertEquals(25, fast.threshold().orElseThrow());
        assertEquals(1, fast.candidates());
    }

    @ParameterizedTest
    @ValueSource(strings = {"opera", "opera-fast", "beam-search"})
    void canBeWrittenAndRead(final String name) {
        final Strategy strategy = Strategies.named(name);
        final Strategy again = Strategies.parse(strategy.toJson(), "again");
        assertEquals(strategy, again);
        assertEquals(strategy.fingerprint(), again.fingerprint());
        assertEquals(Strategy.plain().fingerprint(), Controls.zeroScale(strategy).fingerprint());
    }

    @Test
    void equalBehaviourHasEqualFingerprints() {
        final String plain = Strategy.plain().fingerprint();
        assertEquals(plain, fingerprint("{'beams': 1}"));
        assertEquals(plain, fingerprint("{'beams': 1, 'lengthPenalty': 2, 'overTrust': {'weight': 0}}"));
        assertEquals(fingerprint("{}"), fingerprint("{'beams': 5, 'lengthPenalty': 1, 'countPrompt': false}"));
        assertEquals(
                fingerprint("{'lengthPenalty': 0, 'countPrompt': true}"), fingerprint("{'lengthPenalty': 0}"));
        assertEquals(
                fingerprint("{'overTrust': {'opening': 0, 'span': 'audio'}}"),
                fingerprint("{'overTrust': {'opening': 0}}"));
        assertEquals(
                fingerprint("{'overTrust': {'weight': 0, 'scale': 3, 'opening': 7}}"),
                fingerprint("{'overTrust': {'weight': 0}}"));
        final List<String> different = List.of(
                "{}",
                "{'beams': 4}",
                "{'lengthPenalty': 2}",
                "{'countPrompt': true}",
                "{'overTrust': {}}",
                "{'overTrust': {'candidates': 4}}",
                "{'overTrust': {'scale': 40}}",
                "{'overTrust': {'factor': 1}}",
                "{'overTrust': {'weight': 2}}",
                "{'overTrust': {'weight': 0}}",
                "{'overTrust': {'opening': 5}}",
                "{'overTrust': {'span': 'audio'}}",
                "{'overTrust': {'threshold': 15}}",
                "{'overTrust': {'threshold': 16}}");
        assertEquals(
                different.size(),
                different.stream().map(SearchStrategyTest::fingerprint).distinct().count());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "{'search': {}, 'contrast': {'method': 'cad'}} | search",
        "{'search': {}, 'contrast': {'method': 'plausibility', 'beta': 0.1}} | search",
        "{'search': {}, 'forkMerge': {'silence': ['image', 'audio'], 'layer': 1}} | search",
        "{'search': {}, 'gate': {'kind': 'entropy', 'above': 1}} | gate",
        "{'search': {}, 'sampling': {'temperature': 1}} | search",
        "{'search': {}, 'sampling': {'repeatPenalty': 1.2}} | search",
        "{'search': {}, 'sampling': {'bias': {'yes': 1}}} | search",
        "{'search': {}, 'sampling': {'grammar': 'root ::= \"a\"'}} | search",
        "{'search': {}, 'choose': 'dcd'} | choose",
        "{'search': {'beams': 0}} | beams",
        "{'search': {'beams': 17}} | beams",
        "{'search': {'beam': 3}} | beam",
        "{'search': {'overTrust': {'threshold': 1}}} | threshold",
        "{'search': {'overTrust': {'candidates': 16}}} | candidates",
        "{'search': {'overTrust': {'scale': 0}}} | scale",
        "{'search': {'overTrust': {'span': 'text'}}} | span",
        "{'search': {'overTrust': {'window': 512}}} | window",
    })
    void refusesWhatCannotBe(final String json, final String named) {
        final String text = json.contains("\"") ? json.replace("\"a\"", "\\\"a\\\"") : json;
        final BadInputException refused = assertThrows(BadInputException.class, () -> read(text));
        assertTrue(refused.getMessage().contains(named), refused.getMessage());
        assertFalse(refused.remedy().isEmpty());
    }

    @Test
    void refusesPromptsAndQuestionsThatItIsNotFor() {
        final Prompt words = Prompt.builder().text("which colour").build();
        final Strategy opera = Strategies.named("opera");
        final BadInputException blind =
                assertThrows(BadInputException.class, () -> Lowering.check(opera, words, 0));
        assertTrue(blind.remedy().contains("opening"), blind.getMessage());
        final Strategy later = read("{'search': {'beams': 2, 'overTrust': {'opening': 0, 'candidates': 2}}}");
        assertFalse(Decoding.run(rig.engine, later, words, LIMITS, 0, TokenListener.NONE).tokens().isEmpty());
        final List<String> options = List.of("red", "green");
        assertThrows(BadInputException.class, () -> MultipleChoice.score(rig.engine, opera, rig.prompt, options));
        assertThrows(
                BadInputException.class, () -> MultipleChoice.likelihoods(rig.engine, opera, rig.prompt, options));
    }

    @Test
    void saysWhatItDoes() {
        final Plan plan = Lowering.lower(Strategies.named("opera"), rig.prompt, 0, rig.model.info().layers());
        assertEquals(26, plan.sequences());
        assertEquals(5, plan.answers());
        final Explanation explanation =
                Explanation.of(plan).with(rig.engine.describe(plan.request(LIMITS, 0)));
        assertEquals(List.of("search"), explanation.steps().stream().map(Explanation.Step::intervention).toList());
        final Explanation.Step step = explanation.steps().getFirst();
        for (final String told : List.of("5 beams", "best 5 tokens", "first 10 tokens", "more than 15 steps")) {
            assertTrue(step.mechanism().contains(told), step.mechanism());
        }
        assertTrue(step.extraCost().contains("25 columns"), step.extraCost());
        final Plan beams = Lowering.lower(Strategies.named("beam-search"), rig.prompt, 0, 2);
        assertEquals(6, beams.sequences());
        assertNotEquals(step.mechanism(), Explanation.of(beams).steps().getFirst().mechanism());
    }

    /** Others advance with a search, whose tokens all come at its end; one that is cancelled leaves nothing. */
    @Test
    void isServedAmongOthers() throws Exception {
        final Strategy search = read("{'search': {'beams': 3, 'overTrust': {'candidates': 2, 'threshold': 2,"
                + " 'opening': 1, 'factor': 1}}}");
        final List<Integer> alone =
                Decoding.run(rig.engine, search, rig.prompt, LIMITS, 0, TokenListener.NONE).tokens();
        final List<Integer> plain = Decoding.run(
                        rig.engine, Strategy.plain(), rig.prompt, LIMITS, 0, TokenListener.NONE)
                .tokens();
        try (EngineService service =
                EngineService.open(rig.model, rig.engine.options(), ServiceOptions.defaults())) {
            final List<Ticket<Answer>> tickets = new ArrayList<>();
            for (int i = 0; i < 6; i++) {
                tickets.add(Decoding.submit(
                        service, i == 2 ? Strategy.plain() : search, rig.prompt, LIMITS, 0));
            }
            tickets.get(1).cancel();
            assertEquals(FinishReason.CANCELLED, tickets.get(1).await().finish());
            final List<Integer> heard = new ArrayList<>();
            for (Optional<StreamedToken> next = tickets.get(3).next(); next.isPresent(); next = tickets.get(3).next()) {
                next.filter(token -> token.id() != StreamedToken.REST).ifPresent(token -> heard.add(token.id()));
            }
            assertEquals(alone, heard);
            for (final int i : List.of(0, 3, 4, 5)) {
                assertEquals(alone, tickets.get(i).await().tokens());
            }
            assertEquals(plain, tickets.get(2).await().tokens());
            assertEquals(new EngineService.Load(0, 0), service.load());
        }
        final BadInputException refused = assertThrows(
                BadInputException.class,
                () -> {
                    try (EngineService small = EngineService.open(
                            rig.model, rig.engine.options().withMaxBranches(6), ServiceOptions.defaults())) {
                        Decoding.submit(small, search, rig.prompt, LIMITS, 0);
                    }
                });
        assertTrue(refused.getMessage().contains("7 wanted"), refused.getMessage());
    }
}
