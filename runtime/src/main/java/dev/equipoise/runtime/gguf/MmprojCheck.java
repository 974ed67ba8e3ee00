package dev.equipoise.runtime.gguf;

import static dev.equipoise.runtime.gguf.TensorTable.Use.KERNEL;
import static dev.equipoise.runtime.gguf.TensorTable.Use.MATRIX;
import static dev.equipoise.runtime.gguf.TensorTable.Use.VECTOR;

import java.util.Optional;

/**
 * Checks a multimodal projector: pictures through {@code mlp} (LLaVA 1.5), sound through {@code ultravox}, or both.
 *
 * <p>libmtmd asserts the type of every key it reads and holds some 300 asserts on shapes; optional tensors of other
 * projector types change its graphs silently. So keys are compared one by one and unknown tensors are refused.
 */
final class MmprojCheck {
    private static final int MAX_LAYERS = 128;
    private static final int MAX_IMAGE_SIZE = 4096;
    private static final int MAX_PATCHES = 1 << 14;
    private static final int MAX_MEL_BINS = 256;
    /** Spectrogram frames of a window of 30 s, and what the strided convolution leaves of them. */
    private static final int MEL_FRAMES = 3000;
    private static final int AUDIO_FRAMES = MEL_FRAMES / 2;

    private final GgufFile file;
    private final Hyperparameters keys;
    private final TensorTable tensors;

    MmprojCheck(final GgufFile file) {
        this.file = file;
        this.keys = new Hyperparameters(file, "clip.");
        this.tensors = new TensorTable(file);
    }

    Mmproj check() {
        final Hyperparameters general = new Hyperparameters(file, "general.");
        general.text("name", "");
        general.text("description", "");
        final boolean hasVision = keys.flag("has_vision_encoder");
        final boolean hasAudio = keys.flag("has_audio_encoder");
        if (keys.flag("has_gen_audio_encoder")) {
            throw file.bad("it holds a speech generator, which is not supported");
        }
        if (!hasVision && !hasAudio) {
            throw file.bad("neither a picture nor a sound encoder");
        }
        if (hasVision && hasAudio && !keys.text("projector_type", "").isEmpty()) {
            throw file.bad("one projector type for both pictures and sound");
        }
        if (keys.flag("use_gelu") && keys.flag("use_silu")) {
            throw file.bad("two activation functions at once");
        }
        oddities();
        final Optional<Mmproj.Vision> vision = hasVision ? Optional.of(vision()) : Optional.empty();
        final Optional<Mmproj.Audio> audio = hasAudio ? Optional.of(audio()) : Optional.empty();
        final int width = hasVision ? width("mm.2.weight") : width("mm.a.mlp.2.weight");
        if (hasVision) {
            visionProjector(width);
        }
        if (hasAudio) {
            audioProjector(width, audio.orElseThrow().stackFactor());
        }
        tensors.refuseOthers();
        return new Mmproj(width, vision, audio);
    }

    /** Keys that libmtmd reads for all projector types. */
    private void oddities() {
        keys.number("minicpmv_query_num", 0, 0, 0);
        if (keys.has("minicpmv_version") || nonEmpty("vision.image_grid_pinpoints") || nonEmpty("vision.feature_layer")
                || nonEmpty("audio.feature_layer")) {
            throw file.bad("tiled pictures, chosen feature layers and MiniCPM-V are not supported");
        }
        final String merge = keys.text("vision.mm_patch_merge_type", "flat");
        if (!merge.equals("flat")) {
            throw file.bad("patch merge type '" + merge + "' is not supported");
        }
    }

    private boolean nonEmpty(final String name) {
        return keys.has(name) && !(file.metadata().get(keys.key(name)) instanceof GgufValue.Wholes numbers
                && numbers.type() == GgufValue.Type.I32 && numbers.size() == 0);
    }

    private void projectorType(final String modality, final String supported) {
        final String common = keys.text("projector_type", "");
        final String type = common.isEmpty() ? file.string(keys.key(modality + ".projector_type")) : common;
        if (!type.equals(supported)) {
            throw file.bad(modality + " projector type '" + type + "' is not among those tested ('" + supported + "')");
        }
    }

