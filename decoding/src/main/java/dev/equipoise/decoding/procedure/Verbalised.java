package dev.equipoise.decoding.procedure;

import dev.equipoise.decoding.spec.JsonReader;
import dev.equipoise.decoding.spec.Range;
import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;

/** Answers that a model wrote down with their probabilities (Verbalized Sampling, arXiv 2510.01171). */
final class Verbalised {
    private static final long SPREAD = 0x9E37_79B9_7F4A_7C15L;
    private static final Range PROBABILITY = Range.of(0, 1);

    private Verbalised() {}

    /** One of them, with its probability as it is stated. */
    private record Response(String text, double probability) {}

    /**
     * One of the answers in {@code {"responses": [{"text", "probability"}]}}, drawn by the stated probabilities, which
     * need not sum to 1; when all are 0, all are alike.
     *
     * @param written what the model wrote; words around the object do no harm
     * @param seed equal seeds draw equal answers
     * @return empty when it is not such an object
     */
    static Optional<String> draw(final String written, final long seed) {
        final List<Response> responses = read(written);
        if (responses.isEmpty()) {
            return Optional.empty();
        }
        final double sum = responses.stream().mapToDouble(Response::probability).sum();
        // Random begins alike for seeds that lie side by side.
        double left = new Random(seed * SPREAD).nextDouble() * (sum > 0 ? sum : responses.size());
        for (final Response response : responses) {
            left -= sum > 0 ? response.probability() : 1;
            if (left < 0) {
                return Optional.of(response.text());
            }
        }
        // Rounding has used up more than there was: the last that can be drawn.
        return responses.reversed().stream()
                .filter(response -> response.probability() > 0 || !(sum > 0))
                .findFirst()
                .map(Response::text);
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
