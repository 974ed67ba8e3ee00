package dev.equipoise.runtime;

import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.runtime.ffm.ContextHandle;
import dev.equipoise.runtime.ffm.StepBuffer;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Phase;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.search.BeamSearch;
import dev.equipoise.runtime.search.Beams;
import dev.equipoise.runtime.search.Path;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/**
 * A search's paths in the KV cache: each that is being read lies in a sequence of its own behind the prompt's cells,
 * and shares those of what stands before it. A sequence goes on with the first path behind what it holds.
 */
final class Searching {
    private static final float[][] NO_ATTENTION = new float[0][];

    private final PreparedRequest prepared;
    private final BranchState prompt;
    private final Beams beams;
    private final int look;
    private ContextHandle context;
    private int[] lanes = new int[0];
    // What each of them holds behind the prompt; null: nothing of its own.
    private Path[] held = new Path[0];
    // Of the step being prepared: what is read, where, and the number of its column.
    private List<Path> reading = List.of();
    private int[] readIn = new int[0];
    private int[] columns = new int[0];

    /** The search of a request. */
    Searching(final PreparedRequest prepared, final BeamSearch how, final int most) {
        this.prepared = prepared;
        this.prompt = prepared.states().getFirst();
        this.look = prepared.request().branches().getFirst().interventions().size();
        final Model model = prepared.model();
        this.beams = new Beams(
                how,
                length(),
                meant(how),
                most,
                model.info().vocabulary(),
                prepared.request().logProbabilities(),
                token -> model.handle().ends(token));
    }

    /** What the attention that a search needs is read with, behind all that acts on a branch. */
    static Branch reading(final Branch branch, final BeamSearch how, final int depth) {
        if (how.overTrust().isEmpty()) {
            return branch;
        }
        final List<Intervention> interventions = new ArrayList<>(branch.interventions());
        interventions.add(new Intervention.ReadAttention(
                "search:look",
                new TreeSet<>(Set.of(depth - 1)),
                Scope.all().during(EnumSet.of(Phase.GENERATED))));
        return new Branch(branch.name(), branch.prompt(), interventions);
    }

    // Text tokens, and one for each medium.
    private int length() {
        int words = 0;
        for (int column = 0; column < prompt.prompt.size(); column++) {
            words += prompt.prompt.token(column) < 0 ? 0 : 1;
        }
        final long media = prepared.request().branches().getFirst().prompt().parts().stream()
                .filter(part -> !(part instanceof Part.Words))
                .count();
        return words + (int) media;
    }

    private BitSet meant(final BeamSearch how) {
        final BitSet meant = new BitSet();
        how.overTrust().ifPresent(trust -> {
            for (int column = 0; column < prompt.prompt.size(); column++) {
                meant.set(column, prompt.prompt.modality(column) == trust.span());
            }
        });
        return meant;
    }

    /** Takes its sequences. */
    void open(final ContextHandle with, final Admission admission) {
        context = with;
        lanes = new int[prepared.branches() - 1];
        held = new Path[lanes.length];
        for (int lane = 0; lane < lanes.length; lane++) {
            lanes[lane] = admission.takeSequence();
        }
        for (final int lane : lanes) {
            if (!prompt.edits.isEmpty()) {
                context.interventions(lane, prompt.edits);
            }
        }
    }

    /** Gives them back. */
    void close(final Admission admission) {
        for (final int lane : lanes) {
            context.remove(lane, 0);
            if (!prompt.edits.isEmpty()) {
                context.interventions(lane, List.of());
            }
            admission.freeSequence(lane);
        }
        lanes = new int[0];
    }

    /** Columns of the next step, once the prompt has been read. */
    int columns() {
        return beams.wantedPaths();
    }

    /**
     * Makes the cache hold all that stands before the paths of the next step. What it held once and does no more,
     * because the search has gone back, is decoded now, in as many decodes as that takes: others wait for them.
     */
    void prepare() {
        reading = beams.wanted();
        readIn = new int[reading.size()];
        columns = new int[reading.size()];
        final boolean[] taken = kept();
        final List<Integer> others = goOn(taken);
        for (int lane = 0; lane < lanes.length; lane++) {
            if (!taken[lane]) {
                cut(lane, null);
            }
        }
        restore(begin(others, taken));
        for (int i = 0; i < reading.size(); i++) {
            held[readIn[i]] = reading.get(i);
        }
    }

    // The lane of a path and of what stands before it; the prompt's own sequence counts as the one behind the last.
    private int holder(final Path path) {
        for (int lane = 0; lane < lanes.length; lane++) {
            if (holds(lane, path)) {
                return lane;
            }
        }
        return path.parent() == null ? lanes.length : -1;
    }

    // What a sliding window has passed in a lane, its cells may have been given to others.
    private boolean holds(final int lane, final Path path) {
        return held[lane] == path
                || held[lane] != null
                        && !prepared.model().hasSlidingWindow()
                        && held[lane].length() > path.length()
                        && held[lane].head(path.length()) == path;
    }

    // Lanes of paths that have been read already and are gone on from when those of this step have been, too.
    private boolean[] kept() {
        final Set<Path> stay = new HashSet<>(beams.kept());
        reading.forEach(path -> stay.remove(path.parent()));
        final boolean[] kept = new boolean[lanes.length];
        for (int lane = 0; lane < lanes.length; lane++) {
            kept[lane] = stay.contains(held[lane]);
        }
        return kept;
    }

