package dev.equipoise.bench.speed;

import dev.equipoise.decoding.Contrast;
import dev.equipoise.decoding.ForkMerge;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.runtime.Modality;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * A strategy that the prompts of a measurement can carry.
 *
 * @param strategy what runs
 * @param standIn what was changed about the strategy as it was asked for
 */
record FittedStrategy(Strategy strategy, Optional<String> standIn) {
    /**
     * The strategy itself, or, where its second branch needs a medium that the model does not take, the same
     * combination of rows over a second branch that lacks the note: it costs the same per token. A fork-merge of media
     * that are not there silences note and question.
     *
     * @param present modalities of the prompts, the note among them
     */
    static FittedStrategy of(final Strategy strategy, final Set<Modality> present) {
        final Optional<ForkMerge> fork = strategy.forkMerge();
        if (fork.isPresent() && !present.containsAll(fork.get().silence())) {
            return new FittedStrategy(
                    strategy.withForkMerge(new ForkMerge(
                            List.of(Modality.CONTEXT, Modality.TEXT),
                            fork.get().how(),
                            fork.get().place(),
                            fork.get().alpha())),
                    Optional.of("the prompt lacks what is silenced: note and question are instead"));
        }
        final Optional<Modality> wanted = strategy.resolved().contrast().flatMap(FittedStrategy::wanted);
        if (wanted.isEmpty() || present.contains(wanted.get())) {
            return new FittedStrategy(strategy, Optional.empty());
        }
        final Contrast noteless =
                switch (strategy.resolved().contrast().orElseThrow()) {
                    case Contrast.M3id it -> new Contrast.M3id(
                            it.lambda(), it.beta(), it.maxWeight(), Modality.CONTEXT);
                    case Contrast.Cad it -> new Contrast.Cad(it.alpha(), it.beta(), Optional.of(Modality.CONTEXT));
                    case Contrast.Vcd it -> new Contrast.Cad(it.alpha(), it.beta(), Optional.of(Modality.CONTEXT));
                    case Contrast.Icd it -> it;
                    case Contrast.Plausibility it -> it;
                };
        return new FittedStrategy(
                strategy.withContrast(noteless),
                Optional.of("the prompt has no " + wanted.get().label()
                        + ": the second branch lacks the note instead"));
    }

    private static Optional<Modality> wanted(final Contrast contrast) {
        return switch (contrast) {
            case Contrast.Vcd vcd -> Optional.of(Modality.IMAGE);
            case Contrast.M3id m3id -> Optional.of(m3id.without());
            case Contrast.Cad cad -> cad.without();
            case Contrast.Icd icd -> Optional.empty();
            case Contrast.Plausibility alone -> Optional.empty();
        };
    }
}
