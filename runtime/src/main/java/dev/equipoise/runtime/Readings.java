package dev.equipoise.runtime;

import dev.equipoise.runtime.ffm.ContextHandle;
import dev.equipoise.runtime.intervention.Heads;
import dev.equipoise.runtime.intervention.Intervention;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** What interventions that only look have seen of one branch. */
final class Readings {
    private static final int LABELS = 64;

    private Readings() {}

    /** The shares of attention that intervention number {@code index} of a branch has seen. */
    static AttentionMass attention(
            final ContextHandle context,
            final BranchState branch,
            final int index,
            final Intervention.ReadAttention read) {
        final List<List<Map<Modality, Double>>> shares = new ArrayList<>();
        final List<List<Double>> generated = new ArrayList<>();
        long queries = 0;
        for (final int layer : read.layers()) {
            final ContextHandle.SeenAttention seen = context.attention(branch.sequence, index, layer, 0);
            queries = seen.queries();
            final List<Map<Modality, Double>> heads = new ArrayList<>();
            final List<Double> rest = new ArrayList<>();
            for (int head = 0; head < seen.mass().length / LABELS; head++) {
                final Map<Modality, Double> byModality = new EnumMap<>(Modality.class);
                double own = 0;
                for (int label = 0; label < LABELS; label++) {
                    final double mass = seen.mass()[head * LABELS + label] / Math.max(1, queries);
                    if (label == InterventionLowering.generatedLabel()) {
                        own = mass;
                    } else if (mass > 0) {
                        byModality.merge(InterventionLowering.modalityOf(label, branch.prompt), mass, Double::sum);
                    }
                }
                heads.add(byModality);
                rest.add(own);
            }
            shares.add(heads);
            generated.add(rest);
        }
        final Map<Modality, Integer> tokens = new EnumMap<>(Modality.class);
        for (int column = 0; column < branch.prompt.size(); column++) {
            tokens.merge(branch.prompt.modality(column), 1, Integer::sum);
        }
        return new AttentionMass(List.copyOf(read.layers()), shares, generated, tokens, queries);
    }

    /** The row of a column of the last decode, behind a branch's prompt. */
    static NextLogits logits(
            final ContextHandle context,
            final BranchState branch,
            final int column,
            final int vocabulary,
            final List<TraceEntry> trace) {
        return new NextLogits(branch.prompt.tokens(), branch.prompt.spans(), context.logits(column, vocabulary), trace);
    }

    /** What the base branch attended to when it last read a token, so many being generated. */
    static Rechoice.Seen seen(
            final ContextHandle context, final BranchState base, final Request request, final int generated) {
        final Rechoice rechoice = request.rechoice().orElseThrow();
        final int columns = base.prompt.size() + generated;
        final List<Span> spans = new ArrayList<>(base.prompt.spans());
        if (generated > 0) {
            spans.add(new Span(Modality.TEXT, base.prompt.size(), generated));
        }
        return new Rechoice.Seen(
                spans,
                rechoice.look(request.branches()).layers().stream()
                        .map(layer -> context.attention(base.sequence, rechoice.look(), layer, columns).rows())
                        .toList());
    }

    // Over the heads that are read.
    private static float[] mean(final float[][] rows, final Heads read) {
        final double[] sum = new double[rows[0].length];
        int count = 0;
        for (int head = 0; head < rows.length; head++) {
            if (read.contains(head)) {
                count++;
                for (int column = 0; column < sum.length; column++) {
                    sum[column] += rows[head][column];
                }
            }
        }
        final float[] mean = new float[sum.length];
        for (int column = 0; column < sum.length; column++) {
            mean[column] = (float) (sum[column] / count);
        }
        return mean;
    }

    /** Everything that the looking interventions of a branch have seen. */
    static Observation of(final ContextHandle context, final BranchState state, final Branch branch,
            final int width) {
        final List<AttentionMass> masses = new ArrayList<>();
        final List<List<float[]>> rows = new ArrayList<>();
        final List<List<float[]>> states = new ArrayList<>();
        for (int k = 0; k < branch.interventions().size(); k++) {
            switch (branch.interventions().get(k)) {
                case Intervention.ReadAttention read -> {
                    masses.add(attention(context, state, k, read));
                    final int index = k;
                    rows.add(read.layers().stream()
                            .map(layer -> mean(
                                    context.attention(state.sequence, index, layer, state.prompt.size()).rows(),
                                    read.heads()))
                            .toList());
                }
                case Intervention.ReadStates read -> {
                    final List<float[]> means = new ArrayList<>();
                    for (final int layer : read.layers()) {
                        final Optional<float[]> mean = context.meanState(state.sequence, k, layer, width);
                        means.add(mean.orElseGet(() -> new float[width]));
                    }
                    states.add(means);
                }
                default -> {
                }
            }
        }
        return new Observation(state.prompt.spans(), masses, rows, states);
    }
}
