package dev.equipoise.runtime.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/**
 * The arguments of one decode, laid out once in native memory and written over at every step, so that stepping
 * allocates nothing. Columns come first, then groups over their sequences, then picks. Used by its engine's thread
 * only.
 */
public final class StepBuffer {
    private static final long BATCH_N_TOKENS = Host.offset(Host.BATCH, "n_tokens");
    private static final long BATCH_NON_CAUSAL = Host.offset(Host.BATCH, "non_causal");
    private static final long BATCH_TOKENS = Host.offset(Host.BATCH, "tokens");
    private static final long BATCH_EMBEDDINGS = Host.offset(Host.BATCH, "embeddings");
    private static final long BATCH_PADDING = Host.offset(Host.BATCH, "n_padding");
    private static final long BATCH_SHARERS = Host.offset(Host.BATCH, "sharers");
    private static final long GROUP_SEQUENCES = Host.offset(Host.GROUP, "sequences");
    private static final long GROUP_COEFFICIENTS = Host.offset(Host.GROUP, "coefficients");
    private static final long GROUP_BRANCHES = Host.offset(Host.GROUP, "n_branches");
    private static final long GROUP_LOG_PROBABILITIES = Host.offset(Host.GROUP, "log_probabilities");
    private static final long GROUP_PLAUSIBILITY = Host.offset(Host.GROUP, "plausibility");
    private static final long GROUP_AFTER = Host.offset(Host.GROUP, "after");
    private static final long GROUP_WEIGH = Host.offset(Host.GROUP, "weigh");
    private static final long GROUP_CUT_VALUE = Host.offset(Host.GROUP, "cut_value");
    private static final long PICK_SAMPLER = Host.offset(Host.PICK, "sampler");
    private static final long PICK_COLUMN = Host.offset(Host.PICK, "column");
    private static final long PICK_GROUP = Host.offset(Host.PICK, "group");
    private static final long PICK_TOP = Host.offset(Host.PICK, "n_top");
    private static final long PICK_GATE = Host.offset(Host.PICK, "gate");
    private static final long PICK_GATE_THRESHOLD = Host.offset(Host.PICK, "gate_threshold");
    private static final long PICK_GATE_OPEN = Host.offset(Host.PICK, "gate_open");
    private static final long PICK_GATE_VALUE = Host.offset(Host.PICK, "gate_value");
    private static final long PICK_CHANGED = Host.offset(Host.PICK, "changed");
    private static final long PICK_STATUS = Host.offset(Host.PICK, "status");
    private static final long PICK_TOKEN = Host.offset(Host.PICK, "token");
    private static final long PICK_LOG_PROBABILITY = Host.offset(Host.PICK, "log_probability");
    private static final long PICK_ENDS = Host.offset(Host.PICK, "ends");
    private static final long PICK_BYTE_COUNT = Host.offset(Host.PICK, "n_bytes");
    private static final long PICK_DELTA = Host.offset(Host.PICK, "delta_norm");
    private static final long PICK_KEPT = Host.offset(Host.PICK, "kept");
    private static final long PICK_BYTES = Host.offset(Host.PICK, "bytes");

    // Sections of a position that say where a row is.
    private static final int MROPE_AXES = 3;

    private final int columnCapacity;
    private final int inputWidth;
    private final int positionsPerEmbedding;

    final MemorySegment batch;
    final MemorySegment groups;
    final MemorySegment picks;
    final MemorySegment topTokens;
    final MemorySegment topLogProbabilities;
    private final MemorySegment tokens;
    private final MemorySegment positions;
    private final MemorySegment sequences;
    private final MemorySegment outputs;
    private final MemorySegment active;
    private final MemorySegment labels;
    private final MemorySegment mergeWeights;
    private final MemorySegment numbers;
    private final ColumnSharers sharers;
    private final MemorySegment members;
    private final MemorySegment coefficients;
    private final Arena arena;
    // By group, null where its weights are known beforehand.
    private final Weighing[] weighings;
    // Made for the first group that needs it.
    private MemorySegment weigh = MemorySegment.NULL;
    private MemorySegment embeddings = MemorySegment.NULL;

    private int columns;
    private int groupCount;
    private int memberCount;
    private int pickCount;
    private int paddings;
    private int totalRows;

