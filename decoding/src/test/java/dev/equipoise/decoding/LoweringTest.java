package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.CoefficientSchedule;
import dev.equipoise.runtime.Combination;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Part;
import dev.equipoise.runtime.PixelNoise;
import dev.equipoise.runtime.PlanDescription;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Sampling;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.DoubleRange;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class LoweringTest {
    private static final long SEED = 11;
    private static final int DEPTH = 28;
    private static final Image PICTURE = Image.rgb(1, 1, new byte[3]);

    private static Prompt prompt(final String parts) {
        final Prompt.Builder builder = Prompt.builder();
        for (final String part : parts.split("\\+")) {
            switch (part) {
                case "system" -> builder.system("Be brief.");
                case "note" -> builder.context("It is red.");
                case "image" -> builder.image(PICTURE);
                default -> builder.text("Which colour?");
            }
        }
        return builder.build();
    }

    private static Plan plan(final String json, final Prompt prompt) {
        return Lowering.lower(Strategies.parse(json, "test"), prompt, SEED, DEPTH);
    }

    private static Plan preset(final String name, final Prompt prompt) {
        return Lowering.lower(Strategies.named(name), prompt, SEED, DEPTH);
    }

    private static float[] weights(final Plan plan, final int index) {
        final float[] out = new float[plan.branches().size()];
        plan.combination().orElseThrow().coefficients().at(index, out);
        return out;
    }

    /** Whatever words a branch or the strategy has, the answer goes on from where it was begun. */
    @ParameterizedTest
    @ValueSource(strings = {
        "{'contrast':{'branches':{'a':{'system':'Be wrong.'},'b':{'text':'What else?'}},"
                + "'coefficients':{'base':2,'a':-0.5,'b':-0.5}}}",
        "{'prompt':{'system':'Be brief.'}}",
        "{'prompt':{'text':'{question} Think.'}}"
    })
    void anAnswerStaysBegun(final String json) {
        final Plan plan = plan(json.replace('\'', '"'), prompt("system+image+text").answered("It is"));
        assertFalse(plan.branches().isEmpty());
        plan.branches().forEach(branch -> assertEquals("It is", branch.prompt().answer(), branch.name()));
    }

    @Test
    void greedyIsTheRequestItself() {
        final Prompt prompt = prompt("system+note+image+text");
        final Plan plan = preset("greedy", prompt);
        assertEquals(1, plan.branches().size());
        assertEquals(prompt, plan.branches().getFirst().prompt());
        assertTrue(plan.combination().isEmpty());
        final Request request = plan.request(Limits.defaults(), 3);
        assertEquals(Sampling.greedy(), request.sampling());
        assertEquals(3, request.logProbabilities());
        assertEquals(Strategies.named("greedy").fingerprint(), request.strategy().fingerprint());
    }

    @Test
    void plausibilityAloneHasOneBranch() {
        final Plan plan = preset("plausibility-only", prompt("text"));
        assertEquals(1, plan.branches().size());
        assertArrayEquals(new float[] {1}, weights(plan, 1));
        assertEquals(0.1, plan.combination().orElseThrow().plausibility());
        assertFalse(plan.combination().orElseThrow().logProbabilities());
    }

    @Test
    void vcdNoisesEveryPicture() {
        final Prompt prompt = prompt("note+image+image+text");
        final Plan plan = preset("vcd", prompt);
        assertEquals(List.of("base", "noised"), plan.branches().stream().map(branch -> branch.name()).toList());
        assertEquals(prompt, plan.branches().getFirst().prompt());
        assertEquals(prompt.withPixelNoise(new PixelNoise(500, SEED)), plan.branches().get(1).prompt());
        assertEquals(2, plan.branches().get(1).prompt().parts().stream()
                .filter(part -> part instanceof Part.Picture picture && picture.noise().isPresent())
                .count());
        assertArrayEquals(new float[] {2, -1}, weights(plan, 1));
        assertArrayEquals(new float[] {2, -1}, weights(plan, 500));
        assertEquals(0.1, plan.combination().orElseThrow().plausibility());
        final Plan seeded = plan("{\"contrast\":{\"method\":\"vcd\",\"seed\":3,\"noiseStep\":999}}", prompt);
        assertEquals(prompt.withPixelNoise(new PixelNoise(999, 3)), seeded.branches().get(1).prompt());
    }

    @Test
    void icdReplacesOrAddsTheSystemText() {
        for (final Prompt prompt : List.of(prompt("system+image+text"), prompt("text"))) {
            final Prompt disturbed = preset("icd", prompt).branches().get(1).prompt();
            assertEquals(prompt.withSystem(ContrastJson.INSTRUCTION), disturbed);
            assertEquals(1, disturbed.parts().stream()
                    .filter(part -> part.modality() == Modality.SYSTEM)
                    .count());
        }
        assertArrayEquals(new float[] {2, -1}, weights(preset("icd", prompt("text")), 1));
    }

    @ParameterizedTest
    @CsvSource({
        "cad, note+image+text, CONTEXT", "cad, image+text, IMAGE", "cad, system+note+text, CONTEXT",
        "m3id, note+image+text, IMAGE",
    })
    void theSecondBranchIsTheRequestWithoutTheEvidence(
            final String name, final String parts, final Modality without) {
        final Prompt prompt = prompt(parts);
        final Plan plan = preset(name, prompt);
        assertEquals(prompt, plan.branches().getFirst().prompt());
        assertEquals(prompt.without(without), plan.branches().get(1).prompt());
        assertEquals("without-" + without.label(), plan.branches().get(1).name());
    }

    @Test
    void cadHasNoCutOffByDefault() {
        final Plan plan = preset("cad", prompt("note+text"));
        assertEquals(0, plan.combination().orElseThrow().plausibility());
        assertFalse(plan.combination().orElseThrow().logProbabilities());
        assertArrayEquals(
                new float[] {1.5f, -0.5f},
                weights(plan("{\"contrast\":{\"method\":\"cad\",\"alpha\":0.5}}", prompt("note+text")), 1));
    }

    @Test
    void m3idGrowsAndIsCapped() {
        final Plan plan = preset("m3id", prompt("image+text"));
        final Combination combination = plan.combination().orElseThrow();
        assertTrue(combination.logProbabilities());
        assertEquals(0.1, combination.plausibility());
        // e^0.02 - 1, e^2 - 1, and the cap: ln(11) / 0.02 = 119.9 tokens.
        assertArrayEquals(new float[] {1.0202013f, -0.0202013f}, weights(plan, 1), 1e-6f);
        assertArrayEquals(new float[] {7.389056f, -6.389056f}, weights(plan, 100), 1e-5f);
        assertTrue(weights(plan, 119)[0] < 11);
        assertArrayEquals(new float[] {11, -10}, weights(plan, 120));
        assertArrayEquals(new float[] {11, -10}, weights(plan, Integer.MAX_VALUE));
    }

    @Property(tries = 200)
    void m3idWeightsSumToOneAndNeverShrink(
            @ForAll @DoubleRange(min = 0, max = 100) final double lambda,
            @ForAll @DoubleRange(min = 0, max = 100) final double cap,
            @ForAll @IntRange(min = 1, max = 100_000) final int index) {
        final Strategy growing = new Strategy(
                "x",
                Optional.empty(),
                Optional.of(new Contrast.M3id(lambda, 0, cap, Modality.IMAGE)),
                Sampling.greedy());
        final CoefficientSchedule schedule = Lowering.lower(growing, prompt("image+text"), SEED, DEPTH)
                .combination()
                .orElseThrow()
                .coefficients();
        final float[] now = new float[2];
        final float[] next = new float[2];
        schedule.at(index, now);
        schedule.at(index + 1, next);
        // Both weights are rounded to float at a size of at most 101, half an ulp of which is 3.8e-6 each.
        assertTrue(Math.abs(now[0] + now[1] - 1) <= 8e-6);
        assertTrue(next[0] >= now[0] && now[0] >= 1 && now[0] <= (float) (1 + cap));
    }

    @ParameterizedTest
    @ValueSource(strings = {"vcd", "icd", "cad"})
    void aContrastWithoutStrengthCostsNothing(final String method) {
        final Prompt prompt = prompt("text");
        final Plan plain = plan("{\"contrast\":{\"method\":\"" + method + "\",\"alpha\":0,\"beta\":0}}", prompt);
        assertEquals(1, plain.branches().size());
        assertTrue(plain.combination().isEmpty());
        final Plan cut = plan("{\"contrast\":{\"method\":\"" + method + "\",\"alpha\":0,\"beta\":0.5}}", prompt);
        assertEquals(1, cut.branches().size());
        assertEquals(0.5, cut.combination().orElseThrow().plausibility());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "{\"contrast\":{\"method\":\"vcd\"}}                        | note+text  | add a picture",
        "{\"contrast\":{\"method\":\"m3id\"}}                       | note+text  | add a picture",
        "{\"contrast\":{\"method\":\"m3id\",\"without\":\"audio\"}} | image+text | add a sound",
        "{\"contrast\":{\"method\":\"cad\"}}                        | text       | add a note or a picture",
        "{\"contrast\":{\"method\":\"cad\",\"without\":\"context\"}} | image+text | add a note",
        "{\"contrast\":{\"method\":\"cad\"}}                        | note       | add a question",
        "{\"contrast\":{\"method\":\"icd\",\"instruction\":\"Be brief.\"}} | system+text | another instruction",
    })
    void aContrastOfNothingIsAnErrorThatNamesTheCure(final String json, final String parts, final String cure) {
        final BadInputException fault = assertThrows(BadInputException.class, () -> plan(json, prompt(parts)));
        assertTrue(fault.remedy().contains(cure), fault.getMessage());
    }

    @Test
    void explanationSaysWhatActsInOrder() {
        final Explanation explanation = Explanation.of(preset("vcd", prompt("image+text")));
        assertEquals(
                List.of("pixel-noise", "contrast:vcd", "plausibility", "sampler"),
                explanation.steps().stream().map(Explanation.Step::intervention).toList());
        assertEquals("image: noised at step 500 with seed 11", explanation.branches().get(1).differsIn());
        assertTrue(explanation.steps().get(1).mechanism().endsWith("2 base - 1 noised"));
        assertEquals(
                "context: left out",
                Explanation.of(preset("cad", prompt("note+text"))).branches().get(1).differsIn());
        assertEquals(
                "system: added \"" + ContrastJson.INSTRUCTION + "\"",
                Explanation.of(preset("icd", prompt("text"))).branches().get(1).differsIn());
        assertEquals(
                List.of("sampler"),
                Explanation.of(preset("greedy", prompt("text"))).steps().stream()
                        .map(Explanation.Step::intervention)
                        .toList());
    }

    @Test
    void explanationTakesSharedTokensAndTheDrawFromTheEngine() {
        final Explanation bare = Explanation.of(preset("cad", prompt("note+text")));
        assertEquals(OptionalInt.empty(), bare.branches().get(1).sharedTokens());
        assertTrue(bare.toJson().contains("\"shared_tokens\":null"));
        final Explanation known = bare.with(new PlanDescription(
                List.of(
                        new PlanDescription.BranchPlan("base", List.of(), 9, 9),
                        new PlanDescription.BranchPlan("without-context", List.of(), 5, 1)),
                new PlanDescription.Draw(true, "so it is"),
                0,
                Optional.empty()));
        assertEquals(OptionalInt.of(1), known.branches().get(1).sharedTokens());
        assertTrue(known.toJson().startsWith("{\"branches\":[{\"name\":\"base\",\"differs_in\":"), known.toJson());
        assertTrue(known.toJson().contains("\"layers\":[],\"scope\":"), known.toJson());
        assertEquals(
                "the best token of the row, in the graph: so it is",
                known.steps().getLast().mechanism());
    }

    @Test
    void aSampledStrategyKeepsItsChain() {
        final Sampling chain = new Sampling(0.7, 0, 1, 0, 1, 64, 5, Optional.empty());
        final Strategy warm = Strategies.named("vcd").withSampling(chain);
        final Plan plan = Lowering.lower(warm, prompt("image+text"), SEED, DEPTH);
        assertEquals(0.7, plan.request(Limits.defaults(), 0).sampling().temperature());
        assertTrue(Explanation.of(plan).steps().getLast().mechanism().contains("temperature 0.7"));
    }
}
