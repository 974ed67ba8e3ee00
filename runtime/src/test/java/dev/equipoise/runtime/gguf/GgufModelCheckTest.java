package dev.equipoise.runtime.gguf;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Each case names the abort it prevents by the message it expects. */
class GgufModelCheckTest {
    @TempDir
    Path directory;

    private GgufFile text;
    private GgufFile mmproj;

    @BeforeEach
    void write() {
        text = GgufFile.read(TinyModels.llama(directory.resolve("text.gguf"), 1, 2, 32, 4, 2, 64, 300));
        mmproj = GgufFile.read(TinyModels.mmproj(directory.resolve("mmproj.gguf"), 1, 16, 16, 32));
    }

    /** A file with some entries of another changed; null values remove keys. */
    private GgufFile edited(final GgufFile file, final Map<String, GgufValue> changes,
            final Consumer<List<GgufTensor>> tensorChanges) {
        final Map<String, GgufValue> metadata = new LinkedHashMap<>(file.metadata());
        changes.forEach((key, value) -> {
            if (value == null) {
                metadata.remove(key);
            } else {
                metadata.put(key, value);
            }
        });
        final List<GgufTensor> tensors = new ArrayList<>(file.tensors());
        tensorChanges.accept(tensors);
        final GgufWriter writer = new GgufWriter().putAll(metadata);
        for (final GgufTensor tensor : tensors) {
            writer.tensor(tensor.name(), tensor.type(), tensor.shape(),
                    (t, out) -> out.write(new byte[Math.toIntExact(t.bytes())]));
        }
        final Path path = directory.resolve("edited.gguf");
        writer.write(path);
        return GgufFile.read(path);
    }

    private GgufFile with(final GgufFile file, final String key, final GgufValue value) {
        final Map<String, GgufValue> change = new LinkedHashMap<>();
        change.put(key, value);
        return edited(file, change, tensors -> { });
    }

    private void refused(final String message, final String key, final GgufValue value) {
        final boolean isMmproj = key.startsWith("clip.");
        final GgufFile file = with(isMmproj ? mmproj : text, key, value);
        refusedFile(message, file, isMmproj);
    }

    private void refusedTensors(final String message, final GgufFile file, final Consumer<List<GgufTensor>> change) {
        final GgufFile changed = edited(file, Map.of(), change);
        refusedFile(message, changed, file == mmproj);
    }

    private static void refusedFile(final String message, final GgufFile file, final boolean isMmproj) {
        final BadInputException e = assertThrows(BadInputException.class,
                () -> assertNotNull(isMmproj ? GgufModelCheck.mmproj(file) : GgufModelCheck.text(file)));
        assertTrue(e.getMessage().contains(message), e.getMessage());
    }

    private static Consumer<List<GgufTensor>> replace(final String name, final GgmlType type, final long... shape) {
        return tensors -> tensors.replaceAll(
                t -> t.name().equals(name) ? new GgufTensor(name, type, shape, 0) : t);
    }

    private static GgufValue u32(final long value) {
        return GgufValue.u32(value);
    }

    @Test
    void tinyModelsPass() {
        final TextModel model = GgufModelCheck.text(text);
        final Mmproj projector = GgufModelCheck.mmproj(mmproj, model);

        assertEquals(new TextModel("llama", 512, 32, 2, 4, 2, 8, 8, 64, 300, 0, 0, 0), model);
        assertEquals(new Mmproj.Vision(32, 8, 16, 16, 16, 1), projector.vision().orElseThrow());
        assertEquals(30, projector.audio().orElseThrow().tokens());
        // A rewritten copy is still the same model: what follows fails for its change alone.
        assertEquals(model, GgufModelCheck.text(with(text, "general.name", GgufValue.text("copy"))));
    }

    @ParameterizedTest
    @ValueSource(strings = {"mamba", "rwkv7", "jamba", "granitehybrid", "lfm2", "qwen3next"})
    void recurrentAndHybridModelsAreRefusedByName(final String architecture) {
        refused("architecture '" + architecture + "' is ", "general.architecture", GgufValue.text(architecture));
        refused("recurrent", "general.architecture", GgufValue.text(architecture));
    }

