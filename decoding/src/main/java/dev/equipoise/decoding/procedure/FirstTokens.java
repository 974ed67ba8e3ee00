package dev.equipoise.decoding.procedure;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Model;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Words told apart by their first tokens. */
final class FirstTokens {
    private FirstTokens() {}

    /**
     * The first token of each word.
     *
     * @param where where the words stand, for messages
     * @throws BadInputException if two begin alike, so that one row cannot tell them apart
     */
    static int[] of(final Model model, final List<String> words, final String where) {
        final Map<Integer, String> taken = new HashMap<>();
        final int[] first = new int[words.size()];
        for (int i = 0; i < first.length; i++) {
            final String word = words.get(i);
            final int[] ids = model.tokenize(word, false);
            final String other = ids.length == 0 ? "nothing" : taken.put(ids[0], "\"" + word + "\"");
            if (other != null) {
                throw new BadInputException(
                        "words that the model cannot weigh: \"" + word + "\" begins as " + other + " does",
                        where,
                        "choose words that differ in their first token");
            }
            first[i] = ids[0];
        }
        return first;
    }
}
