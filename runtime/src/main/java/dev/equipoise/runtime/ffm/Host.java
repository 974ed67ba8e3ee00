package dev.equipoise.runtime.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.kernels.error.UnavailableException;
import dev.equipoise.kernels.ffm.NativeLibraries;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.StructLayout;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.ref.WeakReference;

/** {@code equipoise.h}, symbol by symbol; see there for what each does. */
final class Host {
    /** The header this binding follows. */
    static final int ABI_VERSION = 11;
    /** Labels that keys can carry. */
    public static final int LABELS = 64;

    static final int OK = 0;
    static final int BAD_INPUT = 1;
    static final int UNAVAILABLE = 2;
    static final int INTERNAL = 3;
    static final int FULL = 4;

    static final int GATE_NONE = 0;
    static final int GATE_ENTROPY_ABOVE = 1;
    static final int GATE_CONFIDENCE_BELOW = 2;

    /** Words of 64 sequences each that say who shares a column. */
    static final int SHARER_WORDS = 4;

    /** Best tokens that a pick can report. */
    static final int TOP_MAX = 100;

    private static final SymbolLookup LIBRARY = load();
    private static final MethodHandle WEIGH = weighing();

    static final StructLayout MODEL_INFO = MemoryLayout.structLayout(
            MemoryLayout.sequenceLayout(128, JAVA_BYTE).withName("description"),
            MemoryLayout.sequenceLayout(64, JAVA_BYTE).withName("architecture"),
            JAVA_LONG.withName("n_params"),
            JAVA_INT.withName("n_layer"),
            JAVA_INT.withName("n_embd"),
            JAVA_INT.withName("n_embd_inp"),
            JAVA_INT.withName("n_vocab"),
            JAVA_INT.withName("n_ctx_train"),
            JAVA_INT.withName("n_pos_per_embd"),
            JAVA_INT.withName("bos"),
            JAVA_INT.withName("eos"),
            JAVA_INT.withName("add_bos"),
            JAVA_INT.withName("has_memory"),
            JAVA_INT.withName("n_head"),
            JAVA_INT.withName("n_swa"));

    static final StructLayout MEDIA_INFO = MemoryLayout.structLayout(
            JAVA_INT.withName("vision"), JAVA_INT.withName("audio"), JAVA_INT.withName("audio_sample_rate"));

    static final StructLayout CHUNK = MemoryLayout.structLayout(
            ADDRESS.withName("tokens"),
            ADDRESS.withName("embeddings"),
            ADDRESS.withName("positions"),
            ADDRESS.withName("saliency"),
            JAVA_DOUBLE.withName("delta"),
            JAVA_INT.withName("n_tokens"),
            JAVA_INT.withName("n_positions"),
            JAVA_INT.withName("non_causal"),
            JAVA_INT.withName("n_states"));

    static final StructLayout BLOCK_STATES = MemoryLayout.structLayout(
            ADDRESS.withName("values"),
            JAVA_INT.withName("layer"),
            JAVA_INT.withName("captured"),
            JAVA_INT.withName("n_positions"),
            JAVA_INT.withName("width"));

    static final StructLayout ENCODE_PARAMS = MemoryLayout.structLayout(
            JAVA_LONG.withName("noise_seed"),
            ADDRESS.withName("masked"),
            ADDRESS.withName("layers"),
            ADDRESS.withName("directions"),
            JAVA_FLOAT.withName("amount"),
            JAVA_INT.withName("noise_step"),
            JAVA_INT.withName("watch"),
            JAVA_INT.withName("masked_side"),
            JAVA_INT.withName("n_layers"),
            JAVA_INT.withName("n_positions"),
            JAVA_INT.withName("width"),
            JAVA_INT.withName("captured"));

