package dev.equipoise.decoding;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Gate;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.search.BeamSearch;
import dev.equipoise.steering.edit.Edit;
import dev.equipoise.steering.edit.PromptSteeringEdit;
import dev.equipoise.steering.edit.SteeringEdit;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/** Which parts of a strategy go together. Each method throws {@link BadInputException}, naming the part. */
final class StrategyRules {
    private StrategyRules() {}

    /** Every name stands for one thing that an earlier pass finds. */
    static void requireNames(
            final List<Pass> passes, final Optional<Prompting> prompting, final Optional<Contrast> contrast) {
        final Set<String> texts = new TreeSet<>();
        final Set<String> weights = new TreeSet<>();
        for (final Pass pass : passes) {
            Template.require(pass.ask(), texts, "prepare");
            requireText(pass.after().stream().toList(), texts, "prepare, after");
            for (final String name : pass.names()) {
                if (!(pass instanceof Pass.Generate ? texts : weights).add(name)
                        || texts.contains(name) && weights.contains(name)) {
                    throw new BadInputException("a name for two findings: " + name, "prepare", "rename one of them");
                }
            }
        }
        prompting.ifPresent(words -> {
            words.system().ifPresent(text -> Template.require(text, texts, "prompt.system"));
            words.text().ifPresent(text -> Template.require(text, texts, "prompt.text"));
            requireText(words.batches(), texts, "prompt.batches");
            requireText(words.after().stream().toList(), texts, "prompt.after");
        });
        if (contrast.isPresent() && contrast.get() instanceof LinearContrast linear) {
            linear.branches().forEach((name, variation) -> variation.words().values().forEach(text ->
                    Template.require(text, texts, "contrast.branches." + name)));
            for (final String name : linear.weights()) {
                if (!weights.contains(name)) {
                    throw new BadInputException(
                            "unknown name \"" + name + "\"",
                            "contrast.coefficients",
                            "give it among the parameters, or let a pass weigh it");
                }
            }
        }
    }

    private static void requireText(final List<String> names, final Set<String> texts, final String where) {
        names.stream().filter(name -> !texts.contains(name)).findFirst().ifPresent(name -> {
            throw new BadInputException(
                    "a text that no pass before writes: \"" + name + "\"", where, "name one that does");
        });
    }

    /** A gate saves other branches, and reads the base row. */
    static void requireGateable(final Optional<Gate> gate, final Optional<Contrast> contrast) {
        if (gate.isEmpty()) {
            return;
        }
        if (contrast.isEmpty() || contrast.get() instanceof Contrast.Plausibility) {
            throw new BadInputException(
                    "a gate on a strategy without other branches",
                    "gate",
                    "leave it out: there is nothing that it could save");
        }
        if (contrast.get() instanceof LinearContrast linear && !linear.cutOff().equals(LinearContrast.BASE)) {
            throw new BadInputException(
                    "a gate on a contrast whose cut-off is about branch " + linear.cutOff(),
                    "gate",
                    "let the cut-off be about " + LinearContrast.BASE + ", which is the row that a gate reads");
        }
    }

    /**
     * A rule for options is all of its strategy.
     *
     * @param more whether there is anything else
     */
    static void requireAlone(final Optional<OptionRule> choosing, final boolean more) {
        if (choosing.isPresent() && more) {
            throw new BadInputException(
                    "a rule for options beside other parts",
                    "choose",
                    "leave them out: the rule reads the options plainly, twice");
        }
    }

    /** A search ranks answers by the rows of one branch, as they are. */
    static void requireSearchable(
            final Optional<BeamSearch> search,
            final Optional<ForkMerge> forkMerge,
            final Optional<Contrast> contrast,
            final Sampling sampling) {
        if (search.isEmpty()) {
            return;
        }
        if (forkMerge.isPresent() || contrast.isPresent()) {
            throw new BadInputException(
                    "a search beside a " + (forkMerge.isPresent() ? "fork-merge" : "contrast"),
                    "search",
                    "leave one of them out: each beam would need every branch for itself");
        }
        if (!sampling.isArgmax()) {
            throw new BadInputException(
                    "a search with temperature, penalties, a grammar or shifts of logits",
                    "search",
                    "leave them out of the sampling: a search ranks whole answers by the model's own rows");
        }
    }

    /** Conditions are read from the first branch, which must be the request as it is. */
    static void requireReadable(
            final List<Edit> edits, final Optional<ForkMerge> forkMerge, final Optional<Contrast> contrast) {
        if (Strategy.everywhere(edits, contrast).noneMatch(StrategyRules::isConditional)) {
            return;
        }
        if (forkMerge.isPresent()) {
            throw new BadInputException(
                    "a condition beside a fork-merge",
                    "steer",
                    "leave one of them out: no branch of a fork-merge reads the prompt as it is");
        }
        if (contrast.isPresent()
                && contrast.get() instanceof LinearContrast linear
                && !linear.cutOff().equals(LinearContrast.BASE)) {
            throw new BadInputException(
                    "a condition beside a cut-off that is about branch " + linear.cutOff(),
                    "steer",
                    "let the cut-off be about " + LinearContrast.BASE + ", whose prompt conditions are read from");
        }
    }

    private static boolean isConditional(final Edit edit) {
        return edit instanceof SteeringEdit steer && steer.when().isPresent()
                || edit instanceof PromptSteeringEdit open && open.when().isPresent();
    }
}
