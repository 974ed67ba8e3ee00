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
import java.util.Optional;
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

    /** The text whose conversation it goes on: that is then a turn of the model's, and what it asks the next one. */
    Optional<String> after();

    /**
     * The prompt of this pass.
     *
     * @param passes all of the strategy
     * @param found the texts of earlier ones
     */
    default Prompt prompt(final Prompt request, final List<Pass> passes, final Map<String, String> found) {
        return next(request, after(), without(), ask(), passes, found);
    }

    /** The request with other words in place of the question, or as the next turn of a pass's conversation. */
    static Prompt next(
            final Prompt request,
            final Optional<String> after,
            final Set<Modality> without,
            final String ask,
            final List<Pass> passes,
            final Map<String, String> found) {
        Prompt shown = after.map(name -> named(name, passes).prompt(request, passes, found)).orElse(request);
        for (final Modality modality : without) {
            shown = shown.without(modality);
        }
        final String asked = Variation.fill(ask, request, found);
        return after.isPresent()
                ? shown.then(found.get(after.get()), asked)
                : Variation.say(shown, Modality.TEXT, asked);
    }

    private static Pass named(final String name, final List<Pass> passes) {
        return passes.stream().filter(pass -> pass.names().contains(name)).findFirst().orElseThrow();
    }

    /**
     * Lets the model write a text.
     *
     * @param name what the text is called in later templates
     * @param ask see {@link Pass#ask}
     * @param without see {@link Pass#without}
     * @param maxTokens most tokens that it writes, 1..4096
     * @param after see {@link Pass#after}
     */
    record Generate(String name, String ask, Set<Modality> without, int maxTokens, Optional<String> after)
            implements Pass {
        /** One that asks in the request's only turn. */
        public Generate(final String name, final String ask, final Set<Modality> without, final int maxTokens) {
            this(name, ask, without, maxTokens, Optional.empty());
        }

        public Generate {
            Objects.requireNonNull(ask);
            Objects.requireNonNull(after);
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

        @Override
        public Optional<String> after() {
            return Optional.empty();
        }
    }

    private static void requireName(final String name) {
        if (!ExpressionReader.isName(name) || name.equals(Template.QUESTION)) {
            throw new BadInputException(
                    "not a name: \"" + name + "\"", "prepare", "use letters, digits and underscores, but not t");
        }
    }

    /** The user's own words, of the last turn. */
    static String question(final Prompt prompt) {
        return prompt.parts().subList(prompt.earlier(), prompt.parts().size()).stream()
                .filter(part -> part.modality() == Modality.TEXT)
                .map(part -> ((Part.Words) part).text())
                .collect(Collectors.joining("\n"));
    }
}