    static final StructLayout CONTEXT_PARAMS = MemoryLayout.structLayout(
            JAVA_INT.withName("n_ctx"),
            JAVA_INT.withName("n_ubatch"),
            JAVA_INT.withName("n_seq_max"),
            JAVA_INT.withName("n_threads"),
            JAVA_INT.withName("kv_type"),
            JAVA_INT.withName("flash_attn"),
            JAVA_INT.withName("capture"),
            JAVA_INT.withName("draw"));

    static final StructLayout BATCH = MemoryLayout.structLayout(
            ADDRESS.withName("tokens"),
            ADDRESS.withName("embeddings"),
            ADDRESS.withName("positions"),
            ADDRESS.withName("sequences"),
            ADDRESS.withName("outputs"),
            ADDRESS.withName("active"),
            ADDRESS.withName("labels"),
            ADDRESS.withName("merge_weights"),
            ADDRESS.withName("columns"),
            ADDRESS.withName("sharers"),
            JAVA_INT.withName("n_tokens"),
            JAVA_INT.withName("non_causal"),
            JAVA_INT.withName("n_padding"),
            JAVA_INT.withName("reserved"));

    static final StructLayout INTERVENTION = MemoryLayout.structLayout(
            ADDRESS.withName("layers"),
            ADDRESS.withName("vectors"),
            ADDRESS.withName("heads"),
            ADDRESS.withName("dimensions"),
            JAVA_LONG.withName("labels"),
            JAVA_LONG.withName("other_labels"),
            JAVA_INT.withName("kind"),
            JAVA_INT.withName("n_layers"),
            JAVA_INT.withName("n_heads"),
            JAVA_INT.withName("n_dimensions"),
            JAVA_INT.withName("at"),
            JAVA_FLOAT.withName("amount"),
            JAVA_FLOAT.withName("parameter_0"),
            JAVA_FLOAT.withName("parameter_1"),
            JAVA_FLOAT.withName("parameter_2"),
            JAVA_INT.withName("reserved"));

    static final StructLayout INTERVENTION_REPORT = MemoryLayout.structLayout(
            JAVA_LONG.withName("columns"), JAVA_LONG.withName("applications"), JAVA_DOUBLE.withName("delta"));

    static final StructLayout PLACEMENT = MemoryLayout.structLayout(
            ADDRESS.withName("why"),
            JAVA_INT.withName("item"),
            JAVA_INT.withName("layer"),
            JAVA_INT.withName("on_device"),
            JAVA_INT.withName("reserved"));

    static final StructLayout GROUP = MemoryLayout.structLayout(
            ADDRESS.withName("sequences"),
            ADDRESS.withName("coefficients"),
            JAVA_INT.withName("n_branches"),
            JAVA_INT.withName("log_probabilities"),
            JAVA_FLOAT.withName("plausibility"),
            JAVA_INT.withName("after"),
            ADDRESS.withName("weigh"),
            JAVA_FLOAT.withName("cut_value"),
            JAVA_INT.withName("reserved"));

    static final StructLayout PICK = MemoryLayout.structLayout(
            ADDRESS.withName("sampler"),
            JAVA_INT.withName("column"),
            JAVA_INT.withName("group"),
            JAVA_INT.withName("n_top"),
            JAVA_INT.withName("gate"),
            JAVA_FLOAT.withName("gate_threshold"),
            JAVA_INT.withName("status"),
            JAVA_INT.withName("token"),
            JAVA_FLOAT.withName("log_probability"),
            JAVA_INT.withName("ends"),
            JAVA_INT.withName("n_bytes"),
            JAVA_INT.withName("gate_open"),
            JAVA_FLOAT.withName("gate_value"),
            JAVA_INT.withName("changed"),
            JAVA_INT.withName("reserved"),
            JAVA_DOUBLE.withName("delta_norm"),
            JAVA_LONG.withName("kept"),
            MemoryLayout.sequenceLayout(256, JAVA_BYTE).withName("bytes"));

