package dev.equipoise.runtime.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.equipoise.kernels.ffm.NativeLibraries;
import dev.equipoise.runtime.intervention.PositionVectors;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** The vision and audio encoders of one mmproj file. Thread-safe: calls take turns. */
public final class EncoderHandle extends NativeHandle {
    /** Kinds of media; ordinals are those of {@code eq_medium_kind}. */
    public enum Kind {
        IMAGE_FILE,
        IMAGE_RGB,
        AUDIO_FILE,
        AUDIO_PCM
    }

    /**
     * What the encoders understand.
     *
     * @param audioSampleRate Hz, 0 without audio
     */
    public record Info(boolean vision, boolean audio, int audioSampleRate) {}

    /** Which states of the picture encoder's blocks are kept; values are those of {@code eq_captured}. */
    public enum Captured {
        /** None. */
        NONE,
        /** The output of each block. */
        LAYER,
        /** What the feed-forward part of each block gives, before it is turned. */
        MLP,
        /** Both. */
        BOTH
    }

    /**
     * How a medium is encoded; all but {@link #PLAIN} is for pictures.
     *
     * @param noiseStep 0..999, or -1 for none
     * @param noiseSeed seed of the noise
     * @param watch whether chunks are to have a saliency
     * @param maskSide patches a row of {@code mask}
     * @param mask {@code [maskSide][maskSide]}: 1 where a patch becomes its channels' means; empty for none
     * @param directions along which the feed-forward outputs of their blocks are turned
     * @param amount by how much
     * @param captured which states are kept
     */
    public record Manner(
            int noiseStep,
            long noiseSeed,
            boolean watch,
            int maskSide,
            byte[] mask,
            Optional<PositionVectors> directions,
            double amount,
            Captured captured) {
        /** As it is. */
        public static final Manner PLAIN =
                new Manner(-1, 0, false, 0, new byte[0], Optional.empty(), 0, Captured.NONE);

        /** The same with noise. */
        public Manner noised(final int step, final long seed) {
            return new Manner(step, seed, watch, maskSide, mask, directions, amount, captured);
        }

        /** The same with a saliency, or without. */
        public Manner watching(final boolean wanted) {
            return new Manner(noiseStep, noiseSeed, wanted, maskSide, mask, directions, amount, captured);
        }

        /** The same with patches overwritten. */
        public Manner masked(final int side, final byte[] marks) {
            return new Manner(noiseStep, noiseSeed, watch, side, marks, directions, amount, captured);
        }

        /** The same, turned. */
        public Manner turned(final PositionVectors along, final double by) {
            return new Manner(noiseStep, noiseSeed, watch, maskSide, mask, Optional.of(along), by, captured);
        }

        /** The same with states. */
        public Manner capturing(final Captured which) {
            return new Manner(noiseStep, noiseSeed, watch, maskSide, mask, directions, amount, which);
        }

        private MemorySegment params(final Arena arena) {
            final MemorySegment params = arena.allocate(Host.ENCODE_PARAMS);
            params.set(JAVA_LONG, Host.offset(Host.ENCODE_PARAMS, "noise_seed"), noiseSeed);
            set(params, "noise_step", noiseStep);
            set(params, "watch", watch ? 1 : 0);
            set(params, "captured", captured.ordinal());
            if (mask.length > 0) {
                set(params, "masked_side", maskSide);
                params.set(ADDRESS, Host.offset(Host.ENCODE_PARAMS, "masked"), arena.allocateFrom(JAVA_BYTE, mask));
            }
            directions.ifPresent(along -> {
                final int[] layers =
                        along.layers().stream().mapToInt(Integer::intValue).toArray();
                final long size = (long) along.positions() * along.width();
                final MemorySegment values = arena.allocate(JAVA_FLOAT, layers.length * size);
                for (int k = 0; k < layers.length; k++) {
                    MemorySegment.copy(
                            along.at(layers[k]), 0, values, JAVA_FLOAT, k * size * Float.BYTES, (int) size);
                }
                set(params, "n_layers", layers.length);
                set(params, "n_positions", along.positions());
                set(params, "width", along.width());
                params.set(JAVA_FLOAT, Host.offset(Host.ENCODE_PARAMS, "amount"), (float) amount);
                params.set(ADDRESS, Host.offset(Host.ENCODE_PARAMS, "layers"), arena.allocateFrom(JAVA_INT, layers));
                params.set(ADDRESS, Host.offset(Host.ENCODE_PARAMS, "directions"), values);
            });
            return params;
        }

        private static void set(final MemorySegment params, final String field, final int value) {
            params.set(JAVA_INT, Host.offset(Host.ENCODE_PARAMS, field), value);
        }
    }

