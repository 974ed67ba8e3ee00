package dev.equipoise.decoding.procedure;

import dev.equipoise.decoding.spec.JsonReader;
import dev.equipoise.decoding.spec.Range;
import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.TraceEntry;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;

/** Answers that a model wrote down with their probabilities (Verbalized Sampling, arXiv 2510.01171). */
final class Verbalised {
    private static final long SPREAD = 0x9E37_79B9_7F4A_7C15L;
    private static final Range PROBABILITY = Range.of(0, 1);

    private Verbalised() {}

    /**
     * What came of it.
     *
     * @param text the answer drawn; empty when none was written as asked
     * @param number which one it is, from 1; 0 for none
     * @param count how many were written as asked
     */
    record Drawn(Optional<String> text, int number, int count) {
        private static final Drawn NONE = new Drawn(Optional.empty(), 0, 0);

        /** What the trace says: {@code draw:2-of-5}, or {@code draw:unparsed} where what was written is the answer. */
        TraceEntry trace() {
            return new TraceEntry(
                    text.isPresent() ? "draw:" + number + "-of-" + count : "draw:unparsed", List.of(), 0, 0);
        }
    }

    /** One of them, with its probability as it is stated. */
    private record Response(String text, double probability) {}

    /**
     * One of the answers in {@code {"responses": [{"text", "probability"}]}}, drawn by the stated probabilities, which
     * need not sum to 1; when all are 0, all are alike.
     *
     * @param written what the model wrote, batch by batch; words around an object do no harm
     * @param seed equal seeds draw equal answers
     */
    static Drawn draw(final List<String> written, final long seed) {
        final List<Response> responses = written.stream().flatMap(batch -> read(batch).stream()).toList();
        if (responses.isEmpty()) {
            return Drawn.NONE;
        }
        final double sum = responses.stream().mapToDouble(Response::probability).sum();
        // Random begins alike for seeds that lie side by side.
        double left = new Random(seed * SPREAD).nextDouble() * (sum > 0 ? sum : responses.size());
        int drawn = 0;
        for (int i = 0; i < responses.size() && left >= 0; i++) {
            final double share = sum > 0 ? responses.get(i).probability() : 1;
            left -= share;
            // Rounding may use up more than there is: then it is the last that can be drawn.
            drawn = share > 0 ? i : drawn;
        }
        return new Drawn(Optional.of(responses.get(drawn).text()), drawn + 1, responses.size());
    }

    private static List<Response> read(final String written) {
        final int first = written.indexOf('{');
        final int last = written.lastIndexOf('}');
        final List<Response> responses = new ArrayList<>();
        if (first < 0 || last < first) {
            return responses;
        }
        try {
            final Section root = JsonReader.read(written.substring(first, last + 1), "answer");
            for (final Section section : root.sections("responses")) {
                responses.add(new Response(
                        section.text("text").orElse(""), section.number("probability", PROBABILITY, 0)));
            }
        } catch (final BadInputException notThatFormat) {
            // Models do not always do as they are asked; the answer is then what they wrote.
            return List.of();
        }
        return responses;
    }
}