    @ParameterizedTest
    @ValueSource(strings = {"bloom", "mpt", "jais", "refact", "baichuan"})
    void alibiModelsAreRefusedByName(final String architecture) {
        refused("architecture '" + architecture + "' uses ALiBi", "general.architecture", GgufValue.text(architecture));
    }

    @Test
    void otherArchitecturesAreRefused() {
        refused("unknown architecture 'falcon'", "general.architecture", GgufValue.text("falcon"));
        refused("unknown architecture ''", "general.architecture", GgufValue.text(""));
        refused("is an encoder", "general.architecture", GgufValue.text("bert"));
        refused("missing key 'general.architecture'", "general.architecture", null);
        assertThrows(BadInputException.class, () -> GgufModelCheck.text(mmproj));
        assertThrows(BadInputException.class, () -> GgufModelCheck.mmproj(text));
    }

    @Test
    void hyperparametersOutOfRangeAreRefused() {
        refused("block_count' is 0", "llama.block_count", u32(0));
        refused("block_count' is 513", "llama.block_count", u32(513));
        refused("'blk.2.attn_norm.weight' is missing", "llama.block_count", u32(3));
        refused("unexpected tensor 'blk.1.", "llama.block_count", u32(1));
        refused("is not a u32", "llama.block_count", GgufValue.i32(2));
        refused("missing key", "llama.context_length", null);
        refused("4 heads cannot share 3", "llama.attention.head_count_kv", u32(3));
        refused("head_count_kv' is 0", "llama.attention.head_count_kv", u32(0));
        refused("head_count' is 0", "llama.attention.head_count", u32(0));
        refused("keys and values differ", "llama.attention.key_length", u32(16));
        refused("6 rotated elements", "llama.rope.dimension_count", u32(6));
        refused("key 'llama.rope.freq_base' is NaN", "llama.rope.freq_base", GgufValue.f32(Float.NaN));
        refused("unknown rope scaling 'odd'", "llama.rope.scaling.type", GgufValue.text("odd"));
        refused("epsilon' is -1.0", "llama.attention.layer_norm_rms_epsilon", GgufValue.f32(-1));
        refused("not causal", "llama.attention.causal", GgufValue.bool(false));
        refused("nextn_predict_layers' is 1", "llama.nextn_predict_layers", u32(1));
        refused("pooling_type' is 3", "llama.pooling_type", u32(3));
        refused("expert_used_count' is 2", "llama.expert_used_count", u32(2));
        refused("missing key 'llama.expert_used_count'", "llama.expert_count", u32(8));
        refused("differs between layers", "llama.attention.head_count", GgufValue.i32s(4, 2));
        refused("2 numbers, one for each layer", "llama.feed_forward_length", GgufValue.i32s(64));
        refused("one part of a split model", "split.count", new GgufValue.Whole(GgufValue.Type.U16, 2));
        refused("is not a string", "general.name", u32(1));
    }