    private record Encoder(int width, int heads, int feedForward, int layers) {
    }

    private Encoder encoder(final String modality) {
        final int width = keys.number(modality + ".embedding_length", 1, 1 << 16);
        final int heads = keys.number(modality + ".attention.head_count", 1, width);
        if (width % heads != 0) {
            throw file.bad(heads + " " + modality + " heads do not divide a width of " + width);
        }
        keys.number(modality + ".attention.head_dim", width / heads, width / heads, 1);
        keys.number(modality + ".attention.head_count_kv", heads, heads, heads);
        keys.required(modality + ".attention.layer_norm_epsilon", 0, 1);
        keys.number(modality + ".projection_dim", 0, Integer.MAX_VALUE);
        return new Encoder(width, heads, keys.number(modality + ".feed_forward_length", 1, 1 << 20),
                keys.number(modality + ".block_count", 1, MAX_LAYERS));
    }

    private Mmproj.Vision vision() {
        projectorType("vision", "mlp");
        final Encoder encoder = encoder("vision");
        final int size = keys.number("vision.image_size", 1, MAX_IMAGE_SIZE);
        final int patch = keys.number("vision.patch_size", 1, size);
        final int patches = size / patch * (size / patch);
        if (size % patch != 0 || patches > MAX_PATCHES) {
            throw file.bad("pictures of " + size + " pixels cannot be cut into patches of " + patch);
        }
        normalisation();

        final long width = encoder.width();
        final boolean hasClass = tensors.optional("v.class_embd", VECTOR, width);
        tensors.required("v.patch_embd.weight", KERNEL, patch, patch, 3, width);
        tensors.optional("v.patch_embd.bias", VECTOR, width);
        final int positions = patches + (hasClass ? 1 : 0);
        final long rows = file.tensor("v.position_embd.weight").extent(1);
        if (rows < positions) {
            throw file.bad(rows + " position embeddings for " + positions + " patches");
        }
        tensors.required("v.position_embd.weight", KERNEL, width, rows);
        norm("v.pre_ln", width, false);
        norm("v.post_ln", width, false);
        for (int i = 0; i < encoder.layers(); i++) {
            final String block = "v.blk." + i + ".";
            attention(block, encoder);
            tensors.optional(block + "attn_k.bias", VECTOR, width);
            tensors.optional(block + "attn_q.bias", VECTOR, width);
            tensors.optional(block + "attn_v.bias", VECTOR, width);
            feedForward(block, encoder, swapped(block, width));
        }
        return new Mmproj.Vision(size, patch, patches, encoder.width(), positions, encoder.layers() - 1);
    }

    private void normalisation() {
        final float[] mean = file.floats(keys.key("vision.image_mean"));
        final float[] deviation = file.floats(keys.key("vision.image_std"));
        if (mean.length != 3 || deviation.length != 3) {
            throw file.bad("mean and deviation of pixels do not have three channels");
        }
        for (int i = 0; i < 3; i++) {
            if (!Float.isFinite(mean[i]) || !(deviation[i] > 0) || !Float.isFinite(deviation[i])) {
                throw file.bad("mean " + mean[i] + " and deviation " + deviation[i] + " cannot normalise pixels");
            }
        }
    }

    // Old files name the feed-forward matrices the other way round; libmtmd tells by the down matrix, and so do we.
    private boolean swapped(final String block, final long width) {
        return file.tensor(block + "ffn_down.weight").extent(0) == width;
    }