    /**
     * States of one block.
     *
     * @param layer the block
     * @param captured what of it
     * @param positions rows
     * @param width entries of each
     * @param values {@code [positions][width]}
     */
    public record States(int layer, Captured captured, int positions, int width, float[] values) {}

    /**
     * A run of tokens or of embedding rows; exactly one of {@code tokens} and {@code embeddings} is non-null.
     *
     * @param tokens {@code [count]}
     * @param embeddings {@code [count][inputWidth]}
     * @param positions {@code [positionsPerEmbedding][count]}, relative to the first; null for tokens
     * @param count tokens or rows
     * @param positionCount time positions it takes
     * @param nonCausal whether its rows see each other in both directions
     * @param dropped what the encoder gave and was left out of it
     * @param saliency {@code [count]}, the encoder's attention to each row; null where it was not asked for, or does
     *     not have a place for each
     * @param states those that were asked for
     * @param delta sum over blocks and positions of the L2 norm of what turning changed
     */
    public record Chunk(
            int[] tokens,
            float[] embeddings,
            int[] positions,
            int count,
            int positionCount,
            boolean nonCausal,
            Dropped dropped,
            float[] saliency,
            List<States> states,
            double delta) {}

    /**
     * Rows that were left out of a chunk.
     *
     * @param rows how many
     * @param norms sum of their L2 norms
     * @param by the name of what they were chosen by, empty if nothing was to be left out
     */
    public record Dropped(int rows, double norms, String by) {
        /** Nothing. */
        public static final Dropped NONE = new Dropped(0, 0, "");

        /** These and others, of the same choice. */
        public Dropped plus(final Dropped more) {
            return new Dropped(rows + more.rows, norms + more.norms, by.isEmpty() ? more.by : by);
        }
    }

    private final int inputWidth;
    private final int positionsPerEmbedding;

    private EncoderHandle(
            final String name, final MemorySegment address, final int inputWidth, final int positionsPerEmbedding) {
        super(name, address);
        this.inputWidth = inputWidth;
        this.positionsPerEmbedding = positionsPerEmbedding;
    }

    /** Loads a file that was checked before. */
    public static EncoderHandle open(final Path file, final ModelHandle model, final int threads, final boolean gpu) {
        final ModelHandle.Info info = model.info();
        synchronized (model) {
            try (Arena arena = Arena.ofConfined()) {
                final MemorySegment cell = Host.cell(arena);
                final int status;
                try {
                    status = (int) Host.eq_media_open$MH.invokeExact(
                            arena.allocateFrom(file.toString()), model.address(), threads, gpu ? 1 : 0, cell);
                } catch (final Throwable e) {
                    throw NativeLibraries.unexpected("eq_media_open", e);
                }
                Host.check(status, file.toString());
                NativeLog.drain();
                return new EncoderHandle(
                        file.toString(), cell.get(ADDRESS, 0), info.inputWidth(), info.positionsPerEmbedding());
            }
        }
    }

    @Override
    void free(final MemorySegment pointer) {
        try {
            Host.eq_media_close$MH.invokeExact(pointer);
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_media_close", e);
        }
    }

