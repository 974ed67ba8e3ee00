package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;
import tools.jackson.databind.node.ObjectNode;

/** The section {@code tokens} of a branch, from JSON and back. Every choice's defaults stand here, once. */
final class TokenChoiceJson {
    private static final int KEEP = 100;
    private static final int LAYER = 2;
    private static final double GAMMA = 0.5;
    private static final double LAMBDA = 1;
    private static final double TOP_SHARE = 0.5;
    private static final List<String> WAYS = List.of(
            TokenChoice.LeastAttended.BY, TokenChoice.Blind.BY, TokenChoice.Dominated.BY);
    private static final List<String> SPANS = List.of(Modality.IMAGE.label(), Modality.AUDIO.label());
    private static final List<String> WEAKER =
            Arrays.stream(TokenChoice.Weaker.values()).map(TokenChoice.Weaker::label).toList();

    private static final List<String> MASKS =
            Arrays.stream(TokenChoice.Mask.values()).map(TokenChoice.Mask::label).toList();

    private static final List<String> REFRESHES =
            Arrays.stream(TokenChoice.Refresh.values()).map(TokenChoice.Refresh::label).toList();

    private TokenChoiceJson() {}

    static TokenChoice read(final Section section) {
        final String by = section.choice("by", WAYS).orElseThrow(() -> new BadInputException(
                "tokens without a way to choose them", section.where("by"), "choose " + String.join(", ", WAYS)));
        final TokenChoice choice = switch (by) {
            case TokenChoice.LeastAttended.BY -> {
                if (section.mentions("keep") && section.mentions("share")) {
                    throw new BadInputException(
                            "keep and share", section.where("share"), "leave one of them out");
                }
                yield new TokenChoice.LeastAttended(
                        span(section),
                        section.integer("keep", TokenChoice.COUNT, KEEP),
                        section.has("share")
                                ? OptionalDouble.of(section.number("share", TokenChoice.SHARE, 0))
                                : OptionalDouble.empty(),
                        section.integer("layer", TokenChoice.COUNT, LAYER),
                        refresh(section));
            }
            case TokenChoice.Blind.BY -> new TokenChoice.Blind(
                    span(section),
                    section.number("gamma", TokenChoice.SHARE, GAMMA),
                    section.number("lambda", TokenChoice.DEVIATIONS, LAMBDA));
            default -> new TokenChoice.Dominated(
                    TokenChoice.Weaker.valueOf(section.choice("weaker", WEAKER)
                            .orElse(TokenChoice.Weaker.BOTH.label())
                            .toUpperCase(Locale.ROOT)),
                    section.number("share", TokenChoice.SHARE, TOP_SHARE),
                    section.flag("within"),
                    section.flag("perToken"),
                    section.flag("behind"),
                    TokenChoice.Mask.valueOf(section.choice("mask", MASKS)
                            .orElse(TokenChoice.Mask.COLUMNS.label())
                            .toUpperCase(Locale.ROOT)),
                    refresh(section));
        };
        section.end();
        return choice;
    }

    private static Modality span(final Section section) {
        return section.choice("span", SPANS)
                .map(label -> Modality.valueOf(label.toUpperCase(Locale.ROOT)))
                .orElse(Modality.IMAGE);
    }

    private static TokenChoice.Refresh refresh(final Section section) {
        return TokenChoice.Refresh.valueOf(section.choice("refresh", REFRESHES)
                .orElse(TokenChoice.Refresh.STEP.label())
                .toUpperCase(Locale.ROOT));
    }

    static void write(final TokenChoice choice, final ObjectNode node) {
        node.put("by", choice.by());
        switch (choice) {
            case TokenChoice.LeastAttended least -> {
                node.put("span", least.span().label()).put("layer", least.layer());
                if (least.share().isPresent()) {
                    node.put("share", least.share().getAsDouble());
                } else {
                    node.put("keep", least.keep());
                }
                node.put("refresh", least.refresh().label());
            }
            case TokenChoice.Blind blind -> node.put("span", blind.span().label())
                    .put("gamma", blind.gamma())
                    .put("lambda", blind.lambda());
            case TokenChoice.Dominated dominated -> node.put("weaker", dominated.weaker().label())
                    .put("share", dominated.share())
                    .put("within", dominated.within())
                    .put("perToken", dominated.perToken())
                    .put("behind", dominated.behind())
                    .put("mask", dominated.mask().label())
                    .put("refresh", dominated.refresh().label());
        }
    }
}
