package dev.equipoise.runtime.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.equipoise.kernels.ffm.NativeLibraries;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** A KV cache with its sequences, and the decode over them. Used by its engine's thread only. */
public final class ContextHandle extends NativeHandle {
    private final Arena arena;
    private final StepBuffer buffer;
    private final MemorySegment count;
    private long calls;

    private ContextHandle(final Arena arena, final MemorySegment address, final StepBuffer buffer) {
        super("context", address);
        this.arena = arena;
        this.buffer = buffer;
        this.count = arena.allocate(JAVA_INT);
    }

    /**
     * Makes a context.
     *
     * @param cells KV cells
     * @param microBatch most columns of a decode
     * @param sequences most sequences
     * @param threads CPU threads
     * @param kvType 0 f16, 1 f32, 2 q8_0
     * @param flashAttention -1 auto, 0 off, 1 on
     * @param capture whether to keep hidden states for {@link #captured}
     * @param draw where best tokens are found: 0 on the host, 1 in the graph, -1 in the graph if blocks are on a GPU
     */
    public static ContextHandle open(
            final ModelHandle model,
            final int cells,
            final int microBatch,
            final int sequences,
            final int threads,
            final int kvType,
            final int flashAttention,
            final boolean capture,
            final int draw) {
        final ModelHandle.Info info = model.info();
        // Lives as long as this handle's object, so that no call can find its arguments gone after a close.
        final Arena arena = Arena.ofAuto();
        final MemorySegment params = arena.allocate(Host.CONTEXT_PARAMS);
        params.set(JAVA_INT, Host.offset(Host.CONTEXT_PARAMS, "n_ctx"), cells);
        params.set(JAVA_INT, Host.offset(Host.CONTEXT_PARAMS, "n_ubatch"), microBatch);
        params.set(JAVA_INT, Host.offset(Host.CONTEXT_PARAMS, "n_seq_max"), sequences);
        params.set(JAVA_INT, Host.offset(Host.CONTEXT_PARAMS, "n_threads"), threads);
        params.set(JAVA_INT, Host.offset(Host.CONTEXT_PARAMS, "kv_type"), kvType);
        params.set(JAVA_INT, Host.offset(Host.CONTEXT_PARAMS, "flash_attn"), flashAttention);
        params.set(JAVA_INT, Host.offset(Host.CONTEXT_PARAMS, "capture"), capture ? 1 : 0);
        params.set(JAVA_INT, Host.offset(Host.CONTEXT_PARAMS, "draw"), draw);
        final MemorySegment cell = Host.cell(arena);
        synchronized (model) {
            final int status;
            try {
                status = (int) Host.eq_context_open$MH.invokeExact(model.address(), params, cell);
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_context_open", e);
            }
            Host.check(status, model.name());
        }
        NativeLog.drain();
        return new ContextHandle(
                arena,
                cell.get(ADDRESS, 0),
                new StepBuffer(arena, microBatch, sequences, info.inputWidth(), info.positionsPerEmbedding()));
    }

    @Override
    void free(final MemorySegment pointer) {
        try {
            Host.eq_context_close$MH.invokeExact(pointer);
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_context_close", e);
        }
        NativeLog.drain();
    }

    /** The arguments of the next decode. */
    public StepBuffer buffer() {
        return buffer;
    }

    /** Whether attention is computed without materialising its weights. */
    public synchronized boolean flashAttention() {
        try {
            return (int) Host.eq_context_flash_attn$MH.invokeExact(address()) != 0;
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_context_flash_attn", e);
        }
    }

    /** Whether the graph finds the best tokens of rows of which nothing else is asked. */
    public synchronized boolean drawsInGraph() {
        try {
            return (int) Host.eq_context_draws_in_graph$MH.invokeExact(address()) != 0;
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_context_draws_in_graph", e);
        }
    }

    /** Rows of logits so far that the host has read. */
    public synchronized long rowsRead() {
        try {
            return (long) Host.eq_context_rows_read$MH.invokeExact(address());
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_context_rows_read", e);
        }
    }

    /** Calls of decodes and of what belongs to sequences so far. */
    public synchronized long calls() {
        return calls;
    }

    /** Decodes what the buffer holds, combines its groups and draws its picks. */
    public synchronized void decode() {
        final int status;
        calls++;
        try {
            status = (int) Host.eq_decode$MH.invokeExact(
                    address(),
                    buffer.batch,
                    buffer.groups,
                    buffer.groupCount(),
                    buffer.picks,
                    buffer.pickCount(),
                    buffer.topTokens,
                    buffer.topLogProbabilities);
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_decode", e);
        }
        Host.check(status, "decode");
    }

    /** Lets sequence {@code to} share the cells of the first {@code positions} positions of {@code from}. */
    public synchronized void share(final int from, final int to, final int positions) {
        final int status;
        calls++;
        try {
            status = (int) Host.eq_sequence_copy$MH.invokeExact(address(), from, to, positions);
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_sequence_copy", e);
        }
        Host.check(status, "sequence " + to);
    }

