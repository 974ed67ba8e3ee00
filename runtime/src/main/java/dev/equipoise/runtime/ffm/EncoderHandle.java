package dev.equipoise.runtime.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.equipoise.kernels.ffm.NativeLibraries;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

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

    /**
     * A run of tokens or of embedding rows; exactly one of {@code tokens} and {@code embeddings} is non-null.
     *
     * @param tokens {@code [count]}
     * @param embeddings {@code [count][inputWidth]}
     * @param positions {@code [positionsPerEmbedding][count]}, relative to the first; null for tokens
     * @param count tokens or rows
     * @param positionCount time positions it takes
     * @param nonCausal whether its rows see each other in both directions
     * @param dropped rows that the encoder gave and that were left out of it
     * @param saliency {@code [count]}, the encoder's attention to each row; null where it was not asked for, or does
     *     not have a place for each
     */
    public record Chunk(
            int[] tokens,
            float[] embeddings,
            int[] positions,
            int count,
            int positionCount,
            boolean nonCausal,
            int dropped,
            float[] saliency) {
        private Chunk(
                final int[] tokens,
                final float[] embeddings,
                final int[] positions,
                final int count,
                final int positionCount,
                final boolean nonCausal,
                final float[] saliency) {
            this(tokens, embeddings, positions, count, positionCount, nonCausal, 0, saliency);
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
     * @param noiseStep 0..999, or -1 for none
     * @param noiseSeed seed of the noise
     * @param watch whether a picture's chunks are to have a saliency
     * @param what what to call the medium in errors
     */
    public synchronized List<Chunk> encode(
            final Kind kind,
            final byte[] data,
            final int width,
            final int height,
            final int noiseStep,
            final long noiseSeed,
            final boolean watch,
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
                        noiseStep,
                        noiseSeed,
                        watch ? 1 : 0,
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
                chunks.add(chunk(chunk));
            }
            return chunks;
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_encoding_chunk", e);
        }
    }

    private Chunk chunk(final MemorySegment chunk) {
        final int count = Host.intAt(chunk, Host.CHUNK, "n_tokens");
        final int positions = Host.intAt(chunk, Host.CHUNK, "n_positions");
        final boolean nonCausal = Host.intAt(chunk, Host.CHUNK, "non_causal") != 0;
        final MemorySegment tokens = chunk.get(ADDRESS, Host.offset(Host.CHUNK, "tokens"));
        if (!tokens.equals(MemorySegment.NULL)) {
            return new Chunk(Host.ints(tokens, count), null, null, count, positions, nonCausal, null);
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
                saliency.equals(MemorySegment.NULL) ? null : Host.floats(saliency, count));
    }

    private static void closeEncoding(final MemorySegment encoding) {
        try {
            Host.eq_encoding_close$MH.invokeExact(encoding);
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_encoding_close", e);
        }
    }
}
