package dev.equipoise.runtime;

import dev.equipoise.runtime.ffm.ContextHandle;
import dev.equipoise.runtime.ffm.EncoderHandle;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.PositionVectors;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * What acted on a request that has ended, on how many tokens and by how much: the trace of its {@link Answer}. Read
 * while the request still has its sequences, on the engine's thread.
 */
final class Tracing {
    private final ContextHandle context;
    private final PreparedRequest prepared;
    private final Request request;
    private final List<BranchState> branches;

    Tracing(final ContextHandle context, final PreparedRequest prepared) {
        this.context = context;
        this.prepared = prepared;
        this.request = prepared.request();
        this.branches = prepared.states();
    }

    /**
     * What acted, in the order in which it acts: conditions, then branch by branch, then what joins branches.
     *
     * @param combined tokens whose rows were combined
     * @param deltaSum of the norms of what combining changed, over them
     * @param gate null if there is none
     * @param combination null if nothing combines the rows
     */
    List<TraceEntry> entries(
            final int combined, final double deltaSum, final Gate gate, final Combination combination) {
        final List<TraceEntry> trace =
                new ArrayList<>(prepared.conditions().trace(branches.getFirst().prompt.size()));
        for (int b = 0; b < branches.size(); b++) {
            final Branch branch = request.branches().get(b);
            final Optional<Compression> compression = compression(branch);
            if (compression.isPresent()) {
                final EncoderHandle.Dropped left = branches.get(b).prompt.dropped();
                trace.add(new TraceEntry(
                        prefix(b) + "compress:" + left.by(),
                        List.of(),
                        left.rows(),
                        left.rows() == 0 ? 0 : left.norms() / left.rows()));
            }
            final List<PictureSteering> steered = branch.prompt().parts().stream()
                    .filter(Part.Picture.class::isInstance)
                    .flatMap(part -> ((Part.Picture) part).steering().stream())
                    .toList();
            if (!steered.isEmpty()) {
                trace.add(entry(b, steered));
            }
            final List<Intervention> interventions = branch.interventions();
            if (!interventions.isEmpty()) {
                final BranchState state = branches.get(b);
                final List<ContextHandle.Done> done = state.done(context);
                for (int k = 0; k < interventions.size(); k++) {
                    trace.add(entry(b, k, done.get(k)));
                }
            }
        }
        request.merge().ifPresent(merge -> {
            final ContextHandle.Done done = context.merged(branches.getFirst().sequence);
            final double mean = done.columns() == 0 ? 0 : done.delta() / done.columns();
            trace.add(new TraceEntry("merge", List.of(merge.layer()), Math.toIntExact(done.columns()), mean));
        });
        if (gate != null) {
            trace.add(new TraceEntry("gate:" + gate.kind(), List.of(), combined, 0));
        }
        if (combination != null) {
            final double mean = combined == 0 ? 0 : deltaSum / combined;
            trace.add(new TraceEntry("contrast:" + request.strategy().name(), List.of(), combined, mean));
        }
        return trace;
    }

    private String prefix(final int branch) {
        return branch == 0 ? "" : request.branches().get(branch).name() + "/";
    }

    // Of a branch with pictures that are compressed, all of them alike.
    private static Optional<Compression> compression(final Branch branch) {
        return branch.prompt().parts().stream()
                .filter(Part.Picture.class::isInstance)
                .flatMap(part -> ((Part.Picture) part).compression().stream())
                .findFirst();
    }

    // Where all that it acts on was done in the cells of another branch, that one's.
    private double meanDelta(final BranchState state, final int index, final ContextHandle.Done done) {
        if (done.applications() > 0 || state.touchedByOthers(index) == 0) {
            return done.applications() == 0 ? 0 : done.delta() / done.applications();
        }
        return meanDelta(
                state.parent,
                index,
                state.parent.done(context).get(index));
    }

    // What tokens are chosen by is nobody's question.
    private boolean isLook(final int branch, final int index) {
        return branch == 0 && request.rechoice().filter(rechoice -> rechoice.look() == index).isPresent();
    }

    // One a picture, all of them alike; tokens are the encoder's positions.
    private TraceEntry entry(final int branch, final List<PictureSteering> steered) {
        final PositionVectors directions = steered.getFirst().directions();
        final int tokens = directions.positions() * steered.size();
        return new TraceEntry(
                prefix(branch) + "vision:turn",
                List.copyOf(directions.layers()),
                tokens,
                branches.get(branch).prompt.turned() / ((double) tokens * directions.layers().size()));
    }

    private TraceEntry entry(final int branch, final int index, final ContextHandle.Done done) {
        final Branch of = request.branches().get(branch);
        final Intervention intervention = of.interventions().get(index);
        return new TraceEntry(
                prefix(branch) + intervention.name(),
                List.copyOf(intervention.layers()),
                Math.clamp(done.columns() + branches.get(branch).touchedByOthers(index), 0, Integer.MAX_VALUE),
                meanDelta(branches.get(branch), index, done),
                intervention instanceof Intervention.ReadAttention read && !isLook(branch, index)
                        ? Optional.of(Readings.attention(context, branches.get(branch), index, read))
                        : Optional.empty());
    }
}
