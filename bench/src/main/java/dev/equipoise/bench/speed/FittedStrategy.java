package dev.equipoise.bench.speed;

import dev.equipoise.decoding.Contrast;
import dev.equipoise.decoding.ForkMerge;
import dev.equipoise.decoding.LinearContrast;
import dev.equipoise.decoding.Prompting;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.Variation;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.search.BeamSearch;
import dev.equipoise.runtime.search.OverTrust;
import dev.equipoise.steering.edit.AttentionEdit;
import dev.equipoise.steering.edit.Edit;
import dev.equipoise.steering.edit.PromptSteeringEdit;
import java.util.Collections;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
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
     * that are not there silences note and question; edits about a medium that is not there are about the note.
     *
     * @param present modalities of the prompts, the note among them
     */
    static FittedStrategy of(final Strategy strategy, final Set<Modality> present) {
        final List<Edit> edits = strategy.edits().stream().map(edit -> about(edit, present)).toList();
        final FittedStrategy rest = ofRest(strategy.withEdits(edits), present);
        return edits.equals(strategy.edits())
                ? rest
                : new FittedStrategy(
                        rest.strategy(),
                        Optional.of("the prompt lacks what edits are about: they are about the note instead"
                                + rest.standIn().map(more -> "; " + more).orElse("")));
    }

    private static Edit about(final Edit edit, final Set<Modality> present) {
        return switch (edit) {
            case AttentionEdit.Pai it when !present.contains(it.span()) -> new AttentionEdit.Pai(
                    Modality.CONTEXT, it.alpha(), it.layers(), it.heads(), it.queries());
            case AttentionEdit.Vaf it when !present.contains(it.span()) -> new AttentionEdit.Vaf(
                    Modality.CONTEXT, it.spanFactor(), it.systemFactor(), it.layers(), it.heads(), it.queries());
            case AttentionEdit.Reallocate it when !present.contains(it.from()) || !present.contains(it.to()) ->
                new AttentionEdit.Reallocate(
                        Modality.CONTEXT, Modality.TEXT, it.threshold(), it.fraction(), it.layers(), it.heads(),
                        it.queries());
            case PromptSteeringEdit it when !present.contains(it.without()) -> it.about(Modality.CONTEXT);
            default -> edit;
        };
    }

    private static FittedStrategy ofRest(final Strategy strategy, final Set<Modality> present) {
        if (strategy.compression().isPresent() && !present.contains(Modality.IMAGE)) {
            final FittedStrategy whole = ofRest(strategy.withoutCompression(), present);
            return new FittedStrategy(
                    whole.strategy(), Optional.of("the prompt has no picture whose rows could be left out"));
        }
        final Optional<OverTrust> trust = strategy.search().flatMap(BeamSearch::overTrust);
        if (trust.isPresent() && trust.get().rewardsSpan() && !present.contains(trust.get().span())) {
            return new FittedStrategy(
                    strategy.withSearch(strategy.search().map(FittedStrategy::unrewarded)),
                    Optional.of("the prompt has no " + trust.get().span().label()
                            + ": in the opening too candidates lose for what they build on"));
        }
        final Optional<Prompting> words = strategy.prompting();
        if (words.isPresent()
                && !words.get().without().isEmpty()
                && Collections.disjoint(words.get().without(), present)) {
            return new FittedStrategy(
                    strategy.withPrompting(new Prompting(
                            Set.of(), words.get().system(), words.get().text(), words.get().responses())),
                    Optional.of("the prompt lacks what is to be put into words; passes are not made"));
        }
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
        if (strategy.resolved().contrast().orElse(null) instanceof LinearContrast linear
                && !present.containsAll(needs(linear))) {
            return new FittedStrategy(
                    strategy.withContrast(noteless(linear)),
                    Optional.of("the prompt lacks what branches differ in: they lack the note instead"));
        }
        if (!strategy.resolved().choices().isEmpty()) {
            return new FittedStrategy(
                    strategy, Optional.of("its tokens are not chosen: branches see none of what they choose from"));
        }
        if (!strategy.resolved().passes().isEmpty()) {
            return new FittedStrategy(
                    strategy,
                    Optional.of("its passes are not made: weights are equal, texts are their names"));
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
                    case LinearContrast it -> it;
                };
        return new FittedStrategy(
                strategy.withContrast(noteless),
                Optional.of("the prompt has no " + wanted.get().label()
                        + ": the second branch lacks the note instead"));
    }

    private static BeamSearch unrewarded(final BeamSearch search) {
        return new BeamSearch(
                search.beams(),
                search.lengthPenalty(),
                search.countsPrompt(),
                search.overTrust().map(trust -> new OverTrust(
                        trust.candidates(),
                        trust.scale(),
                        trust.factor(),
                        trust.weight(),
                        0,
                        trust.span(),
                        trust.threshold())));
    }

    private static Optional<Modality> wanted(final Contrast contrast) {
        return switch (contrast) {
            case Contrast.Vcd vcd -> Optional.of(Modality.IMAGE);
            case Contrast.M3id m3id -> Optional.of(m3id.without());
            case Contrast.Cad cad -> cad.without();
            case Contrast.Icd icd -> Optional.empty();
            case Contrast.Plausibility alone -> Optional.empty();
            case LinearContrast linear -> Optional.empty();
        };
    }

    private static Set<Modality> needs(final LinearContrast linear) {
        final Set<Modality> needs = EnumSet.noneOf(Modality.class);
        for (final Variation variation : linear.branches().values()) {
            needs.addAll(variation.without());
            needs.addAll(variation.silence());
            variation.edits().stream()
                    .filter(AttentionEdit.Multiply.class::isInstance)
                    .forEach(edit -> needs.add(((AttentionEdit.Multiply) edit).span()));
            if (variation.noise().isPresent() || variation.picture().isPresent()) {
                needs.add(Modality.IMAGE);
            }
            variation.tokens().ifPresent(choice -> needs.addAll(choice.needs()));
        }
        return needs;
    }

    // As many branches as before, which differ from each other in the last words of the question.
    private static LinearContrast noteless(final LinearContrast linear) {
        final Map<String, Variation> branches = new LinkedHashMap<>();
        linear.branches().keySet().forEach(name -> branches.put(
                name,
                new Variation(
                        EnumSet.of(Modality.CONTEXT),
                        Optional.empty(),
                        Optional.empty(),
                        Map.of(Modality.TEXT, "{question} (" + (branches.size() + 1) + ")"),
                        Set.of(),
                        List.of())));
        return linear.withBranches(branches);
    }
}