    /** Weighs the branches of a group whose rows are there. */
    public interface Weighing {
        /**
         * Called by the engine's thread, in the middle of a decode.
         *
         * @param entropies {@code [branches]} of the rows' softmax, in nats
         * @param out {@code [branches]} their coefficients
         */
        void weigh(float[] entropies, float[] out);
    }

    StepBuffer(
            final Arena arena,
            final int columnCapacity,
            final int sequenceCapacity,
            final int inputWidth,
            final int positionsPerEmbedding) {
        this.arena = arena;
        this.columnCapacity = columnCapacity;
        this.inputWidth = inputWidth;
        this.positionsPerEmbedding = positionsPerEmbedding;
        batch = arena.allocate(Host.BATCH);
        groups = arena.allocate(Host.GROUP, sequenceCapacity);
        picks = arena.allocate(Host.PICK, sequenceCapacity);
        topTokens = arena.allocate(JAVA_INT, (long) sequenceCapacity * Host.TOP_MAX);
        topLogProbabilities = arena.allocate(JAVA_FLOAT, (long) sequenceCapacity * Host.TOP_MAX);
        tokens = arena.allocate(JAVA_INT, columnCapacity);
        positions = arena.allocate(JAVA_INT, (long) columnCapacity * positionsPerEmbedding);
        sequences = arena.allocate(JAVA_INT, columnCapacity);
        outputs = arena.allocate(JAVA_BYTE, columnCapacity);
        active = arena.allocate(JAVA_LONG, columnCapacity);
        labels = arena.allocate(JAVA_BYTE, columnCapacity);
        mergeWeights = arena.allocate(JAVA_FLOAT, columnCapacity);
        numbers = arena.allocate(JAVA_INT, columnCapacity);
        sharers = new ColumnSharers(arena, columnCapacity);
        members = arena.allocate(JAVA_INT, sequenceCapacity);
        coefficients = arena.allocate(JAVA_FLOAT, sequenceCapacity);
        weighings = new Weighing[sequenceCapacity];
        batch.set(ADDRESS, Host.offset(Host.BATCH, "positions"), positions);
        batch.set(ADDRESS, Host.offset(Host.BATCH, "sequences"), sequences);
        batch.set(ADDRESS, Host.offset(Host.BATCH, "outputs"), outputs);
        batch.set(ADDRESS, Host.offset(Host.BATCH, "active"), active);
        batch.set(ADDRESS, Host.offset(Host.BATCH, "labels"), labels);
        batch.set(ADDRESS, Host.offset(Host.BATCH, "merge_weights"), mergeWeights);
        batch.set(ADDRESS, Host.offset(Host.BATCH, "columns"), numbers);
    }

    /** Empties the buffer. */
    public void clear() {
        columns = 0;
        groupCount = 0;
        memberCount = 0;
        pickCount = 0;
        paddings = 0;
        sharers.clear();
        batch.set(ADDRESS, BATCH_SHARERS, MemorySegment.NULL);
        batch.set(JAVA_INT, BATCH_PADDING, 0);
        batch.set(ADDRESS, BATCH_TOKENS, MemorySegment.NULL);
        batch.set(ADDRESS, BATCH_EMBEDDINGS, MemorySegment.NULL);
        batch.set(JAVA_INT, BATCH_NON_CAUSAL, 0);
        batch.set(JAVA_INT, BATCH_N_TOKENS, 0);
    }

    /** Most columns that fit. */
    public int capacity() {
        return columnCapacity;
    }

    /** Columns in the buffer. */
    public int columns() {
        return columns;
    }

    /** Adds a token column and returns its number. Nothing acts on it until {@link #mark} says so. */
    public int token(final int token, final int position, final int sequence, final boolean output) {
        final int at = columns++;
        tokens.setAtIndex(JAVA_INT, at, token);
        positions.setAtIndex(JAVA_INT, at, position);
        place(at, sequence, output);
        batch.set(ADDRESS, BATCH_TOKENS, tokens);
        batch.set(JAVA_INT, BATCH_N_TOKENS, columns);
        return at;
    }

