package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.Range;
import dev.equipoise.decoding.spec.Section;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.search.BeamSearch;
import dev.equipoise.runtime.search.OverTrust;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import tools.jackson.databind.node.ObjectNode;

/** The section {@code search} of strategy files; defaults are those of OPERA's official code, but no roll-back. */
final class SearchJson {
    private static final int BEAMS = 5;
    private static final int CANDIDATES = 5;
    private static final double SCALE = 50;
    private static final double FACTOR = 1e-7;
    private static final int OPENING = 10;
    private static final Range NUMBER = Range.of(-1e6, 1e6);
    private static final Range COUNT = Range.of(0, Integer.MAX_VALUE);
    private static final List<String> SPANS = List.of(Modality.IMAGE.label(), Modality.AUDIO.label());

    private SearchJson() {}

    static BeamSearch read(final Section section) {
        final BeamSearch search = new BeamSearch(
                section.integer("beams", Range.of(1, BeamSearch.MAX_BEAMS), BEAMS),
                section.number("lengthPenalty", NUMBER, 1),
                section.flag("countPrompt"),
                section.section("overTrust").map(SearchJson::overTrust));
        section.end();
        return search;
    }

    private static OverTrust overTrust(final Section section) {
        final OverTrust trust = new OverTrust(
                section.integer("candidates", Range.of(1, OverTrust.MAX_CANDIDATES), CANDIDATES),
                section.number("scale", Range.above(0, 1e6), SCALE),
                section.number("factor", Range.of(0, 1e6), FACTOR),
                section.number("weight", NUMBER, 1),
                section.integer("opening", COUNT, OPENING),
                section.choice("span", SPANS)
                        .map(label -> Modality.valueOf(label.toUpperCase(Locale.ROOT)))
                        .orElse(Modality.IMAGE),
                section.has("threshold")
                        ? OptionalInt.of(section.integer(
                                "threshold", Range.of(OverTrust.LEAST_THRESHOLD, Integer.MAX_VALUE), 0))
                        : OptionalInt.empty());
        section.end();
        return trust;
    }

    static void write(final BeamSearch search, final ObjectNode node) {
        node.put("beams", search.beams())
                .put("lengthPenalty", search.lengthPenalty())
                .put("countPrompt", search.countsPrompt());
        final Optional<OverTrust> trust = search.overTrust();
        trust.ifPresent(over -> {
            final ObjectNode inner = node.putObject("overTrust");
            inner.put("candidates", over.candidates())
                    .put("scale", over.scale())
                    .put("factor", over.factor())
                    .put("weight", over.weight())
                    .put("opening", over.opening())
                    .put("span", over.span().label());
            over.threshold().ifPresent(threshold -> inner.put("threshold", threshold));
        });
    }
}
