package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Audio;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Span;
import java.util.List;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.TreeSet;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.DoubleRange;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.Size;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Choices of tokens as functions of attention, and as parts of strategy files. */
class TokenChoiceTest {
    // A system text, six columns of a picture, three of a sound, two words.
    private static final List<Span> SPANS = List.of(
            new Span(Modality.SYSTEM, 0, 1),
            new Span(Modality.IMAGE, 1, 6),
            new Span(Modality.AUDIO, 7, 3),
            new Span(Modality.TEXT, 10, 2));
    private static final Prompt PROMPT = Prompt.builder()
            .image(Image.rgb(8, 8, new byte[3 * 64]))
            .audio(Audio.pcm(new float[800]))
            .text("which colour")
            .build();

    private static PromptAttention seen(final float[]... rows) {
        return new PromptAttention(SPANS, List.of(rows));
    }

    private static TokenChoice.LeastAttended least(final int keep) {
        return new TokenChoice.LeastAttended(
                Modality.IMAGE, keep, OptionalDouble.empty(), 2, TokenChoice.Refresh.STEP);
    }

    private static TokenChoice.Dominated dominated(
            final TokenChoice.Weaker weaker, final double share, final boolean within, final boolean perToken) {
        return new TokenChoice.Dominated(
                weaker, share, within, perToken, false, TokenChoice.Mask.COLUMNS, TokenChoice.Refresh.REQUEST);
    }

    @Test
    void theLeastAttendedStay() {
        final PromptAttention seen = seen(new float[] {9, 5, 1, 3, 1, 4, 2, 0, 0, 0, 8, 8});
        assertEquals(Set.of(1, 3, 5, 6), least(2).taken(seen));
        // Of equal ones the first.
        assertEquals(Set.of(1, 3, 4, 5, 6), least(1).taken(seen));
        assertEquals(Set.of(), least(6).taken(seen));
        assertEquals(Set.of(), least(100).taken(seen));
        final TokenChoice third = new TokenChoice.LeastAttended(
                Modality.IMAGE, 100, OptionalDouble.of(0.34), 2, TokenChoice.Refresh.REQUEST);
        assertEquals(Set.of(1, 5, 3), third.taken(seen));
        assertEquals(Set.of(1), third.looksAt(4));
        assertThrows(BadInputException.class, () -> third.looksAt(2));
    }

    @Test
    void blindTokensAreTwoInTheFewestBlocks() {
        // Attention to the picture: 1, 12 and 7 of 20; the second block alone holds the half.
        final PromptAttention seen = seen(
                new float[] {0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0},
                new float[] {0, 7, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0},
                new float[] {0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0});
        // Mean 2, standard deviation with n - 1: sqrt((25 + 5) / 5) = 2.449.
        assertEquals(Set.of(2, 3, 4, 5, 6), new TokenChoice.Blind(Modality.IMAGE, 0.5, 2).taken(seen));
        assertEquals(Set.of(1, 2, 3, 4, 5, 6), new TokenChoice.Blind(Modality.IMAGE, 0.5, 2.1).taken(seen));
        // With the third block the means are 3.5, 4 and four of 0.5.
        assertEquals(Set.of(3, 4, 5, 6), new TokenChoice.Blind(Modality.IMAGE, 0.61, 0.5).taken(seen));
    }

    @Test
    void theDominantModalityKeepsItsTokens() {
        // Sums: picture 12, sound 9, words 8; per token 2, 3 and 4.
        final PromptAttention seen = seen(new float[] {1, 1, 1, 1, 3, 3, 3, 1, 3, 5, 6, 2});
        final TokenChoice.Weaker both = TokenChoice.Weaker.BOTH;
        assertEquals(Set.of(9, 10), dominated(both, 0.5, true, false).taken(seen));
        assertEquals(
                Set.of(9), dominated(TokenChoice.Weaker.FIRST, 0.5, true, false).taken(seen));
        assertEquals(
                Set.of(10), dominated(TokenChoice.Weaker.SECOND, 0.5, true, false).taken(seen));
        // Words dominate now: picture above its median of 2, sound above 3.
        assertEquals(Set.of(4, 5, 6, 9), dominated(both, 0.5, true, true).taken(seen));
        // The prompt's median is 2.5.
        assertEquals(Set.of(4, 5, 6, 8, 9), dominated(both, 0.5, false, true).taken(seen));
        assertEquals(Set.of(0, 1), dominated(both, 0.5, true, true).looksAt(3));
        assertThrows(BadInputException.class, () -> dominated(both, 0.5, true, true).looksAt(1));
    }