    /**
     * Says what acts on a column.
     *
     * @param mask bit k: intervention k of its sequence
     * @param label what it is to attention edits as a key, 0..63
     * @param mergeWeight weight of the first of two merged sequences, if it belongs to it
     * @param number its number among the columns of its branch
     */
    public void mark(
            final int column, final long mask, final int label, final float mergeWeight, final int number) {
        numbers.setAtIndex(JAVA_INT, column, number);
        active.setAtIndex(JAVA_LONG, column, mask);
        labels.set(JAVA_BYTE, column, (byte) label);
        mergeWeights.setAtIndex(JAVA_FLOAT, column, mergeWeight);
    }

    private void place(final int column, final int sequence, final boolean output) {
        sequences.setAtIndex(JAVA_INT, column, sequence);
        outputs.set(JAVA_BYTE, column, (byte) (output ? 1 : 0));
        mark(column, 0, 0, 0, -1);
        sharers.place(column);
    }

    // Whether a column is a sequence's, its own or another's that it shares.
    private boolean isOf(final int column, final int sequence) {
        return sequences.getAtIndex(JAVA_INT, column) == sequence || sharers.has(column, sequence);
    }

    /** How many columns are a sequence's, its own or others' that it shares. */
    public int columnsOf(final int sequence) {
        int count = 0;
        for (int column = 0; column < columns; column++) {
            count += isOf(column, sequence) ? 1 : 0;
        }
        return count;
    }

    /**
     * Lets a sequence share the columns of another that are in the buffer and whose numbers in their branch are below
     * {@code end}. What is in the cache of the other before the decode must be in the sequence's too.
     */
    public void share(final int of, final int with, final int end) {
        sharers.begin(columns);
        batch.set(ADDRESS, BATCH_SHARERS, sharers.words());
        for (int column = 0; column < columns; column++) {
            if (isOf(column, of) && numbers.getAtIndex(JAVA_INT, column) < end) {
                sharers.add(column, with);
            }
        }
    }

    /**
     * Makes the batch one of rows; they follow by {@link #rows} and {@link #words}.
     *
     * @param total how many there will be
     * @param nonCausal whether all of them attend in both directions
     */
    public void beginRows(final int total, final boolean nonCausal) {
        if (embeddings.equals(MemorySegment.NULL)) {
            embeddings = arena.allocate(JAVA_FLOAT, (long) columnCapacity * inputWidth);
        }
        totalRows = total;
        batch.set(ADDRESS, BATCH_EMBEDDINGS, embeddings);
        batch.set(JAVA_INT, BATCH_N_TOKENS, total);
        batch.set(JAVA_INT, BATCH_NON_CAUSAL, nonCausal ? 1 : 0);
    }

    /**
     * Adds rows {@code from..to} of a medium, read by one sequence, and returns the number of the first one's column.
     *
     * @param chunk embeddings
     * @param firstPosition absolute position of the chunk's first row
     */
    public int rows(
            final EncoderHandle.Chunk chunk,
            final int from,
            final int to,
            final int firstPosition,
            final int sequence) {
        final int count = to - from;
        final int first = columns;
        columns += count;
        MemorySegment.copy(
                chunk.embeddings(),
                from * inputWidth,
                embeddings,
                JAVA_FLOAT,
                (long) first * inputWidth * Float.BYTES,
                count * inputWidth);
        for (int section = 0; section < positionsPerEmbedding; section++) {
            for (int i = 0; i < count; i++) {
                // Section-major over the whole batch.
                positions.setAtIndex(
                        JAVA_INT,
                        (long) section * totalRows + first + i,
                        firstPosition + chunk.positions()[section * chunk.count() + from + i]);
            }
        }
        for (int i = 0; i < count; i++) {
            place(first + i, sequence, false);
        }
        return first;
    }

    /**
     * Adds tokens as rows, among which those of media may stand, and returns the number of the first one's column.
     *
     * @param model what they are tokens of
     * @param at their positions
     * @param output whether the last one's row of logits is wanted
     */
    public int words(
            final ModelHandle model, final int[] words, final int[] at, final int sequence, final boolean output) {
        final int first = columns;
        columns += words.length;
        final long width = (long) inputWidth * Float.BYTES;
        model.embeddings(words, embeddings.asSlice(first * width, words.length * width));
        for (int section = 0; section < positionsPerEmbedding; section++) {
            for (int i = 0; i < words.length; i++) {
                // Under M-RoPE a word is at one place in time, height and width; the fourth section is nobody's.
                positions.setAtIndex(
                        JAVA_INT, (long) section * totalRows + first + i, section < MROPE_AXES ? at[i] : 0);
            }
        }
        for (int i = 0; i < words.length; i++) {
            place(first + i, sequence, output && i == words.length - 1);
        }
        return first;
    }