    static final StructLayout SAMPLER_PARAMS = MemoryLayout.structLayout(
            JAVA_DOUBLE.withName("temperature"),
            JAVA_INT.withName("top_k"),
            MemoryLayout.paddingLayout(4),
            JAVA_DOUBLE.withName("top_p"),
            JAVA_DOUBLE.withName("min_p"),
            JAVA_DOUBLE.withName("repeat_penalty"),
            JAVA_INT.withName("repeat_window"),
            JAVA_INT.withName("seed"),
            ADDRESS.withName("grammar"),
            ADDRESS.withName("bias_tokens"),
            ADDRESS.withName("bias"),
            JAVA_INT.withName("n_bias"),
            MemoryLayout.paddingLayout(4),
            JAVA_DOUBLE.withName("frequency_penalty"),
            JAVA_DOUBLE.withName("presence_penalty"));

    static final MethodHandle eq_llama_version$MH = bind("eq_llama_version", FunctionDescriptor.of(ADDRESS));
    static final MethodHandle eq_patch_hash$MH = bind("eq_patch_hash", FunctionDescriptor.of(ADDRESS));
    static final MethodHandle eq_last_error$MH = bind("eq_last_error", FunctionDescriptor.of(ADDRESS));
    static final MethodHandle eq_start$MH = bind("eq_start", FunctionDescriptor.of(JAVA_INT, ADDRESS));
    static final MethodHandle eq_cpu_variant$MH = bind("eq_cpu_variant", FunctionDescriptor.of(ADDRESS));
    static final MethodHandle eq_cpu_features$MH = bind("eq_cpu_features", FunctionDescriptor.of(ADDRESS));
    static final MethodHandle eq_products$MH = bind("eq_products", FunctionDescriptor.of(ADDRESS));
    static final MethodHandle eq_gpu_name$MH = bind("eq_gpu_name", FunctionDescriptor.of(ADDRESS, JAVA_INT));
    static final MethodHandle eq_log_next$MH =
            bind("eq_log_next", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT));
    static final MethodHandle eq_live_objects$MH = bind("eq_live_objects", FunctionDescriptor.of(JAVA_LONG));

    static final MethodHandle eq_model_open$MH =
            bind("eq_model_open", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, ADDRESS));
    static final MethodHandle eq_model_close$MH = bind("eq_model_close", FunctionDescriptor.ofVoid(ADDRESS));
    static final MethodHandle eq_model_describe$MH =
            bind("eq_model_describe", FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS));
    static final MethodHandle eq_model_products$MH =
            bind("eq_model_products", FunctionDescriptor.of(JAVA_DOUBLE, ADDRESS));
    static final MethodHandle eq_model_chat_template$MH =
            bind("eq_model_chat_template", FunctionDescriptor.of(ADDRESS, ADDRESS));
    static final MethodHandle eq_token_embeddings$MH = bind(
            "eq_token_embeddings", FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, JAVA_INT, ADDRESS));
    static final MethodHandle eq_tokenize$MH = bind(
            "eq_tokenize",
            FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, JAVA_INT, JAVA_INT, ADDRESS, JAVA_INT, ADDRESS));
    static final MethodHandle eq_token_bytes$MH = bind(
            "eq_token_bytes",
            FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT, ADDRESS, JAVA_INT, ADDRESS));

    static final MethodHandle eq_token_ends$MH =
            bind("eq_token_ends", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT));

    static final MethodHandle eq_media_open$MH =
            bind("eq_media_open", FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, JAVA_INT, JAVA_INT, ADDRESS));
    static final MethodHandle eq_media_close$MH = bind("eq_media_close", FunctionDescriptor.ofVoid(ADDRESS));
    static final MethodHandle eq_media_describe$MH =
            bind("eq_media_describe", FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS));
    static final MethodHandle eq_media_encode$MH = bind(
            "eq_media_encode",
            FunctionDescriptor.of(
                    JAVA_INT, ADDRESS, JAVA_INT, ADDRESS, JAVA_LONG, JAVA_INT, JAVA_INT, ADDRESS, ADDRESS));
    static final MethodHandle eq_encoding_close$MH = bind("eq_encoding_close", FunctionDescriptor.ofVoid(ADDRESS));
    static final MethodHandle eq_encoding_chunks$MH =
            bind("eq_encoding_chunks", FunctionDescriptor.of(JAVA_INT, ADDRESS));
    static final MethodHandle eq_encoding_chunk$MH =
            bind("eq_encoding_chunk", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, ADDRESS));
    static final MethodHandle eq_encoding_states$MH = bind(
            "eq_encoding_states", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT, ADDRESS));

    static final MethodHandle eq_context_open$MH =
            bind("eq_context_open", FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, ADDRESS));
    static final MethodHandle eq_context_close$MH = bind("eq_context_close", FunctionDescriptor.ofVoid(ADDRESS));
    static final MethodHandle eq_context_draws_in_graph$MH =
            bind("eq_context_draws_in_graph", FunctionDescriptor.of(JAVA_INT, ADDRESS));
    static final MethodHandle eq_context_rows_read$MH =
            bind("eq_context_rows_read", FunctionDescriptor.of(JAVA_LONG, ADDRESS));
    static final MethodHandle eq_context_flash_attn$MH =
            bind("eq_context_flash_attn", FunctionDescriptor.of(JAVA_INT, ADDRESS));
    static final MethodHandle eq_sequence_copy$MH =
            bind("eq_sequence_copy", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT, JAVA_INT));
    static final MethodHandle eq_sequence_remove$MH =
            bind("eq_sequence_remove", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT));
    static final MethodHandle eq_interventions_set$MH = bind(
            "eq_interventions_set", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, ADDRESS, JAVA_INT));
    static final MethodHandle eq_attention_read$MH = bind(
            "eq_attention_read",
            FunctionDescriptor.of(
                    JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT, JAVA_INT, ADDRESS, JAVA_INT, ADDRESS, JAVA_INT, ADDRESS));
    static final MethodHandle eq_states_read$MH = bind(
            "eq_states_read",
            FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT, JAVA_INT, ADDRESS, ADDRESS));
    static final MethodHandle eq_context_heads$MH =
            bind("eq_context_heads", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT));
    static final MethodHandle eq_interventions_report$MH = bind(
            "eq_interventions_report", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, ADDRESS, JAVA_INT));
    static final MethodHandle eq_merge_report$MH =
            bind("eq_merge_report", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, ADDRESS));
    static final MethodHandle eq_merge_set$MH =
            bind("eq_merge_set", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, JAVA_INT, JAVA_INT));
    static final MethodHandle eq_context_placements$MH = bind(
            "eq_context_placements",
            FunctionDescriptor.of(
                    JAVA_INT, ADDRESS, ADDRESS, JAVA_INT, JAVA_INT, ADDRESS, JAVA_INT, ADDRESS, ADDRESS));
    static final MethodHandle eq_decode$MH = bind(
            "eq_decode",
            FunctionDescriptor.of(
                    JAVA_INT, ADDRESS, ADDRESS, ADDRESS, JAVA_INT, ADDRESS, JAVA_INT, ADDRESS, ADDRESS));
    static final MethodHandle eq_logits$MH =
            bind("eq_logits", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, ADDRESS));
    static final MethodHandle eq_capture_read$MH =
            bind("eq_capture_read", FunctionDescriptor.of(JAVA_INT, ADDRESS, JAVA_INT, ADDRESS, JAVA_LONG, ADDRESS));

    static final MethodHandle eq_sampler_open$MH =
            bind("eq_sampler_open", FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, ADDRESS));
    static final MethodHandle eq_sampler_close$MH = bind("eq_sampler_close", FunctionDescriptor.ofVoid(ADDRESS));

    private Host() {}

    private static SymbolLookup load() {
        final SymbolLookup library = NativeLibraries.load("equipoise");
        NativeLibraries.requireVersion(library, "equipoise", "eq_abi_version", ABI_VERSION);
        return library;
    }

    private static MethodHandle bind(final String symbol, final FunctionDescriptor descriptor) {
        return NativeLibraries.handle(LIBRARY, symbol, descriptor);
    }

    /**
     * What {@code eq_group.weigh} calls: {@link StepBuffer#weigh}.
     *
     * @param arena owns it; it keeps no hold of the buffer, which holds the arena
     */
    static MemorySegment weigh(final StepBuffer buffer, final Arena arena) {
        return NativeLibraries.callee(
                MethodHandles.insertArguments(WEIGH, 0, new WeakReference<>(buffer)),
                FunctionDescriptor.ofVoid(JAVA_INT, ADDRESS),
                arena);
    }

    private static void weigh(
            final WeakReference<StepBuffer> buffer, final int group, final MemorySegment entropies) {
        // It is in the middle of a decode, so it is there.
        buffer.get().weigh(group, entropies);
    }

    private static MethodHandle weighing() {
        try {
            return MethodHandles.lookup().findStatic(
                    Host.class,
                    "weigh",
                    MethodType.methodType(void.class, WeakReference.class, int.class, MemorySegment.class));
        } catch (final ReflectiveOperationException e) {
            throw new AssertionError("a method of this class", e);
        }
    }

    /** Byte offset of a struct's field. */
    static long offset(final StructLayout struct, final String field) {
        return struct.byteOffset(MemoryLayout.PathElement.groupElement(field));
    }

    /** A field of type int. */
    static int intAt(final MemorySegment struct, final StructLayout layout, final String field) {
        return struct.get(JAVA_INT, offset(layout, field));
    }

    /** The zero-terminated text a native function returned, or null. */
    static String text(final MemorySegment pointer) {
        return pointer.equals(MemorySegment.NULL)
                ? null
                : pointer.reinterpret(Long.MAX_VALUE).getString(0);
    }

    /** The text that a function without arguments returns. */
    static String textOf(final MethodHandle function, final String symbol) {
        try {
            return text((MemorySegment) function.invokeExact());
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected(symbol, e);
        }
    }

    /**
     * Turns a status into its typed error.
     *
     * @param status what the function returned
     * @param where the object or argument to name
     */
    static void check(final int status, final String where) {
        check(status, where, "correct the input");
    }

    /**
     * Turns a status into its typed error.
     *
     * @param status what the function returned
     * @param where the object or argument to name
     * @param remedy what helps when it is the caller's input that is wrong
     */
    static void check(final int status, final String where, final String remedy) {
        if (status == OK) {
            return;
        }
        final String what = textOf(eq_last_error$MH, "eq_last_error");
        NativeLog.drain();
        throw switch (status) {
            case BAD_INPUT -> new BadInputException(what, where, remedy);
            case FULL -> new BadInputException(what, where, "open the engine with a larger context (--ctx)");
            case UNAVAILABLE -> new UnavailableException(what, where, "see `equipoise doctor`");
            default -> new InternalException(what, where, "report this with the model and the log");
        };
    }

    /** A pointer-sized cell for an out-parameter. */
    static MemorySegment cell(final Arena arena) {
        return arena.allocate(ADDRESS);
    }

    /** A fixed-size text field. */
    static String textAt(final MemorySegment struct, final StructLayout layout, final String field) {
        return struct.getString(offset(layout, field));
    }

    /** Copies ints from a native array. */
    static int[] ints(final MemorySegment pointer, final long count) {
        return pointer.reinterpret(count * ValueLayout.JAVA_INT.byteSize()).toArray(JAVA_INT);
    }

    /** Copies floats from a native array. */
    static float[] floats(final MemorySegment pointer, final long count) {
        return pointer.reinterpret(count * ValueLayout.JAVA_FLOAT.byteSize()).toArray(JAVA_FLOAT);
    }
}