    @Test
    void brokenVocabulariesAreRefused() {
        final List<String> tokens = new ArrayList<>(text.strings("tokenizer.ggml.tokens"));
        refused("unknown tokenizer 'rwkv'", "tokenizer.ggml.model", GgufValue.text("rwkv"));
        refused("unsupported pre-tokenizer 'odd'", "tokenizer.ggml.pre", GgufValue.text("odd"));
        refused("missing key 'tokenizer.ggml.merges'", "tokenizer.ggml.merges", null);
        refused("is not an array of strings", "tokenizer.ggml.tokens", GgufValue.i32s(1, 2));
        refused("shape [32, 300], expected [32, 299]", "tokenizer.ggml.tokens",
                GgufValue.texts(tokens.subList(0, 299)));
        refused("not an array of 300", "tokenizer.ggml.scores", GgufValue.f32s(1, 2));
        refused("not an array of 300", "tokenizer.ggml.token_type", GgufValue.i32s(1, 2));
        refused("is not a u32", "tokenizer.ggml.eos_token_id", GgufValue.i32(-1));
        refused("is not a bool", "tokenizer.ggml.add_bos_token", u32(1));
        // SPM falls back to byte tokens, and throws if one is missing.
        refused("no token for byte 0", "tokenizer.ggml.model", GgufValue.text("llama"));

        tokens.set(299, tokens.get(280));
        refused("is there twice", "tokenizer.ggml.tokens", GgufValue.texts(tokens));
        tokens.set(299, tokens.get(280) + "\0anything");
        refused("is there twice", "tokenizer.ggml.tokens", GgufValue.texts(tokens));
        tokens.set(298, "");
        tokens.set(299, "[EMPTY_298]");
        refused("is there twice", "tokenizer.ggml.tokens", GgufValue.texts(tokens));
        tokens.set(299, "<0xZZ>");
        final int[] types = new int[300];
        types[299] = 6;
        final GgufFile broken = edited(text, Map.of("tokenizer.ggml.tokens", GgufValue.texts(tokens),
                "tokenizer.ggml.token_type", GgufValue.i32s(types)), tensors -> { });
        assertThrows(BadInputException.class, () -> GgufModelCheck.text(broken));
    }

    @Test
    void bosAndEosMustExistWhereTheyAreAdded() {
        final GgufFile tiny = edited(text, Map.of("tokenizer.ggml.tokens", GgufValue.texts(List.of("a", "b", "c"))),
                tensors -> tensors.replaceAll(t -> t.extent(1) == 300
                        ? new GgufTensor(t.name(), t.type(), new long[] {32, 3}, 0) : t));
        final BadInputException e = assertThrows(BadInputException.class, () -> GgufModelCheck.text(tiny));

        assertTrue(e.getMessage().contains("BOS"), e.getMessage());
    }

    @Test
    void tensorsThatDoNotFitAreRefused() {
        refusedTensors("'output_norm.weight' is missing", text,
                tensors -> tensors.removeIf(t -> t.name().equals("output_norm.weight")));
        refusedTensors("expected [32, 32]", text, replace("blk.0.attn_q.weight", GgmlType.F32, 32, 64));
        refusedTensors("stored as F16", text, replace("blk.1.attn_norm.weight", GgmlType.F16, 32));
        refusedTensors("stored as I32", text, replace("token_embd.weight", GgmlType.I32, 32, 300));
        refusedTensors("stored as Q8_1", text, replace("blk.0.ffn_up.weight", GgmlType.Q8_1, 32, 64));
        refusedTensors("unexpected tensor 'blk.0.attn_q.scale'", text,
                tensors -> tensors.add(new GgufTensor("blk.0.attn_q.scale", GgmlType.F32, new long[] {1}, 0)));
        refusedTensors("unexpected tensor 'rope_factors_long.weight'", text,
                tensors -> tensors.add(new GgufTensor("rope_factors_long.weight", GgmlType.F32, new long[] {4}, 0)));
        // A tied head and frequency factors are optional; both must still fit.
        GgufModelCheck.text(edited(text, Map.of(), tensors -> tensors.removeIf(t -> t.name().equals("output.weight"))));
        refusedTensors("expected [4]", text,
                tensors -> tensors.add(new GgufTensor("rope_freqs.weight", GgmlType.F32, new long[] {8}, 0)));
    }