    @Property(tries = 200)
    void whatStaysIsAttendedToLeast(
            @ForAll @Size(12) final List<@DoubleRange(min = 0, max = 1) Double> weights,
            @ForAll @IntRange(min = 1, max = 8) final int keep) {
        final PromptAttention seen = seen(floats(weights, 1));
        final Set<Integer> taken = least(keep).taken(seen);
        final Set<Integer> stay = new TreeSet<>(seen.columns(Set.of(Modality.IMAGE)));
        stay.removeAll(taken);
        assertEquals(Math.min(keep, 6), stay.size());
        assertTrue(seen.columns(Set.of(Modality.IMAGE)).containsAll(taken));
        for (final int column : stay) {
            for (final int other : taken) {
                assertTrue(weights.get(column).floatValue() <= weights.get(other).floatValue());
            }
        }
    }

    // Powers of two scale without rounding, so that equal weights stay equal.
    @Property(tries = 200)
    void onlyProportionsMatter(
            @ForAll @Size(12) final List<@DoubleRange(min = 0.01, max = 1) Double> weights,
            @ForAll @IntRange(min = -20, max = 20) final int power) {
        final float factor = Math.scalb(1f, power);
        for (final TokenChoice choice : List.of(
                least(2),
                new TokenChoice.Blind(Modality.IMAGE, 0.5, 1),
                dominated(TokenChoice.Weaker.BOTH, 0.5, true, false),
                dominated(TokenChoice.Weaker.BOTH, 0.3, false, true))) {
            final Set<Integer> taken = choice.taken(seen(floats(weights, 1)));
            assertEquals(taken, choice.taken(seen(floats(weights, factor))), choice.toString());
            // The system text is nobody's to take.
            assertTrue(!taken.contains(0), choice.toString());
        }
    }

    private static float[] floats(final List<Double> weights, final float factor) {
        final float[] row = new float[weights.size()];
        for (int i = 0; i < row.length; i++) {
            row[i] = weights.get(i).floatValue() * factor;
        }
        return row;
    }

    private static Strategy read(final String variation) {
        return Strategies.parse(
                ("{'contrast':{'branches':{'x':" + variation + "},'coefficients':{'base':2,'x':-1}}}")
                        .replace('\'', '"'),
                "test");
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '#', value = {
        "{'tokens':{'by':'blind','gama':1}}|tokens.gama",
        "{'tokens':{'by':'blind','keep':3}}|tokens.keep",
        "{'tokens':{'by':'sid'}}|tokens.by",
        "{'tokens':{}}|tokens.by",
        "{'tokens':{'by':'blind','gamma':1.5}}|tokens.gamma",
        "{'tokens':{'by':'least-attended','layer':0}}|tokens.layer",
        "{'tokens':{'by':'least-attended','keep':3,'share':0.5}}|tokens.share",
        "{'tokens':{'by':'least-attended','span':'text'}}|tokens.span",
        "{'tokens':{'by':'least-attended','refresh':'token'}}|tokens.refresh",
        "{'tokens':{'by':'blind','refresh':'step'}}|tokens.refresh",
        "{'tokens':{'by':'dominated','weaker':'third'}}|tokens.weaker",
        "{'tokens':{'by':'dominated','refresh':'never'}}|tokens.refresh",
        "{'tokens':{'by':'dominated','perToken':1}}|tokens.perToken",
        "{'tokens':{'by':'blind'},'without':['audio']}|contrast.branches",
        "{'tokens':{'by':'blind'},'text':'why'}|contrast.branches",
        "{'tokens':{'by':'blind'},'only':[]}|contrast.branches"
    })
    void refusesWithTheKey(final String variation, final String where) {
        final BadInputException fault = assertThrows(BadInputException.class, () -> read(variation));
        assertTrue(fault.where().contains(where), fault.getMessage());
    }

