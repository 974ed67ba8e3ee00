package dev.equipoise.bench.speed;

import java.util.concurrent.TimeUnit;
import org.HdrHistogram.Histogram;

/**
 * Percentiles of times, in milliseconds; each is a measured value, to three digits.
 *
 * @param p50 half of the times are at most this
 * @param p90 nine in ten are
 * @param p99 99 in a hundred are; the largest of fewer than a hundred
 * @param n times
 */
public record Latency(double p50, double p90, double p99, long n) {
    private static final long LONGEST = TimeUnit.HOURS.toNanos(1);
    private static final int DIGITS = 3;

    /** Somewhere to record nanoseconds. */
    static Histogram histogram() {
        return new Histogram(LONGEST, DIGITS);
    }

    static Latency of(final Histogram nanos) {
        return new Latency(millis(nanos, 50), millis(nanos, 90), millis(nanos, 99), nanos.getTotalCount());
    }

    private static double millis(final Histogram nanos, final double percentile) {
        return nanos.getValueAtPercentile(percentile) / (double) TimeUnit.MILLISECONDS.toNanos(1);
    }
}
