package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.Intervention;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.SortedSet;

/** Which columns of a prompt a branch hides, and which columns interventions on chosen tokens mean. */
final class HiddenColumns {
    private HiddenColumns() {}

    /**
     * The columns that a branch hides, {@code [known columns]}; of length 0 if it hides none.
     *
     * @throws BadInputException if two interventions hide different ones: a key has one label
     */
    static boolean[] of(final List<Intervention> interventions, final EncodedPrompt prompt) {
        boolean[] hidden = new boolean[0];
        for (final Intervention intervention : interventions) {
            if (intervention instanceof Intervention.Hide hide) {
                final boolean[] next = new boolean[prompt.known()];
                for (int column = 0; column < next.length; column++) {
                    next[column] = isMeant(hide.span(), hide.tokens(), prompt, column);
                }
                if (hidden.length > 0 && !Arrays.equals(hidden, next)) {
                    throw new BadInputException(
                            "different tokens hidden in one branch",
                            hide.name(),
                            "hide the same ones, or leave one out");
                }
                hidden = next;
            }
        }
        return hidden;
    }

    /** Whether a column is one of the tokens that an intervention names. */
    static boolean isMeant(
            final Set<Modality> span,
            final Optional<SortedSet<Integer>> tokens,
            final EncodedPrompt prompt,
            final int column) {
        return span.contains(prompt.modality(column))
                && tokens.map(named -> named.contains(column)).orElse(column < prompt.size());
    }

    /** Refuses tokens that the prompt does not have, or that are not of the span. */
    static void require(
            final String name,
            final Set<Modality> span,
            final Optional<SortedSet<Integer>> tokens,
            final EncodedPrompt prompt) {
        for (final int column : tokens.map(List::<Integer>copyOf).orElse(List.of())) {
            if (column >= prompt.known() || !span.contains(prompt.modality(column))) {
                throw new BadInputException(
                        "a token that is not of the span",
                        name + ": column " + column + " of " + prompt.known() + ", span " + span,
                        "choose among this prompt's columns of that span");
            }
        }
    }
}
