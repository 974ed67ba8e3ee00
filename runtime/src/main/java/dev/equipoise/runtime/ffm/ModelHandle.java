package dev.equipoise.runtime.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.equipoise.kernels.ffm.NativeLibraries;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Optional;

/** A loaded text model. Thread-safe: calls take turns. */
public final class ModelHandle extends NativeHandle {
    /**
     * What the model says of itself; see {@code eq_model_info}.
     *
     * @param bos token that begins a prompt, -1 if there is none
     * @param addBos whether prompts begin with it
     * @param eos token that ends a text, -1 if there is none
     */
    public record Info(
            String architecture,
            String description,
            long parameters,
            int layers,
            int heads,
            int width,
            int inputWidth,
            int vocabulary,
            int trainedContext,
            int positionsPerEmbedding,
            int bos,
            int eos,
            boolean addBos,
            boolean hasMemory,
            int slidingWindow) {}

    private ModelHandle(final String name, final MemorySegment address) {
        super(name, address);
    }

    /** Loads a file that was checked before. */
    public static ModelHandle open(final Path file, final int gpuLayers) {
        NativeRuntime.start();
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment cell = Host.cell(arena);
            final int status;
            try {
                status = (int) Host.eq_model_open$MH.invokeExact(
                        arena.allocateFrom(file.toString()), gpuLayers, cell);
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_model_open", e);
            }
            Host.check(status, file.toString());
            NativeLog.drain();
            return new ModelHandle(file.toString(), cell.get(ADDRESS, 0));
        }
    }

    @Override
    void free(final MemorySegment pointer) {
        try {
            Host.eq_model_close$MH.invokeExact(pointer);
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_model_close", e);
        }
    }

    /** What the model says of itself. */
    public synchronized Info info() {
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment info = arena.allocate(Host.MODEL_INFO);
            final int status;
            try {
                status = (int) Host.eq_model_describe$MH.invokeExact(address(), info);
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_model_describe", e);
            }
            Host.check(status, name());
            return new Info(
                    Host.textAt(info, Host.MODEL_INFO, "architecture"),
                    Host.textAt(info, Host.MODEL_INFO, "description"),
                    info.get(JAVA_LONG, Host.offset(Host.MODEL_INFO, "n_params")),
                    Host.intAt(info, Host.MODEL_INFO, "n_layer"),
                    Host.intAt(info, Host.MODEL_INFO, "n_head"),
                    Host.intAt(info, Host.MODEL_INFO, "n_embd"),
                    Host.intAt(info, Host.MODEL_INFO, "n_embd_inp"),
                    Host.intAt(info, Host.MODEL_INFO, "n_vocab"),
                    Host.intAt(info, Host.MODEL_INFO, "n_ctx_train"),
                    Host.intAt(info, Host.MODEL_INFO, "n_pos_per_embd"),
                    Host.intAt(info, Host.MODEL_INFO, "bos"),
                    Host.intAt(info, Host.MODEL_INFO, "eos"),
                    Host.intAt(info, Host.MODEL_INFO, "add_bos") != 0,
                    Host.intAt(info, Host.MODEL_INFO, "has_memory") != 0,
                    Host.intAt(info, Host.MODEL_INFO, "n_swa"));
        }
    }

    /** The share, in bytes, of the matrices that a decode reads which are multiplied by our kernels. */
    public synchronized double products() {
        try {
            return (double) Host.eq_model_products$MH.invokeExact(address());
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_model_products", e);
        }
    }

    /** The model's own chat template. */
    public synchronized Optional<String> chatTemplate() {
        try {
            return Optional.ofNullable(
                    Host.text((MemorySegment) Host.eq_model_chat_template$MH.invokeExact(address())));
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_model_chat_template", e);
        }
    }

    /**
     * Tokens of a text taken by itself, without a beginning or end token.
     *
     * @param parseSpecial whether control tokens written out in the text become those tokens
     */
    public synchronized int[] tokenize(final String text, final boolean parseSpecial) {
        final byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
        // A token stands for at least one byte, but a tokenizer may put a space before the first.
        final int capacity = utf8.length + 2;
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment bytes = arena.allocate(JAVA_BYTE, utf8.length + 1L);
            MemorySegment.copy(utf8, 0, bytes, JAVA_BYTE, 0, utf8.length);
            final MemorySegment tokens = arena.allocate(JAVA_INT, capacity);
            final MemorySegment count = arena.allocate(JAVA_INT);
            final int status;
            try {
                status = (int) Host.eq_tokenize$MH.invokeExact(
                        address(), bytes, utf8.length, parseSpecial ? 1 : 0, tokens, capacity, count);
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_tokenize", e);
            }
            Host.check(status, name());
            return Host.ints(tokens, count.get(JAVA_INT, 0));
        }
    }

    /**
     * Writes tokens as rows that are read like them, {@code [tokens][width]}.
     *
     * @param to room for so many
     * @throws dev.equipoise.kernels.error.UnavailableException if of this architecture that is not known
     */
    synchronized void embeddings(final int[] tokens, final MemorySegment to) {
        try (Arena arena = Arena.ofConfined()) {
            final int status;
            try {
                status = (int) Host.eq_token_embeddings$MH.invokeExact(
                        address(), arena.allocateFrom(JAVA_INT, tokens), tokens.length, to);
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_token_embeddings", e);
            }
            Host.check(status, name());
        }
    }

    /** As {@link #embeddings(int[], MemorySegment)}. */
    public float[] embeddings(final int... tokens) {
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment rows = arena.allocate(JAVA_FLOAT, Math.max(1, (long) tokens.length * info().width()));
            embeddings(tokens, rows);
            return rows.asSlice(0, 4L * tokens.length * info().width()).toArray(JAVA_FLOAT);
        }
    }

    /**
     * The bytes of one token; may be part of a character.
     *
     * @param special whether control tokens are written out or empty
     */
    public synchronized byte[] bytes(final int token, final boolean special) {
        final int capacity = 512;
        try (Arena arena = Arena.ofConfined()) {
            final MemorySegment bytes = arena.allocate(JAVA_BYTE, capacity);
            final MemorySegment count = arena.allocate(JAVA_INT);
            final int status;
            try {
                status = (int) Host.eq_token_bytes$MH.invokeExact(
                        address(), token, special ? 1 : 0, bytes, capacity, count);
            } catch (final Throwable e) {
                throw NativeLibraries.unexpected("eq_token_bytes", e);
            }
            Host.check(status, name());
            return bytes.asSlice(0, count.get(JAVA_INT, 0)).toArray(JAVA_BYTE);
        }
    }

    /** Whether a token ends a turn. */
    public synchronized boolean ends(final int token) {
        try {
            return (int) Host.eq_token_ends$MH.invokeExact(address(), token) != 0;
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_token_ends", e);
        }
    }
}