    /**
     * Adds a token column that is nobody's, decoded and forgotten.
     *
     * @param sequence the one behind the last that belongs to somebody
     */
    public void padding(final int sequence) {
        token(0, 0, sequence, false);
        batch.set(JAVA_INT, BATCH_PADDING, ++paddings);
    }

    /**
     * Begins a group; its members follow by {@link #member}. Returns its number.
     *
     * @param cutValue what tokens become that the cut-off takes; 0: -infinity
     * @param after whether it is combined when the graph has ended, perhaps with a base row that a gate kept
     * @param weighing gives the coefficients of a group that is combined then; null: those of the members stand
     */
    public int group(
            final boolean logProbabilities,
            final float plausibility,
            final float cutValue,
            final boolean after,
            final Weighing weighing) {
        final long at = groupCount * Host.GROUP.byteSize();
        if (weighing != null && weigh.equals(MemorySegment.NULL)) {
            weigh = Host.weigh(this, arena);
        }
        weighings[groupCount] = weighing;
        groups.set(JAVA_LONG, at + GROUP_WEIGH, weighing == null ? 0 : weigh.address());
        groups.set(JAVA_FLOAT, at + GROUP_CUT_VALUE, cutValue);
        // As numbers: a slice would be an object for every group of every step.
        groups.set(JAVA_LONG, at + GROUP_SEQUENCES, members.address() + 4L * memberCount);
        groups.set(JAVA_LONG, at + GROUP_COEFFICIENTS, coefficients.address() + 4L * memberCount);
        groups.set(JAVA_INT, at + GROUP_AFTER, after ? 1 : 0);
        groups.set(JAVA_INT, at + GROUP_BRANCHES, 0);
        groups.set(JAVA_INT, at + GROUP_LOG_PROBABILITIES, logProbabilities ? 1 : 0);
        groups.set(JAVA_FLOAT, at + GROUP_PLAUSIBILITY, plausibility);
        return groupCount++;
    }

    /** Adds a branch to the group begun last, base first. */
    public void member(final int sequence, final float coefficient) {
        final long count = (groupCount - 1) * Host.GROUP.byteSize() + GROUP_BRANCHES;
        members.setAtIndex(JAVA_INT, memberCount, sequence);
        coefficients.setAtIndex(JAVA_FLOAT, memberCount, coefficient);
        memberCount++;
        groups.set(JAVA_INT, count, groups.get(JAVA_INT, count) + 1);
    }

    // The callee of a native call: what it throws would end the process.
    void weigh(final int group, final MemorySegment entropies) {
        final long at = group * Host.GROUP.byteSize();
        final int branches = groups.get(JAVA_INT, at + GROUP_BRANCHES);
        final long first = (groups.get(JAVA_LONG, at + GROUP_COEFFICIENTS) - coefficients.address()) / Float.BYTES;
        final float[] out = new float[branches];
        try {
            weighings[group].weigh(Host.floats(entropies, branches), out);
        } catch (final RuntimeException | Error e) {
            // The pick then fails, as one whose row is not finite.
            Arrays.fill(out, Float.NaN);
        }
        for (int b = 0; b < branches; b++) {
            coefficients.setAtIndex(JAVA_FLOAT, first + b, out[b]);
        }
    }

    /** Groups in the buffer. */
    int groupCount() {
        return groupCount;
    }

    /**
     * Asks for a token. Returns the pick's number.
     *
     * @param sampler the chain, or null for the best token
     * @param column whose row
     * @param group the row's group, or -1
     * @param top how many best tokens to report
     */
    public int pick(final SamplerHandle sampler, final int column, final int group, final int top) {
        final long at = pickCount * Host.PICK.byteSize();
        picks.set(ADDRESS, at + PICK_SAMPLER, sampler == null ? MemorySegment.NULL : sampler.address());
        picks.set(JAVA_INT, at + PICK_COLUMN, column);
        picks.set(JAVA_INT, at + PICK_GROUP, group);
        picks.set(JAVA_INT, at + PICK_TOP, top);
        picks.set(JAVA_INT, at + PICK_GATE, Host.GATE_NONE);
        picks.set(JAVA_FLOAT, at + PICK_GATE_THRESHOLD, 0);
        return pickCount++;
    }

