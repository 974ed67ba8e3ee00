package dev.equipoise.decoding;

import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.StrategyLabel;
import dev.equipoise.steering.edit.Edit;
import java.util.List;
import java.util.Objects;
import java.util.Optional;

/**
 * A way of decoding, as data.
 *
 * @param name how reports call it; of no consequence
 * @param source where it comes from, if that is recorded; of no consequence
 * @param edits what acts inside the network, on every branch, in this order
 * @param forkMerge how two branches are joined inside the network, if they are
 * @param contrast what corrects the logits, empty for plain decoding
 * @param sampling how tokens are drawn
 */
public record Strategy(
        String name,
        Optional<Source> source,
        List<Edit> edits,
        Optional<ForkMerge> forkMerge,
        Optional<Contrast> contrast,
        Sampling sampling) {
    public Strategy {
        edits = List.copyOf(edits);
        Objects.requireNonNull(forkMerge);
        Objects.requireNonNull(name);
        Objects.requireNonNull(source);
        Objects.requireNonNull(contrast);
        Objects.requireNonNull(sampling);
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
        return new Strategy(name, source, edits, forkMerge, contrast, other);
    }

    /** This strategy with another contrast. */
    public Strategy withContrast(final Contrast other) {
        return new Strategy(name, source, edits, forkMerge, Optional.of(other), sampling);
    }

    /** This strategy with another fork-merge. */
    public Strategy withForkMerge(final ForkMerge other) {
        return new Strategy(name, source, edits, Optional.of(other), contrast, sampling);
    }

    /**
     * This strategy without what has no effect: an edit that changes nothing is left out, a contrast of strength 0 is
     * its cut-off alone, and a cut-off of 0 is none. M3ID is kept at any strength, since its row holds
     * log-probabilities, which penalties treat differently.
     */
    public Strategy resolved() {
        final Optional<Contrast> effective = contrast.map(found -> switch (found) {
            case Contrast.Vcd vcd when vcd.alpha() == 0 -> new Contrast.Plausibility(vcd.beta());
            case Contrast.Icd icd when icd.alpha() == 0 -> new Contrast.Plausibility(icd.beta());
            case Contrast.Cad cad when cad.alpha() == 0 -> new Contrast.Plausibility(cad.beta());
            default -> found;
        });
        final boolean idle = effective.isPresent()
                && effective.get() instanceof Contrast.Plausibility
                && effective.get().beta() == 0;
        return new Strategy(
                name,
                source,
                edits.stream().filter(edit -> !edit.isIdle()).toList(),
                forkMerge,
                idle ? Optional.empty() : effective,
                sampling);
    }

    /**
     * SHA-256, in hexadecimal, of what the strategy does: equal for equal behaviour, whatever its name, source, order
     * of keys and spelled-out defaults. Strategies that differ in it may still agree on a given prompt.
     */
    public String fingerprint() {
        return Fingerprint.of(resolved());
    }

    /** Name and fingerprint, as answers carry them. */
    public StrategyLabel label() {
        return new StrategyLabel(name, fingerprint());
    }

    /** The strategy as a strategy file with every value spelled out; reading it gives an equal strategy. */
    public String toJson() {
        return StrategyJson.write(this);
    }
}