    /** Frees a sequence's cells from a position on; cells that others share stay theirs. */
    public synchronized void remove(final int sequence, final int firstPosition) {
        final int status;
        calls++;
        try {
            status = (int) Host.eq_sequence_remove$MH.invokeExact(address(), sequence, firstPosition);
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_sequence_remove", e);
        }
        Host.check(status, "sequence " + sequence);
    }

    /**
     * What an intervention did.
     *
     * @param columns columns it acted on
     * @param applications columns times layers
     * @param delta sum of the norms of its changes
     */
    public record Done(long columns, long applications, double delta) {
        /** Both together. */
        public Done plus(final Done other) {
            return new Done(columns + other.columns, applications + other.applications, delta + other.delta);
        }
    }

    /** Replaces what acts on a sequence. */
    public synchronized void interventions(final int sequence, final List<NativeEdit> edits) {
        try (Arena local = Arena.ofConfined()) {
            final MemorySegment list = NativeEdit.written(edits, local);
            final int status;
            calls++;
            try {
                status = (int) Host.eq_interventions_set$MH.invokeExact(address(), sequence, list, edits.size());
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_interventions_set", e);
            }
            Host.check(status, "interventions");
        }
    }

    /**
     * A node of ours in a graph.
     *
     * @param item whose: number of an edit; behind those the merge's, the groups', that of best tokens
     * @param layer -1 for none
     * @param why what keeps it on the CPU; null on a device
     */
    public record Placed(int item, int layer, String why) {}

    /**
     * Where nodes would run.
     *
     * @param nodes none where all of the context is on the CPU
     * @param plainSplits parts of the graph that alternate between devices, as it is
     * @param splits the same with what was asked for
     */
    public record Placements(List<Placed> nodes, int plainSplits, int splits) {}

    /**
     * Where edits and a merge would run, which are not set; the rows of the last decode are gone then.
     *
     * @param mergeLayer -1 for none
     * @param layers of the model
     */
    public synchronized Placements placements(final List<NativeEdit> edits, final int mergeLayer, final int layers) {
        // At most two nodes an edit and layer, and four beside them.
        final int capacity = 2 * edits.size() * (layers + 1) + 4;
        try (Arena local = Arena.ofConfined()) {
            final MemorySegment list = NativeEdit.written(edits, local);
            final MemorySegment found = local.allocate(Host.PLACEMENT, capacity);
            final MemorySegment n = local.allocate(JAVA_INT);
            final MemorySegment splits = local.allocate(JAVA_INT, 2);
            final int status;
            try {
                status = (int) Host.eq_context_placements$MH.invokeExact(
                        address(), list, edits.size(), mergeLayer, found, capacity, n, splits);
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_context_placements", e);
            }
            Host.check(status, "interventions");
            final List<Placed> nodes = new ArrayList<>();
            for (int i = 0; i < n.get(JAVA_INT, 0); i++) {
                final MemorySegment node = found.asSlice(i * Host.PLACEMENT.byteSize(), Host.PLACEMENT);
                nodes.add(new Placed(
                        Host.intAt(node, Host.PLACEMENT, "item"),
                        Host.intAt(node, Host.PLACEMENT, "layer"),
                        Host.text(node.get(ADDRESS, Host.offset(Host.PLACEMENT, "why")))));
            }
            return new Placements(nodes, splits.getAtIndex(JAVA_INT, 0), splits.getAtIndex(JAVA_INT, 1));
        }
    }

    /** What a sequence's interventions have done since they were set. */
    public synchronized List<Done> done(final int sequence, final int interventions) {
        try (Arena local = Arena.ofConfined()) {
            final MemorySegment reports = local.allocate(Host.INTERVENTION_REPORT, Math.max(1, interventions));
            final int status;
            try {
                status = (int) Host.eq_interventions_report$MH.invokeExact(
                        address(), sequence, reports, interventions);
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_interventions_report", e);
            }
            Host.check(status, "interventions");
            final List<Done> done = new ArrayList<>();
            for (int k = 0; k < interventions; k++) {
                done.add(done(reports.asSlice(k * Host.INTERVENTION_REPORT.byteSize(), Host.INTERVENTION_REPORT)));
            }
            return done;
        }
    }

    private static Done done(final MemorySegment report) {
        return new Done(
                report.get(JAVA_LONG, Host.offset(Host.INTERVENTION_REPORT, "columns")),
                report.get(JAVA_LONG, Host.offset(Host.INTERVENTION_REPORT, "applications")),
                report.get(JAVA_DOUBLE, Host.offset(Host.INTERVENTION_REPORT, "delta")));
    }

