package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.Range;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Prompt;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/**
 * How the request itself is worded. It comes first: branches differ from what is left of the request after it.
 *
 * @param without modalities that are not shown; the prompt must have at least one of them
 * @param system the system text, in place of the prompt's own
 * @param text the user's words; {@code {question}} and names of passes are filled in
 * @param responses how many answers the model is asked to write down with their probabilities, one of which is then
 *     drawn by them; 0 when the model's answer is the answer
 * @param batches names of texts of passes that hold such answers too
 * @param after the text of a pass whose conversation goes on: that is then a turn of the model's, and {@code text},
 *     which there must be, the user's next one
 */
public record Prompting(
        Set<Modality> without,
        Optional<String> system,
        Optional<String> text,
        int responses,
        List<String> batches,
        Optional<String> after) {
    /** Allowed numbers of written-down answers; 0 is none. */
    public static final Range RESPONSES = Range.of(0, 100);

    public Prompting {
        without = Variation.copy(without);
        Objects.requireNonNull(system);
        Objects.requireNonNull(text);
        RESPONSES.require("responses", responses);
        batches = List.copyOf(batches);
        if (responses == 0 && !batches.isEmpty()) {
            throw new BadInputException("batches of no answers", "prompt.batches", "say how many responses each has");
        }
        if (after.isPresent() && text.isEmpty()) {
            throw new BadInputException("a turn without words", "prompt.after", "give its text");
        }
    }

    /** Without answers of passes. */
    public Prompting(
            final Set<Modality> without,
            final Optional<String> system,
            final Optional<String> text,
            final int responses) {
        this(without, system, text, responses, List.of(), Optional.empty());
    }

    /**
     * The request with these words.
     *
     * @param passes those of the strategy
     * @param found their texts
     */
    Prompt apply(final Prompt request, final List<Pass> passes, final Map<String, String> found) {
        if (!without.isEmpty() && Collections.disjoint(without, request.modalities())) {
            final Modality missing = without.iterator().next();
            throw new BadInputException(
                    "nothing to put into words: the prompt has no " + Variation.thing(missing),
                    "prompt.without",
                    "add a " + Variation.thing(missing) + ", or choose a strategy that needs none");
        }
        final Prompt prompt = Pass.next(
                request, after, without, text.orElse("{" + Template.QUESTION + "}"), passes, found);
        return system.map(words -> Variation.say(prompt, Modality.SYSTEM, Variation.fill(words, request, found)))
                .orElse(prompt)
                .answered(request.answer());
    }

    /** This prompting without what has no effect, if anything is left of it. */
    Optional<Prompting> resolved() {
        final Optional<String> effective = text.filter(words -> !words.equals("{" + Template.QUESTION + "}"));
        final boolean idle = without.isEmpty() && system.isEmpty() && effective.isEmpty() && responses == 0;
        return after.isPresent() || !idle
                ? Optional.of(new Prompting(
                        without, system, after.isPresent() ? text : effective, responses, batches, after))
                : Optional.empty();
    }
}