    /** What the encoders understand. */
    public synchronized Info info() {
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment info = arena.allocate(Host.MEDIA_INFO);
            final int status;
            try {
                status = (int) Host.eq_media_describe$MH.invokeExact(address(), info);
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_media_describe", e);
            }
            Host.check(status, name());
            return new Info(
                    Host.intAt(info, Host.MEDIA_INFO, "vision") != 0,
                    Host.intAt(info, Host.MEDIA_INFO, "audio") != 0,
                    Host.intAt(info, Host.MEDIA_INFO, "audio_sample_rate"));
        }
    }

    /**
     * Encodes one medium.
     *
     * @param data as {@code kind} says
     * @param width pixels, for {@link Kind#IMAGE_RGB}
     * @param height pixels, for {@link Kind#IMAGE_RGB}
     * @param manner how
     * @param what what to call the medium in errors
     */
    public synchronized List<Chunk> encode(
            final Kind kind,
            final byte[] data,
            final int width,
            final int height,
            final Manner manner,
            final String what) {
        try (Arena arena = Arena.ofConfined()) {
            // 8: the samples of a sound are read as floats.
            final MemorySegment bytes = arena.allocate(data.length, 8);
            MemorySegment.copy(data, 0, bytes, JAVA_BYTE, 0, data.length);
            final MemorySegment cell = Host.cell(arena);
            final int status;
            try {
                status = (int) Host.eq_media_encode$MH.invokeExact(
                        address(),
                        kind.ordinal(),
                        bytes,
                        (long) data.length,
                        width,
                        height,
                        manner.params(arena),
                        cell);
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_media_encode", e);
            }
            Host.check(status, what, "give a complete picture or sound file that other programs open");
            NativeLog.drain();
            final MemorySegment encoding = cell.get(ADDRESS, 0);
            try {
                return chunks(encoding, arena);
            } finally {
                closeEncoding(encoding);
            }
        }
    }

    private List<Chunk> chunks(final MemorySegment encoding, final Arena arena) {
        final MemorySegment chunk = arena.allocate(Host.CHUNK);
        final List<Chunk> chunks = new ArrayList<>();
        try {
            final int count = (int) Host.eq_encoding_chunks$MH.invokeExact(encoding);
            for (int i = 0; i < count; i++) {
                Host.check((int) Host.eq_encoding_chunk$MH.invokeExact(encoding, i, chunk), name());
                chunks.add(chunk(chunk, states(encoding, i, Host.intAt(chunk, Host.CHUNK, "n_states"), arena)));
            }
            return chunks;
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_encoding_chunk", e);
        }
    }

    private List<States> states(final MemorySegment encoding, final int index, final int count, final Arena arena)
            throws Throwable {
        final MemorySegment found = arena.allocate(Host.BLOCK_STATES);
        final List<States> states = new ArrayList<>();
        for (int nth = 0; nth < count; nth++) {
            Host.check((int) Host.eq_encoding_states$MH.invokeExact(encoding, index, nth, found), name());
            final int positions = Host.intAt(found, Host.BLOCK_STATES, "n_positions");
            final int width = Host.intAt(found, Host.BLOCK_STATES, "width");
            states.add(new States(
                    Host.intAt(found, Host.BLOCK_STATES, "layer"),
                    Captured.values()[Host.intAt(found, Host.BLOCK_STATES, "captured")],
                    positions,
                    width,
                    Host.floats(found.get(ADDRESS, 0), (long) positions * width)));
        }
        return states;
    }

    private Chunk chunk(final MemorySegment chunk, final List<States> states) {
        final int count = Host.intAt(chunk, Host.CHUNK, "n_tokens");
        final int positions = Host.intAt(chunk, Host.CHUNK, "n_positions");
        final boolean nonCausal = Host.intAt(chunk, Host.CHUNK, "non_causal") != 0;
        final MemorySegment tokens = chunk.get(ADDRESS, Host.offset(Host.CHUNK, "tokens"));
        if (!tokens.equals(MemorySegment.NULL)) {
            return new Chunk(
                    Host.ints(tokens, count), null, null, count, positions, nonCausal, Dropped.NONE, null, states, 0);
        }
        final MemorySegment saliency = chunk.get(ADDRESS, Host.offset(Host.CHUNK, "saliency"));
        return new Chunk(
                null,
                Host.floats(chunk.get(ADDRESS, Host.offset(Host.CHUNK, "embeddings")), (long) count * inputWidth),
                Host.ints(
                        chunk.get(ADDRESS, Host.offset(Host.CHUNK, "positions")), (long) count * positionsPerEmbedding),
                count,
                positions,
                nonCausal,
                Dropped.NONE,
                saliency.equals(MemorySegment.NULL) ? null : Host.floats(saliency, count),
                states,
                chunk.get(JAVA_DOUBLE, Host.offset(Host.CHUNK, "delta")));
    }

    private static void closeEncoding(final MemorySegment encoding) {
        try {
            Host.eq_encoding_close$MH.invokeExact(encoding);
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_encoding_close", e);
        }
    }
}
