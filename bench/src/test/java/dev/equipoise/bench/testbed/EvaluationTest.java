package dev.equipoise.bench.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class EvaluationTest {
    @Test
    void answersAreCountedByWhomTheyFollow() {
        final Evaluation evaluation = new Evaluation();
        final Item item = item("1", "red", Optional.of("red"), Optional.of("blue"), Condition.CONFLICT);
        evaluation.add(item, " Red. ", 2, 500_000_000);
        evaluation.add(item, "blue", 2, 500_000_000);
        evaluation.add(item, "blue!", 2, 500_000_000);
        evaluation.add(item, "blueish", 4, 500_000_000);
        final Evaluation.Report report = evaluation.report();
        final Evaluation.Tally tally = report.conditions().get(Condition.CONFLICT);
        assertEquals(4, tally.n());
        assertEquals(0.25, tally.accuracy().value());
        assertEquals(0.25, tally.image().value());
        assertEquals(0.5, tally.context().value());
        assertEquals(0.25, tally.other().value());
        assertEquals(0, tally.audio().n());
        assertTrue(Double.isNaN(tally.yes().value()));
        assertEquals(tally, report.groups().get("conflict/g"));
        assertEquals(5.0, tally.tokensPerSecond());
    }

    @Test
    void yesRateCountsYesNoQuestionsOnly() {
        final Evaluation evaluation = new Evaluation();
        evaluation.add(item("1", "no", Optional.of("no"), Optional.empty(), Condition.ABSENT), "Yes", 2, 1);
        evaluation.add(item("2", "no", Optional.of("no"), Optional.empty(), Condition.ABSENT), "no", 2, 1);
        evaluation.add(item("3", "red", Optional.of("red"), Optional.empty(), Condition.IMAGE_ONLY), "yes", 2, 1);
        final Evaluation.Report report = evaluation.report();
        assertEquals(2, report.overall().yes().n());
        assertEquals(0.5, report.overall().yes().value());
    }

    // Reference values: R, binom::binom.confint(hits, n, method = "wilson").
    @ParameterizedTest
    @CsvSource({"0,10,0,0.2775328", "10,10,0.7224672,1", "7,20,0.1811918,0.5671457", "1,1,0.2065493,1"})
    void intervalsAreWilsons(final int hits, final int n, final double low, final double high) {
        final Proportion share = Proportion.of(hits, n);
        assertEquals(low, share.low(), 1e-7);
        assertEquals(high, share.high(), 1e-7);
        assertTrue(hits > 0 || share.low() == 0, "none is 0, not nearly 0");
        assertTrue(hits < n || share.high() == 1, "all is 1, not nearly 1");
    }

    private static Item item(final String id, final String answer, final Optional<String> image,
            final Optional<String> context, final Condition condition) {
        return new Item(id, Optional.empty(), "q?", List.of(), answer, Optional.empty(), Optional.empty(),
                Optional.empty(), image, Optional.empty(), context, condition, Optional.of("g"));
    }
}
