package dev.equipoise.decoding;

import dev.equipoise.runtime.Compression;
import dev.equipoise.runtime.Gate;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.StrategyLabel;
import dev.equipoise.runtime.search.BeamSearch;
import dev.equipoise.steering.edit.Edit;
import dev.equipoise.steering.edit.PromptSteeringEdit;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * A way of decoding, as data.
 *
 * @param name how reports call it; of no consequence
 * @param source where it comes from, if that is recorded; of no consequence
 * @param passes what is asked of the model before the answer is begun, in this order
 * @param prompting how the request is worded, if not as it comes
 * @param edits what acts inside the network, on every branch, in this order
 * @param forkMerge how two branches are joined inside the network, if they are
 * @param contrast what corrects the logits, empty for plain decoding
 * @param sampling how tokens are drawn
 * @param gate when the contrast's other branches are needed; for every token, if there is none
 * @param choosing how one of given options is chosen instead of an answer being generated; nothing goes with it
 * @param compression what is left out of the request's pictures, on every branch that does not say otherwise
 * @param search how the answer is searched for, if its tokens are not drawn one after another
 */
public record Strategy(
        String name,
        Optional<Source> source,
        List<Pass> passes,
        Optional<Prompting> prompting,
        List<Edit> edits,
        Optional<ForkMerge> forkMerge,
        Optional<Contrast> contrast,
        Sampling sampling,
        Optional<Gate> gate,
        Optional<OptionRule> choosing,
        Optional<Compression> compression,
        Optional<BeamSearch> search) {
    public Strategy {
        Objects.requireNonNull(compression);
        Objects.requireNonNull(search);
        passes = List.copyOf(passes);
        Objects.requireNonNull(prompting);
        edits = List.copyOf(edits);
        Objects.requireNonNull(forkMerge);
        Objects.requireNonNull(name);
        Objects.requireNonNull(source);
        Objects.requireNonNull(contrast);
        Objects.requireNonNull(sampling);
        StrategyRules.requireNames(passes, prompting, contrast);
        StrategyRules.requireGateable(gate, contrast);
        final boolean more = !passes.isEmpty() || prompting.isPresent() || !edits.isEmpty() || forkMerge.isPresent()
                || contrast.isPresent() || compression.isPresent() || search.isPresent();
        StrategyRules.requireAlone(choosing, more);
        StrategyRules.requireSearchable(search, forkMerge, contrast, sampling);
        StrategyRules.requireReadable(edits, forkMerge, contrast);
    }

    /** A strategy that generates an answer. */
    public Strategy(
            final String name,
            final Optional<Source> source,
            final List<Pass> passes,
            final Optional<Prompting> prompting,
            final List<Edit> edits,
            final Optional<ForkMerge> forkMerge,
            final Optional<Contrast> contrast,
            final Sampling sampling,
            final Optional<Gate> gate) {
        this(
                name,
                source,
                passes,
                prompting,
                edits,
                forkMerge,
                contrast,
                sampling,
                gate,
                Optional.empty(),
                Optional.empty(),
                Optional.empty());
    }

    /** A strategy all of whose branches are needed for every token. */
    public Strategy(
            final String name,
            final Optional<Source> source,
            final List<Pass> passes,
            final Optional<Prompting> prompting,
            final List<Edit> edits,
            final Optional<ForkMerge> forkMerge,
            final Optional<Contrast> contrast,
            final Sampling sampling) {
        this(
                name,
                source,
                passes,
                prompting,
                edits,
                forkMerge,
                contrast,
                sampling,
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty());
    }

    /** A strategy that takes the request as it comes. */
    public Strategy(
            final String name,
            final Optional<Source> source,
            final List<Edit> edits,
            final Optional<ForkMerge> forkMerge,
            final Optional<Contrast> contrast,
            final Sampling sampling) {
        this(name, source, List.of(), Optional.empty(), edits, forkMerge, contrast, sampling);
    }

    /** A strategy that leaves the inside of the network alone. */
    public Strategy(
            final String name,
            final Optional<Source> source,
            final Optional<Contrast> contrast,
            final Sampling sampling) {
        this(name, source, List.of(), Optional.empty(), contrast, sampling);
    }

    /** Plain greedy decoding. */
    public static Strategy plain() {
        return new Strategy("plain", Optional.empty(), Optional.empty(), Sampling.greedy());
    }

    /** This strategy with another way of drawing tokens. */
    public Strategy withSampling(final Sampling other) {
        return changed(draft -> draft.sampling = other);
    }

    /** This strategy with another contrast. */
    public Strategy withContrast(final Contrast other) {
        return changed(draft -> draft.contrast = Optional.of(other));
    }

    /** This strategy with other edits on every branch. */
    public Strategy withEdits(final List<Edit> others) {
        return changed(draft -> draft.edits = others);
    }

    /** This strategy with another wording of the request. */
    public Strategy withPrompting(final Prompting other) {
        return changed(draft -> draft.prompting = Optional.of(other));
    }

    /** This strategy with whole pictures. */
    public Strategy withoutCompression() {
        return changed(draft -> draft.compression = Optional.empty());
    }

    /** This strategy with another search, or none. */
    public Strategy withSearch(final Optional<BeamSearch> other) {
        return changed(draft -> draft.search = other);
    }

    /** This strategy with another fork-merge. */
    public Strategy withForkMerge(final ForkMerge other) {
        return changed(draft -> draft.forkMerge = Optional.of(other));
    }

    /** This strategy with a gate. */
    public Strategy withGate(final Gate other) {
        return changed(draft -> draft.gate = Optional.of(other));
    }

    /** This strategy under another name. */
    Strategy named(final String other) {
        return changed(draft -> draft.name = other);
    }

    private Strategy changed(final Consumer<Draft> change) {
        final Draft draft = new Draft(this);
        change.accept(draft);
        return draft.made();
    }

    /** This strategy with the weights that its passes found. */
    Strategy prepared(final Preparation found) {
        return contrast.isPresent() && contrast.get() instanceof LinearContrast linear
                ? withContrast(linear.prepared(found.weights()))
                : this;
    }

    /**
     * This strategy without what has no effect: an edit that changes nothing is left out, a contrast of strength 0 is
     * its cut-off alone, a cut-off of 0 is none, a pass is left out whose findings nothing uses, a gate where no
     * other branch is left, and a search that finds what greedy decoding does. A spelled-out contrast that is one of
     * the methods becomes that method. Log-probabilities are kept at any strength, since penalties treat their row
     * differently.
     */
    public Strategy resolved() {
        final Optional<Contrast> effective = contrast.map(found -> switch (found) {
            case Contrast.Vcd vcd when vcd.alpha() == 0 -> new Contrast.Plausibility(vcd.beta());
            case Contrast.Icd icd when icd.alpha() == 0 -> new Contrast.Plausibility(icd.beta());
            case Contrast.Cad cad when cad.alpha() == 0 -> new Contrast.Plausibility(cad.beta());
            case LinearContrast linear -> Shorthand.of(linear.canonical());
            default -> found;
        });
        final boolean idle = effective.isPresent()
                && effective.get() instanceof Contrast.Plausibility
                && effective.get().beta() == 0;
        final Optional<Contrast> kept = idle ? Optional.empty() : effective;
        final Optional<Prompting> words = prompting.flatMap(Prompting::resolved);
        return changed(draft -> {
            draft.passes = used(words, kept);
            draft.prompting = words;
            draft.edits = edits.stream().filter(edit -> !edit.isIdle()).toList();
            draft.contrast = kept;
            draft.gate = gate.filter(it -> kept.isPresent() && !(kept.get() instanceof Contrast.Plausibility));
            draft.compression = compression.filter(it -> it.keep() < 1);
            draft.search = search.filter(it -> !it.isGreedy());
        });
    }

    // From the last to the first, since a pass may use what an earlier one found.
    private List<Pass> used(final Optional<Prompting> words, final Optional<Contrast> effective) {
        final Set<String> wanted = new TreeSet<>();
        words.ifPresent(it -> {
            it.system().map(Template::names).ifPresent(wanted::addAll);
            it.text().map(Template::names).ifPresent(wanted::addAll);
            wanted.addAll(it.batches());
            it.after().ifPresent(wanted::add);
        });
        if (effective.isPresent() && effective.get() instanceof LinearContrast linear) {
            wanted.addAll(linear.weights());
            linear.branches().values().forEach(variation ->
                    variation.words().values().forEach(text -> wanted.addAll(Template.names(text))));
        }
        final List<Pass> used = new ArrayList<>();
        for (final Pass pass : passes.reversed()) {
            if (pass.names().stream().anyMatch(wanted::contains)) {
                wanted.addAll(Template.names(pass.ask()));
                pass.after().ifPresent(wanted::add);
                used.addFirst(pass);
            }
        }
        return used;
    }

    /** The modalities whose effect on the prompt's states some edit, of whatever branch, is to be along. */
    public Set<Modality> observed() {
        final Set<Modality> observed = EnumSet.noneOf(Modality.class);
        everywhere(edits, contrast)
                .filter(PromptSteeringEdit.class::isInstance)
                .forEach(edit -> observed.add(((PromptSteeringEdit) edit).without()));
        return observed;
    }

    /** The edits on every branch, and those of one branch alone. */
    static Stream<Edit> everywhere(final List<Edit> edits, final Optional<Contrast> contrast) {
        final List<Edit> all = new ArrayList<>(edits);
        if (contrast.isPresent() && contrast.get() instanceof LinearContrast linear) {
            linear.branches().values().forEach(branch -> all.addAll(branch.edits()));
        }
        return all.stream();
    }

    /** The choices of tokens that are made for its branches before the answer is begun, each once. */
    public List<TokenChoice> choices() {
        return allChoices().filter(choice -> !choice.isPerToken()).toList();
    }

    /** Those that are made for each token of the answer anew, each once. */
    public List<TokenChoice> rechoices() {
        return allChoices().filter(TokenChoice::isPerToken).toList();
    }

    private Stream<TokenChoice> allChoices() {
        return contrast.isPresent() && contrast.get() instanceof LinearContrast linear
                ? linear.branches().values().stream().flatMap(it -> it.tokens().stream()).distinct()
                : Stream.empty();
    }

    /**
     * SHA-256, in hexadecimal, of what the strategy does to any model: equal for equal behaviour, whatever its name,
     * source, order of keys, spelled-out defaults, the split of what acts inside into edits, and the order of edits
     * that do not meet. Choices of layers by shares of a depth that is not known are told apart by how they are
     * written. Strategies that differ in it may still agree on a given prompt.
     */
    public String fingerprint() {
        return Fingerprint.of(resolved(), OptionalInt.empty());
    }

    /**
     * The same for models of so many blocks: layers count, however they were chosen.
     *
     * @param depth at least 1
     */
    public String fingerprint(final int depth) {
        return Fingerprint.of(resolved(), OptionalInt.of(depth));
    }

    /** Name and fingerprint for models of so many blocks, as answers carry them. */
    public StrategyLabel label(final int depth) {
        return new StrategyLabel(name, fingerprint(depth));
    }

    /** The strategy as a strategy file with every value spelled out; reading it gives an equal strategy. */
    public String toJson() {
        return StrategyJson.write(this);
    }

    // The same parts before they are a strategy.
    private static final class Draft {
        private String name;
        private final Optional<Source> source;
        private List<Pass> passes;
        private Optional<Prompting> prompting;
        private List<Edit> edits;
        private Optional<ForkMerge> forkMerge;
        private Optional<Contrast> contrast;
        private Sampling sampling;
        private Optional<Gate> gate;
        private final Optional<OptionRule> choosing;
        private Optional<Compression> compression;
        private Optional<BeamSearch> search;

        Draft(final Strategy from) {
            name = from.name;
            source = from.source;
            passes = from.passes;
            prompting = from.prompting;
            edits = from.edits;
            forkMerge = from.forkMerge;
            contrast = from.contrast;
            sampling = from.sampling;
            gate = from.gate;
            choosing = from.choosing;
            compression = from.compression;
            search = from.search;
        }

        Strategy made() {
            return new Strategy(
                    name,
                    source,
                    passes,
                    prompting,
                    edits,
                    forkMerge,
                    contrast,
                    sampling,
                    gate,
                    choosing,
                    compression,
                    search);
        }
    }
}
