package dev.equipoise.runtime.search;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * The best answers that have ended, at most as many as there are beams; never changed. As {@code BeamHypotheses} of
 * transformers 4.29.
 *
 * @param answers in the order in which they were set aside
 * @param worst the lowest score that counts
 */
record Ended(List<Answer> answers, double worst) {
    /** None yet. */
    static final Ended NONE = new Ended(List.of(), Double.POSITIVE_INFINITY);

    /**
     * One of them.
     *
     * @param path without the token that ended it
     * @param score log-probability by length
     * @param whole whether the model ended it, not the limit
     */
    record Answer(Path path, double score, boolean whole) {}

    /** These and one more, if it belongs to the best {@code most}. */
    Ended with(final Answer answer, final int most) {
        final boolean full = answers.size() >= most;
        if (full && !(answer.score() > worst)) {
            return this;
        }
        final List<Answer> more = new ArrayList<>(answers);
        more.add(answer);
        if (!full) {
            return new Ended(List.copyOf(more), Math.min(worst, answer.score()));
        }
        more.remove(more.stream().min(Comparator.comparingDouble(Answer::score)).orElseThrow());
        return new Ended(
                List.copyOf(more), more.stream().mapToDouble(Answer::score).min().orElse(answer.score()));
    }

    /** Whether none that goes on can still belong to the best {@code most}, its score being at most that. */
    boolean isFinal(final int most, final double attainable) {
        return answers.size() >= most && worst >= attainable;
    }

    /** The best; of equal ones the last. There must be one. */
    Answer best() {
        Answer best = answers.getFirst();
        for (final Answer answer : answers) {
            best = answer.score() >= best.score() ? answer : best;
        }
        return best;
    }
}