    // The first path behind what a lane holds goes on there. Returns the numbers of the others.
    private List<Integer> goOn(final boolean[] taken) {
        final List<Integer> others = new ArrayList<>();
        for (int i = 0; i < reading.size(); i++) {
            final int lane = free(reading.get(i).parent(), taken);
            readIn[i] = lane;
            if (lane < 0) {
                others.add(i);
            } else {
                taken[lane] = true;
                cut(lane, reading.get(i).parent());
            }
        }
        return others;
    }

    // Gives paths lanes that hold nothing. Returns the numbers of those before which something is missing.
    private List<Integer> begin(final List<Integer> others, final boolean[] taken) {
        final List<Integer> missing = new ArrayList<>();
        int lane = 0;
        for (final int i : others) {
            while (taken[lane]) {
                lane++;
            }
            taken[lane] = true;
            readIn[i] = lane;
            final Path parent = reading.get(i).parent();
            if (holder(parent) < 0) {
                missing.add(i);
                share(parent.head(0), lane);
            } else {
                share(parent, lane);
            }
        }
        return missing;
    }

    private int free(final Path parent, final boolean[] taken) {
        for (int lane = 0; lane < lanes.length; lane++) {
            if (!taken[lane] && holds(lane, parent)) {
                return lane;
            }
        }
        return -1;
    }

    // Leaves a lane what it has up to a path's end; nothing, if that is null.
    private void cut(final int lane, final Path path) {
        if (held[lane] != path) {
            context.remove(lanes[lane], path == null ? 0 : prompt.position(end(path)));
            held[lane] = path;
        }
    }

    private void share(final Path path, final int with) {
        final int from = holder(path);
        context.share(from == lanes.length ? prompt.sequence : lanes[from], lanes[with], prompt.position(end(path)));
        held[with] = path;
    }

    // Columns of the prompt and of a path.
    private int end(final Path path) {
        return prompt.prompt.size() + path.length();
    }

    // Reads again what stands between the prompt and some paths, each in its lane.
    private void restore(final List<Integer> missing) {
        final StepBuffer buffer = context.buffer();
        buffer.clear();
        for (final int i : missing) {
            final Path path = reading.get(i);
            for (int tokens = 1; tokens < path.length(); tokens++) {
                if (buffer.columns() == buffer.capacity()) {
                    context.decode();
                    buffer.clear();
                }
                add(buffer, path.head(tokens), lanes[readIn[i]], false);
            }
        }
        if (buffer.columns() > 0) {
            context.decode();
            buffer.clear();
        }
    }

    /** Adds the last tokens of the paths to a step. */
    void add(final StepBuffer buffer) {
        for (int i = 0; i < reading.size(); i++) {
            columns[i] = add(buffer, reading.get(i), lanes[readIn[i]], true);
        }
    }

    private int add(final StepBuffer buffer, final Path path, final int sequence, final boolean output) {
        final int at = end(path) - 1;
        final int column = buffer.token(path.token(), prompt.position(at), sequence, output);
        prompt.mark(buffer, column, at, 0);
        return column;
    }

    /** Takes the prompt's row, of a column of the last decode. */
    void readPrompt(final int column) {
        beams.read(beams.wanted().getFirst(), row(column), NO_ATTENTION);
    }

    /** Takes what the step has brought. */
    void read() {
        for (int i = 0; i < reading.size(); i++) {
            final float[][] heads = beams.readsAttention()
                    ? context.attention(
                                    lanes[readIn[i]],
                                    look,
                                    prepared.model().info().layers() - 1,
                                    end(reading.get(i)))
                            .rows()
                    : NO_ATTENTION;
            beams.read(reading.get(i), row(columns[i]), heads);
        }
    }

    private float[] row(final int column) {
        final float[] row = context.logits(column, prepared.model().info().vocabulary());
        for (final float logit : row) {
            // A cut-off of exits leaves -infinity.
            if (Float.isNaN(logit) || logit == Float.POSITIVE_INFINITY) {
                throw new InternalException(
                        "logits that are not finite",
                        "strategy " + prepared.request().strategy().name() + ", search",
                        "check the model's weights");
            }
        }
        return row;
    }

    boolean isDone() {
        return beams.isDone();
    }

    /** The answer, or the best so far. */
    Path answer() {
        return beams.answer();
    }

    /** Whether the model has ended it. */
    boolean isWhole() {
        return beams.isWhole();
    }

    /** What the interventions of the prompt did to paths, beside the prompt. */
    List<List<ContextHandle.Done>> done() {
        final List<List<ContextHandle.Done>> done = new ArrayList<>();
        for (final int lane : lanes) {
            done.add(context.done(lane, prompt.edits.size()));
        }
        return done;
    }

    /** What it did. */
    List<TraceEntry> trace(final BeamSearch how) {
        final List<TraceEntry> trace = new ArrayList<>();
        trace.add(new TraceEntry("search:beams", List.of(), beams.steps(), 0));
        how.overTrust().ifPresent(trust -> {
            trace.add(new TraceEntry(
                    "search:over-trust",
                    List.of(prepared.model().info().layers() - 1),
                    beams.penalised(),
                    beams.meanPenalty()));
            if (trust.threshold().isPresent()) {
                trace.add(new TraceEntry("search:roll-back", List.of(), beams.wentBack(), 0));
            }
        });
        return trace;
    }
}
