package dev.equipoise.decoding;

import dev.equipoise.decoding.Explanation.Step;
import dev.equipoise.runtime.search.BeamSearch;
import dev.equipoise.runtime.search.OverTrust;
import java.util.List;

/** What an {@link Explanation} says of a search. */
final class SearchWords {
    /** The step that finds the answer. */
    static final String SEARCH = "search";

    private SearchWords() {}

    static Step step(final BeamSearch search) {
        final String length = "their log-probability by "
                + (search.countsPrompt() ? "the length of prompt and answer" : "the length of the answer")
                + " to the power of " + search.lengthPenalty();
        return new Step(
                SEARCH,
                "after the graph: "
                        + (search.beams() == 1
                                ? "the best token of one beam"
                                : "beam search, " + search.beams() + " beams, answers ranked by " + length)
                        + search.overTrust().map(SearchWords::judging).orElse(""),
                List.of(),
                "the answer as a whole: its tokens are known when the search ends",
                search.overTrust()
                        .map(trust -> search.sequences() + " columns in every step, " + trust.candidates()
                                + " a beam; the last block leaves the flash path, from then on for every request of"
                                + " the engine")
                        .orElse(search.beams() + " columns in every step"));
    }

    private static String judging(final OverTrust trust) {
        return "; the best " + trust.candidates() + " tokens of a beam are read, and their attention in the last block"
                + " decides: among the first " + trust.opening() + " tokens a candidate's logit gains " + trust.weight()
                + " times its weight on the " + trust.span().label() + ", later it loses " + trust.weight() + " times "
                + trust.factor() + " times the largest product of the weights times " + trust.scale()
                + " that it and all answer tokens behind one lay on that one"
                + (trust.threshold().isPresent()
                        ? "; goes back behind that one where it was the same on all beams for more than "
                                + trust.threshold().getAsInt() + " steps, and takes other tokens there"
                        : "");
    }
}