    /**
     * Lets a pick's group be combined only if the entropy of the base row's softmax, in nats, is above {@code nats}; of
     * a pick without a group the row is then kept instead of drawn from.
     */
    public void openAboveEntropy(final int pick, final float nats) {
        gate(pick, Host.GATE_ENTROPY_ABOVE, nats);
    }

    /** Lets the row of a pick without a group be kept, whatever it is, instead of drawn from. */
    public void keep(final int pick) {
        // No entropy is below 0.
        openAboveEntropy(pick, -1);
    }

    /** As {@link #openAboveEntropy}, if the largest probability is below {@code probability}. */
    public void openBelowConfidence(final int pick, final float probability) {
        gate(pick, Host.GATE_CONFIDENCE_BELOW, probability);
    }

    private void gate(final int pick, final int kind, final float threshold) {
        picks.set(JAVA_INT, at(pick) + PICK_GATE, kind);
        picks.set(JAVA_FLOAT, at(pick) + PICK_GATE_THRESHOLD, threshold);
    }

    /** What the pick's gate compared with its threshold: an entropy in nats, or a probability. */
    public float gateValue(final int pick) {
        return picks.get(JAVA_FLOAT, at(pick) + PICK_GATE_VALUE);
    }

    /** Whether the pick's gate is open: its row was kept and nothing drawn, or its group was combined. */
    public boolean isOpen(final int pick) {
        return picks.get(JAVA_INT, at(pick) + PICK_GATE_OPEN) != 0;
    }

    /** Whether the best token of a group combined after the graph is another than its base row's. */
    public boolean changed(final int pick) {
        return picks.get(JAVA_INT, at(pick) + PICK_CHANGED) != 0;
    }

    /** Picks in the buffer. */
    int pickCount() {
        return pickCount;
    }

    private long at(final int pick) {
        return pick * Host.PICK.byteSize();
    }

    /** True when the pick has a token. */
    public boolean succeeded(final int pick) {
        return picks.get(JAVA_INT, at(pick) + PICK_STATUS) == Host.OK;
    }

    /** True when grammar and cut-off left no token, false when a row was not finite; for a pick that failed. */
    public boolean exhausted(final int pick) {
        return picks.get(JAVA_INT, at(pick) + PICK_STATUS) == Host.BAD_INPUT;
    }

    /** The token drawn. */
    public int tokenOf(final int pick) {
        return picks.get(JAVA_INT, at(pick) + PICK_TOKEN);
    }

    /** Its log-probability, when best tokens were asked for. */
    public float logProbability(final int pick) {
        return picks.get(JAVA_FLOAT, at(pick) + PICK_LOG_PROBABILITY);
    }

    /** Whether it ends the turn. */
    public boolean ends(final int pick) {
        return picks.get(JAVA_INT, at(pick) + PICK_ENDS) != 0;
    }

    /** L2 norm of the group's change to its base row. */
    public double deltaNorm(final int pick) {
        return picks.get(JAVA_DOUBLE, at(pick) + PICK_DELTA);
    }

    /** Tokens that the cut-off kept. */
    public long kept(final int pick) {
        return picks.get(JAVA_LONG, at(pick) + PICK_KEPT);
    }

    /** Copies the token's text to {@code out} from {@code from} on and returns its length in bytes. */
    public int bytes(final int pick, final byte[] out, final int from) {
        final int count = picks.get(JAVA_INT, at(pick) + PICK_BYTE_COUNT);
        MemorySegment.copy(picks, JAVA_BYTE, at(pick) + PICK_BYTES, out, from, count);
        return count;
    }

    /** The k-th best token, -1 beyond the vocabulary. */
    public int topToken(final int pick, final int k) {
        return topTokens.getAtIndex(JAVA_INT, (long) pick * Host.TOP_MAX + k);
    }

    /** Its log-probability. */
    public float topLogProbability(final int pick, final int k) {
        return topLogProbabilities.getAtIndex(JAVA_FLOAT, (long) pick * Host.TOP_MAX + k);
    }
}