    @Test
    void isMadeByDecodingOnly() {
        final Strategy strategy = Strategies.named("avisc");
        assertThrows(BadInputException.class, () -> Lowering.lower(strategy, PROMPT, 0, 4));
        Lowering.check(strategy, PROMPT, 0);
        assertThrows(BadInputException.class, () -> Lowering.check(strategy, PROMPT.without(Modality.IMAGE), 0));
        assertThrows(
                BadInputException.class,
                () -> Lowering.check(Strategies.named("avcd"), PROMPT.without(Modality.AUDIO), 0));
        // At strength 0 there is nothing to choose.
        final Strategy idle = Controls.zeroScale(strategy);
        assertTrue(idle.resolved().choices().isEmpty());
        assertEquals(1, Lowering.lower(idle, PROMPT, 0, 4).branches().size());
    }

    @Test
    void equalChoicesAreOne() {
        assertEquals(
                read("{'tokens':{'by':'blind'}}").fingerprint(),
                read("{'tokens':{'lambda':1,'gamma':0.5,'span':'image','by':'blind'}}").fingerprint());
        assertNotEquals(
                read("{'tokens':{'by':'blind'}}").fingerprint(),
                read("{'tokens':{'by':'blind','lambda':2}}").fingerprint());
        assertEquals(
                read("{'tokens':{'by':'least-attended'}}").fingerprint(),
                read("{'tokens':{'by':'least-attended','refresh':'step'}}").fingerprint());
        assertNotEquals(
                read("{'tokens':{'by':'least-attended'}}").fingerprint(),
                read("{'tokens':{'by':'least-attended','refresh':'request'}}").fingerprint());
        assertNotEquals(
                read("{'tokens':{'by':'dominated'}}").fingerprint(),
                read("{'tokens':{'by':'dominated','within':true}}").fingerprint());
        assertEquals(
                read("{'tokens':{'by':'dominated'}}").fingerprint(),
                read("{'tokens':{'by':'dominated','refresh':'step'}}").fingerprint());
        assertNotEquals(
                read("{'tokens':{'by':'dominated'}}").fingerprint(),
                read("{'tokens':{'by':'dominated','refresh':'request'}}").fingerprint());
    }

    @Test
    void isExplained() {
        final Strategy sid = Strategies.named("sid");
        final Explanation explanation =
                Explanation.of(Lowering.lower(sid, PROMPT, 0, 4, Preparation.unknown(sid)));
        final Explanation.Step looks = explanation.steps().getFirst();
        assertEquals("prepare:tokens", looks.intervention());
        assertTrue(looks.mechanism().contains("least attention in block 1"), looks.mechanism());
        assertTrue(looks.extraCost().contains("read once more"), looks.extraCost());
        assertTrue(looks.mechanism().contains("each generated token chooses for itself"), looks.mechanism());
        assertTrue(explanation.steps().stream()
                .anyMatch(step -> step.intervention().equals("tokens:least-attended")
                        && step.mechanism().contains("hidden")
                        && step.scope().startsWith("prompt tokens,")
                        && step.layers().equals(List.of(2, 3))));
        assertTrue(explanation.steps().stream()
                .anyMatch(step -> step.intervention().equals("tokens:least-attended:step")
                        && step.mechanism().contains("0.1736 of them that the token attends to least in block 1")
                        && step.extraCost().contains("block 1 without flash")
                        && step.scope().startsWith("generated tokens,")
                        && step.layers().equals(List.of(2, 3))));
        assertTrue(explanation.branches().getLast().differsIn().contains("least-attended"));
    }
}