    @Test
    void projectorKeysAreChecked() {
        refused("vision projector type 'ldp' is not among those tested", "clip.vision.projector_type",
                GgufValue.text("ldp"));
        refused("audio projector type 'qwen2a'", "clip.audio.projector_type", GgufValue.text("qwen2a"));
        refused("one projector type for both", "clip.projector_type", GgufValue.text("mlp"));
        refused("speech generator", "clip.has_gen_audio_encoder", GgufValue.bool(true));
        refused("unexpected tensor 'v.", "clip.has_vision_encoder", GgufValue.bool(false));
        refused("is not a bool", "clip.use_gelu", u32(1));
        refused("two activation functions", "clip.use_silu", GgufValue.bool(true));
        refused("cannot be cut into patches", "clip.vision.image_size", u32(33));
        refused("image_size' is 0", "clip.vision.image_size", u32(0));
        refused("16 position embeddings for 64 patches", "clip.vision.image_size", u32(64));
        refused("cannot be cut into patches", "clip.vision.patch_size", u32(5));
        refused("expected [4, 4, 3, 16]", "clip.vision.patch_size", u32(4));
        refused("three channels", "clip.vision.image_mean", GgufValue.f32s(0.5f, 0.5f));
        refused("cannot normalise", "clip.vision.image_std", GgufValue.f32s(1, 0, 1));
        refused("3 vision heads do not divide", "clip.vision.attention.head_count", u32(3));
        refused("head_count_kv' is 1", "clip.vision.attention.head_count_kv", u32(1));
        refused("block_count' is 0", "clip.audio.block_count", u32(0));
        refused("num_mel_bins' is 257", "clip.audio.num_mel_bins", u32(257));
        refused("expected [3, 41, 16]", "clip.audio.num_mel_bins", u32(41));
        refused("stack_factor' is 0", "clip.audio.projector.stack_factor", u32(0));
        refused("cannot stack 8 frames", "clip.audio.projector.stack_factor", u32(8));
        refused("missing key 'clip.audio.projector.stack_factor'", "clip.audio.projector.stack_factor", null);
        refused("not supported", "clip.vision.image_grid_pinpoints", GgufValue.i32s(336, 672));
        refused("not supported", "clip.vision.feature_layer", GgufValue.i32s(1));
        refused("not supported", "clip.vision.mm_patch_merge_type", GgufValue.text("spatial_unpad"));
    }

    @Test
    void projectorTensorsAreChecked() {
        refusedTensors("no tensor 'mm.2.weight'", mmproj,
                tensors -> tensors.replaceAll(t -> t.name().equals("mm.2.weight")
                        ? new GgufTensor("mm.4.weight", t.type(), t.shape(), 0) : t));
        refusedTensors("unexpected tensor 'v.blk.0.ls1.weight'", mmproj,
                tensors -> tensors.add(new GgufTensor("v.blk.0.ls1.weight", GgmlType.F32, new long[] {16}, 0)));
        refusedTensors("unexpected tensor 'a.blk.0.attn_k.bias'", mmproj,
                tensors -> tensors.add(new GgufTensor("a.blk.0.attn_k.bias", GgmlType.F32, new long[] {16}, 0)));
        refusedTensors("1499 position embeddings", mmproj, replace("a.position_embd.weight", GgmlType.F32, 16, 1499));
        refusedTensors("norm 'v.blk.1.ln1' is missing", mmproj,
                tensors -> tensors.removeIf(t -> t.name().equals("v.blk.1.ln1.bias")));
        refusedTensors("stored as BF16", mmproj, replace("v.patch_embd.weight", GgmlType.BF16, 8, 8, 3, 16));
        refusedTensors("expected [32]", mmproj, replace("mm.2.bias", GgmlType.F32, 33));
    }

    @Test
    void aProjectorOfAnotherWidthIsRefused() {
        final TextModel model = GgufModelCheck.text(text);
        final GgufFile wide = GgufFile.read(TinyModels.mmproj(directory.resolve("wide.gguf"), 1, 16, 16, 64));
        final BadInputException e = assertThrows(BadInputException.class, () -> GgufModelCheck.mmproj(wide, model));

        assertTrue(e.getMessage().contains("64"), e.getMessage());
    }

    @Test
    void oneEncoderIsEnough() {
        final Path vision = TinyModels.mmproj(directory.resolve("vision.gguf"), 1, 16, 0, 32);
        final Path audio = TinyModels.mmproj(directory.resolve("audio.gguf"), 1, 0, 16, 32);

        assertTrue(GgufModelCheck.mmproj(GgufFile.read(vision)).audio().isEmpty());
        assertTrue(GgufModelCheck.mmproj(GgufFile.read(audio)).vision().isEmpty());
    }
}
