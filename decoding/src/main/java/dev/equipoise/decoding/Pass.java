package dev.equipoise.decoding;

import dev.equipoise.decoding.expression.ExpressionReader;
import dev.equipoise.decoding.spec.Range;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Part;
import dev.equipoise.runtime.Prompt;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.Collectors;

/** Something that is asked of the model before the answer is begun, always plainly and greedily. */
public sealed interface Pass {
    /** Allowed lengths of what a pass writes. */
    Range MAX_TOKENS = Range.of(1, 4096);

    /** What is asked in place of the question; {@code {question}} and names of earlier passes are filled in. */
    String ask();

    /** The modalities that are not shown; those that the prompt lacks do no harm. */
    Set<Modality> without();

    /** The names that it gives a value. */
    List<String> names();

    /** The prompt of this pass, with what earlier passes found. */
    default Prompt prompt(final Prompt request, final Map<String, String> found) {
        Prompt shown = request;
        for (final Modality modality : without()) {
            shown = shown.without(modality);
        }
        return Variation.say(shown, Modality.TEXT, Variation.fill(ask(), request, found));
    }

    /**
     * Lets the model write a text.
     *
     * @param name what the text is called in later templates
     * @param ask see {@link Pass#ask}
     * @param without see {@link Pass#without}
     * @param maxTokens most tokens that it writes, 1..4096
     */
    record Generate(String name, String ask, Set<Modality> without, int maxTokens) implements Pass {
        public Generate {
            Objects.requireNonNull(ask);
            without = Variation.copy(without);
            MAX_TOKENS.require("maxTokens", maxTokens);
            requireName(name);
        }

        @Override
        public List<String> names() {
            return List.of(name);
        }
    }

    /**
     * Lets the model weigh: the softmax, over the first tokens of some words, of the row that would follow.
     *
     * @param ask see {@link Pass#ask}
     * @param without see {@link Pass#without}
     * @param words at least two, by the name of the weight that each gets
     */
    record Assess(String ask, Set<Modality> without, Map<String, String> words) implements Pass {
        public Assess {
            Objects.requireNonNull(ask);
            without = Variation.copy(without);
            words = Collections.unmodifiableMap(new LinkedHashMap<>(words));
            if (words.size() < 2) {
                throw new BadInputException("nothing to weigh", "prepare, words " + words.keySet(), "give two or more");
            }
            words.keySet().forEach(Pass::requireName);
        }

        @Override
        public List<String> names() {
            return List.copyOf(words.keySet());
        }
    }

    private static void requireName(final String name) {
        if (!ExpressionReader.isName(name) || name.equals(Template.QUESTION)) {
            throw new BadInputException(
                    "not a name: \"" + name + "\"", "prepare", "use letters, digits and underscores, but not t");
        }
    }

    /** The user's own words. */
    static String question(final Prompt prompt) {
        return prompt.parts().stream()
                .filter(part -> part.modality() == Modality.TEXT)
                .map(part -> ((Part.Words) part).text())
                .collect(Collectors.joining("\n"));
    }
}