    private Mmproj.Audio audio() {
        projectorType("audio", "ultravox");
        final Encoder encoder = encoder("audio");
        final int bins = keys.number("audio.num_mel_bins", 1, MAX_MEL_BINS);
        final int stack = keys.number("audio.projector.stack_factor", 1, AUDIO_FRAMES);
        final int tokens = stackedTokens(encoder.width(), stack);

        final long width = encoder.width();
        tensors.required("a.conv1d.1.weight", KERNEL, 3, bins, width)
                .required("a.conv1d.1.bias", VECTOR, 1, width)
                .required("a.conv1d.2.weight", KERNEL, 3, width, width)
                .required("a.conv1d.2.bias", VECTOR, 1, width);
        final long rows = file.tensor("a.position_embd.weight").extent(1);
        if (rows < AUDIO_FRAMES) {
            throw file.bad(rows + " position embeddings for " + AUDIO_FRAMES + " frames of sound");
        }
        tensors.required("a.position_embd.weight", VECTOR, width, rows);
        norm("a.pre_ln", width, false);
        norm("a.post_ln", width, false);
        for (int i = 0; i < encoder.layers(); i++) {
            final String block = "a.blk." + i + ".";
            attention(block, encoder);
            tensors.required(block + "attn_q.bias", VECTOR, width).required(block + "attn_v.bias", VECTOR, width);
            feedForward(block, encoder, false);
        }
        return new Mmproj.Audio(bins, stack, tokens);
    }

    /**
     * Embeddings per window of sound.
     *
     * <p>libmtmd computes this twice and aborts when the two differ: once by division, once from a length padded with
     * a bit trick that is only right for powers of two. Both are repeated here as they stand.
     */
    private int stackedTokens(final int width, final int stack) {
        final int announced = (MEL_FRAMES + stack - 1) / stack / 2;
        final long elements = (long) AUDIO_FRAMES * width;
        final long stride = (long) width * stack;
        final long built = stack == 1 ? AUDIO_FRAMES : (elements + stride - 1 & -stride) / stride;
        if (announced < 1 || built != announced) {
            throw file.bad("libmtmd cannot stack " + stack + " frames of width " + width);
        }
        return announced;
    }

    private void attention(final String block, final Encoder encoder) {
        final long width = encoder.width();
        norm(block + "ln1", width, true);
        norm(block + "ln2", width, true);
        tensors.required(block + "attn_q.weight", MATRIX, width, width)
                .required(block + "attn_k.weight", MATRIX, width, width)
                .required(block + "attn_v.weight", MATRIX, width, width)
                .required(block + "attn_out.weight", MATRIX, width, width);
        tensors.optional(block + "attn_out.bias", VECTOR, width);
    }

    private void feedForward(final String block, final Encoder encoder, final boolean swapped) {
        final String up = block + (swapped ? "ffn_down" : "ffn_up");
        final String down = block + (swapped ? "ffn_up" : "ffn_down");
        tensors.required(up + ".weight", MATRIX, encoder.width(), encoder.feedForward())
                .required(down + ".weight", MATRIX, encoder.feedForward(), encoder.width());
        tensors.optional(up + ".bias", VECTOR, encoder.feedForward());
        tensors.optional(down + ".bias", VECTOR, encoder.width());
    }

    private void norm(final String name, final long width, final boolean required) {
        final boolean weight = tensors.optional(name + ".weight", VECTOR, width);
        final boolean bias = tensors.optional(name + ".bias", VECTOR, width);
        if (weight != bias || required && !weight) {
            throw file.bad("weight or bias of the norm '" + name + "' is missing");
        }
    }

    private int width(final String lastMatrix) {
        final long width = file.tensor(lastMatrix).extent(1);
        if (width > 1 << 20) {
            throw file.bad("tensor '" + lastMatrix + "' makes embeddings of " + width + " elements");
        }
        return (int) width;
    }

    private void visionProjector(final int width) {
        final long inner = file.tensor("mm.0.weight").extent(1);
        tensors.required("mm.0.weight", MATRIX, keys.number("vision.embedding_length", 1, 1 << 16), inner)
                .required("mm.0.bias", VECTOR, inner)
                .required("mm.2.weight", MATRIX, inner, width)
                .required("mm.2.bias", VECTOR, width);
    }

    private void audioProjector(final int width, final int stack) {
        final long stacked = (long) keys.number("audio.embedding_length", 1, 1 << 16) * stack;
        final long inner = file.tensor("mm.a.mlp.2.weight").extent(0);
        tensors.required("mm.a.norm_pre.weight", VECTOR, stacked)
                .required("mm.a.mlp.1.weight", MATRIX, stacked, 2 * inner)
                .required("mm.a.norm_mid.weight", VECTOR, inner)
                .required("mm.a.mlp.2.weight", MATRIX, inner, width);
    }
}
