package dev.equipoise.bench.speed;

/**
 * A ratio of two arms of a round.
 *
 * @param name which two
 * @param measure what is divided by what
 * @param target what the design asks of the median
 * @param ratio one value a round
 */
public record Comparison(String name, String measure, Target target, Spread ratio) {
    /** What a ratio should be. */
    public sealed interface Target {
        /** Nothing is asked: the ratio explains others. */
        record None() implements Target {}

        /**
         * Not less.
         *
         * @param bound the smallest that will do
         */
        record AtLeast(double bound) implements Target {}

        /**
         * Not more.
         *
         * @param bound the largest that will do
         */
        record AtMost(double bound) implements Target {}
    }
}
