package dev.equipoise.bench.demo;

import dev.equipoise.bench.testbed.Item;
import dev.equipoise.decoding.procedure.MultipleChoice;
import java.util.List;
import java.util.Optional;

/**
 * How much a reading of options from the media and one from words disagree about the right option: the conflict metric
 * of dynamic contrastive decoding (arXiv 2410.03659), {@code |ln(p_perceived / p_told)|} in nats.
 *
 * @param n items whose right option is among those they give
 * @param agreed those in which both readings had the same answer
 * @param agreeing mean of the metric over these; NaN without any
 * @param disagreeing mean over the others; NaN without any
 */
public record OptionConflict(int n, int agreed, double agreeing, double disagreeing) {
    /**
     * One item.
     *
     * @param agreed whether both readings had the same answer
     * @param conflict the metric, at least 0
     */
    record Reading(boolean agreed, double conflict) {
        /** The metric at an item's right option; empty if it is not among those given. */
        static Optional<Reading> of(final Item item, final MultipleChoice.Choice choice) {
            final int right = item.options().indexOf(item.answer());
            return right < 0 ? Optional.empty() : Optional.of(new Reading(choice.agreed(), choice.conflict(right)));
        }
    }

    static OptionConflict of(final List<Reading> readings) {
        final int agreed = (int) readings.stream().filter(Reading::agreed).count();
        return new OptionConflict(readings.size(), agreed, mean(readings, true), mean(readings, false));
    }

    private static double mean(final List<Reading> readings, final boolean agreed) {
        return readings.stream()
                .filter(reading -> reading.agreed() == agreed)
                .mapToDouble(Reading::conflict)
                .average()
                .orElse(Double.NaN);
    }
}