    /** What the merge of a first sequence did to its columns since it was set. */
    public synchronized Done merged(final int first) {
        try (Arena local = Arena.ofConfined()) {
            final MemorySegment report = local.allocate(Host.INTERVENTION_REPORT);
            final int status;
            try {
                status = (int) Host.eq_merge_report$MH.invokeExact(address(), first, report);
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_merge_report", e);
            }
            Host.check(status, "merge");
            return done(report);
        }
    }

    /**
     * What an intervention that reads attention has seen at a layer.
     *
     * @param mass {@code [heads][64]}, summed over the queries
     * @param rows of the latest query, {@code [heads][columns]}; 0 of heads that are not read
     * @param queries how many
     */
    public record SeenAttention(double[] mass, float[][] rows, long queries) {}

    /** Reads {@code eq_attention_read}. */
    public synchronized SeenAttention attention(
            final int sequence, final int index, final int layer, final int columns) {
        final int heads = heads(layer);
        try (Arena local = Arena.ofConfined()) {
            final MemorySegment mass = local.allocate(JAVA_DOUBLE, Math.max(1, heads * Host.LABELS));
            final MemorySegment flat = local.allocate(JAVA_FLOAT, Math.max(1, (long) heads * columns));
            final MemorySegment queries = local.allocate(JAVA_LONG);
            final int status;
            try {
                status = (int) Host.eq_attention_read$MH.invokeExact(
                        address(), sequence, index, layer, mass, heads, flat, columns, queries);
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_attention_read", e);
            }
            Host.check(status, "attention of layer " + layer);
            final float[][] rows = new float[heads][columns];
            for (int head = 0; head < heads; head++) {
                MemorySegment.copy(flat, JAVA_FLOAT, 4L * head * columns, rows[head], 0, columns);
            }
            return new SeenAttention(mass.toArray(JAVA_DOUBLE), rows, queries.get(JAVA_LONG, 0));
        }
    }

    /** The mean of the states that an intervention has read at a layer, {@code [width]}; empty if it has seen none. */
    public synchronized Optional<float[]> meanState(
            final int sequence, final int index, final int layer, final int width) {
        try (Arena local = Arena.ofConfined()) {
            final MemorySegment sum = local.allocate(JAVA_DOUBLE, width);
            final MemorySegment states = local.allocate(JAVA_LONG);
            final int status;
            try {
                status = (int)
                        Host.eq_states_read$MH.invokeExact(address(), sequence, index, layer, sum, states);
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_states_read", e);
            }
            Host.check(status, "states of layer " + layer);
            final long seen = states.get(JAVA_LONG, 0);
            if (seen == 0) {
                return Optional.empty();
            }
            final float[] mean = new float[width];
            for (int i = 0; i < width; i++) {
                mean[i] = (float) (sum.getAtIndex(JAVA_DOUBLE, i) / seen);
            }
            return Optional.of(mean);
        }
    }

    /** Heads of a layer's queries, 0 where the graph does not show them. */
    public synchronized int heads(final int layer) {
        try {
            return (int) Host.eq_context_heads$MH.invokeExact(address(), layer);
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_context_heads", e);
        }
    }

    /** Merges two sequences at the output of a block; a negative {@code second} ends it. */
    public synchronized void merge(final int first, final int second, final int layer) {
        final int status;
        calls++;
        try {
            status = (int) Host.eq_merge_set$MH.invokeExact(address(), first, second, layer);
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_merge_set", e);
        }
        Host.check(status, "merge");
    }

    /** The row of a column of the last decode, {@code [vocabulary]}. */
    public synchronized float[] logits(final int column, final int vocabulary) {
        try (Arena local = Arena.ofConfined()) {
            final MemorySegment row = local.allocate(JAVA_FLOAT, vocabulary);
            final int status;
            try {
                status = (int) Host.eq_logits$MH.invokeExact(address(), column, row);
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_logits", e);
            }
            Host.check(status, "column " + column);
            return row.toArray(JAVA_FLOAT);
        }
    }

    /**
     * Hidden states of the last decode, {@code [rows][width]}.
     *
     * @param layer block number, -1 for the input embeddings
     */
    public synchronized float[] captured(final int layer, final int width) {
        try (Arena local = Arena.ofConfined()) {
            int status;
            try {
                status = (int) Host.eq_capture_read$MH.invokeExact(address(), layer, MemorySegment.NULL, 0L, count);
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_capture_read", e);
            }
            Host.check(status, "layer " + layer);
            final long values = (long) count.get(JAVA_INT, 0) * width;
            final MemorySegment rows = local.allocate(JAVA_FLOAT, Math.max(1, values));
            try {
                status = (int) Host.eq_capture_read$MH.invokeExact(address(), layer, rows, values, count);
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_capture_read", e);
            }
            Host.check(status, "layer " + layer);
            return rows.asSlice(0, values * JAVA_FLOAT.byteSize()).toArray(JAVA_FLOAT);
        }
    }
}
