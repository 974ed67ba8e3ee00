package dev.equipoise.bench.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDArrays;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.ndarray.types.SparseFormat;
import ai.djl.nn.Activation;
import ai.djl.nn.core.Embedding;
import ai.djl.nn.core.Linear;
import dev.equipoise.bench.testbed.Vocabulary;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SplittableRandom;

/**
 * The trained part of the model, with the arithmetic of llama.cpp: patch embedding and LLaVA projector, the last layer
 * of the sound projector, and a text model of the {@code llama} architecture (RMS norms, interleaved rotary positions,
 * SwiGLU). Parameters carry the tensor names of the GGUF files; matrices are [outputs, inputs]. One thread.
 */
final class OmniNet {
    private final NDManager manager;
    private final Map<String, NDArray> parameters = new LinkedHashMap<>();
    private final NDArray swapPairs;
    private final NDArray scoreScale;
    private final NDArray geluCubic;
    private final NDArray geluScale;
    private final NDArray half;
    private final int vocabulary;
    private final SplittableRandom random;

    OmniNet(final NDManager manager, final Vocabulary words, final long seed) {
        this.manager = manager;
        this.vocabulary = words.size();
        this.random = new SplittableRandom(seed);
        final int width = ModelShape.WIDTH;
        // All spellings of a word start from one vector, so that what is learnt of one is nearly known of the others.
        final Map<String, float[]> byWord = new HashMap<>();
        final float[] embedding = new float[vocabulary * width];
        for (int id = 0; id < vocabulary; id++) {
            final float[] base = byWord.computeIfAbsent(words.wordOf(id), w -> normal(width, 0.5));
            for (int i = 0; i < width; i++) {
                embedding[id * width + i] = base[i] + (float) (random.nextGaussian() * 0.02);
            }
        }
        add("token_embd.weight", embedding, vocabulary, width);
        for (int layer = 0; layer < ModelShape.LAYERS; layer++) {
            final String block = "blk." + layer + ".";
            final double out = 1 / Math.sqrt(2.0 * ModelShape.LAYERS);
            add(block + "attn_norm.weight", ones(width), width);
            matrix(block + "attn_q.weight", width, width, 1);
            matrix(block + "attn_k.weight", width, width, 1);
            matrix(block + "attn_v.weight", width, width, 1);
            matrix(block + "attn_output.weight", width, width, out);
            add(block + "ffn_norm.weight", ones(width), width);
            matrix(block + "ffn_gate.weight", ModelShape.FEED_FORWARD, width, 1);
            matrix(block + "ffn_up.weight", ModelShape.FEED_FORWARD, width, 1);
            matrix(block + "ffn_down.weight", width, ModelShape.FEED_FORWARD, out);
        }
        add("output_norm.weight", ones(width), width);
        matrix("output.weight", vocabulary, width, 0.3);
        matrix("v.patch_embd.weight", ModelShape.VISION_WIDTH, ModelShape.PATCH_VALUES, 1.5);
        add("v.patch_embd.bias", new float[ModelShape.VISION_WIDTH], ModelShape.VISION_WIDTH);
        add("v.position_embd.weight", normal(ModelShape.PATCHES * ModelShape.VISION_WIDTH, 0.1),
                ModelShape.PATCHES, ModelShape.VISION_WIDTH);
        matrix("mm.0.weight", ModelShape.VISION_HIDDEN, ModelShape.VISION_WIDTH, 1);
        add("mm.0.bias", new float[ModelShape.VISION_HIDDEN], ModelShape.VISION_HIDDEN);
        matrix("mm.2.weight", width, ModelShape.VISION_HIDDEN, 1);
        add("mm.2.bias", new float[width], width);
        matrix("mm.a.mlp.2.weight", width, ModelShape.EAR_FEATURES, 0.7);
        swapPairs = pairSwap();
        scoreScale = constant(1 / Math.sqrt(ModelShape.HEAD));
        geluCubic = constant(0.044715);
        geluScale = constant(Math.sqrt(2 / Math.PI));
        half = constant(0.5);
    }

    /** The trained tensors by name. */
    Map<String, NDArray> parameters() {
        return parameters;
    }

    /** Vocabulary logits, [positions of interest, vocabulary], of a batch; all temporary arrays join {@code scope}. */
    NDArray logits(final Batch batch, final NDManager scope) {
        final NDArray table = NDArrays.concat(new NDList(
                parameters.get("token_embd.weight"), pictureTokens(batch, scope), soundTokens(batch, scope)));
        table.attach(scope);
        final NDArray rows = longs(scope, batch.rows, batch.size, batch.length);
        NDArray x = embed(rows, table);
        final NDArray mask = scope.create(
                FloatBuffer.wrap(batch.mask), new Shape(batch.size, 1, batch.length, batch.length), DataType.FLOAT32);
        final NDArray[] turn = turns(batch, scope);
        for (int layer = 0; layer < ModelShape.LAYERS; layer++) {
            final String block = "blk." + layer + ".";
            x = x.add(attention(norm(x, block + "attn_norm.weight"), block, mask, turn));
            final NDArray h = norm(x, block + "ffn_norm.weight");
            final NDArray gate = linear(h, block + "ffn_gate.weight");
            final NDArray open = gate.mul(Activation.sigmoid(gate)).mul(linear(h, block + "ffn_up.weight"));
            x = x.add(linear(open, block + "ffn_down.weight"));
        }
        final NDArray flat = x.reshape((long) batch.size * batch.length, ModelShape.WIDTH);
        final NDArray picked = embed(longs(scope, batch.targetsAt, batch.targetsAt.length), flat);
        return linear(norm(picked, "output_norm.weight"), "output.weight");
    }

    private NDArray pictureTokens(final Batch batch, final NDManager scope) {
        final NDArray patches = scope.create(FloatBuffer.wrap(batch.patches),
                new Shape(batch.size, ModelShape.PATCHES, ModelShape.PATCH_VALUES), DataType.FLOAT32);
        final NDArray seen = linear(patches, "v.patch_embd.weight").add(parameters.get("v.patch_embd.bias"))
                .add(parameters.get("v.position_embd.weight"));
        final NDArray hidden = gelu(linear(seen, "mm.0.weight").add(parameters.get("mm.0.bias")));
        return linear(hidden, "mm.2.weight").add(parameters.get("mm.2.bias")).reshape(-1, ModelShape.WIDTH);
    }

    private NDArray soundTokens(final Batch batch, final NDManager scope) {
        final NDArray features = scope.create(FloatBuffer.wrap(batch.sounds),
                new Shape(batch.size * (long) ModelShape.SOUND_TOKENS, ModelShape.EAR_FEATURES), DataType.FLOAT32);
        return linear(features, "mm.a.mlp.2.weight");
    }

    private NDArray attention(final NDArray h, final String block, final NDArray mask, final NDArray[] turn) {
        // The score scale sits on the small queries instead of the large scores.
        final NDArray scaled = linear(h, block + "attn_q.weight").mul(scoreScale);
        final NDArray q = rotate(heads(scaled), turn);
        final NDArray k = rotate(heads(linear(h, block + "attn_k.weight")), turn);
        final NDArray v = heads(linear(h, block + "attn_v.weight"));
        final NDArray scores = q.matMul(k.swapAxes(2, 3)).add(mask);
        final NDArray mixed = scores.softmax(-1).matMul(v).transpose(0, 2, 1, 3).reshape(h.getShape());
        return linear(mixed, block + "attn_output.weight");
    }

    /** [batch, length, width] to [batch, heads, length, head]. */
    private static NDArray heads(final NDArray x) {
        final Shape shape = x.getShape();
        return x.reshape(shape.get(0), shape.get(1), ModelShape.HEADS, ModelShape.HEAD).transpose(0, 2, 1, 3);
    }

    private NDArray rotate(final NDArray x, final NDArray[] turn) {
        return x.mul(turn[0]).add(x.matMul(swapPairs).mul(turn[1]));
    }

    /** Cosine and sine of every token's angles, [batch, 1, length, head]. */
    private static NDArray[] turns(final Batch batch, final NDManager scope) {
        final float[] cos = new float[batch.positions.length * ModelShape.HEAD];
        final float[] sin = new float[cos.length];
        for (int t = 0; t < batch.positions.length; t++) {
            for (int i = 0; i < ModelShape.HEAD; i++) {
                final double angle =
                        batch.positions[t] * Math.pow(ModelShape.ROPE_BASE, -2.0 * (i / 2) / ModelShape.HEAD);
                cos[t * ModelShape.HEAD + i] = (float) Math.cos(angle);
                sin[t * ModelShape.HEAD + i] = (float) Math.sin(angle);
            }
        }
        final Shape shape = new Shape(batch.size, 1, batch.length, ModelShape.HEAD);
        return new NDArray[] {
            scope.create(FloatBuffer.wrap(cos), shape, DataType.FLOAT32),
            scope.create(FloatBuffer.wrap(sin), shape, DataType.FLOAT32),
        };
    }

    /** The matrix that turns (a, b) into (-b, a) for every neighbouring pair. */
    private NDArray pairSwap() {
        final float[] values = new float[ModelShape.HEAD * ModelShape.HEAD];
        for (int i = 0; i < ModelShape.HEAD; i += 2) {
            values[(i + 1) * ModelShape.HEAD + i] = -1;
            values[i * ModelShape.HEAD + i + 1] = 1;
        }
        return manager.create(
                FloatBuffer.wrap(values), new Shape(ModelShape.HEAD, ModelShape.HEAD), DataType.FLOAT32);
    }

    private NDArray norm(final NDArray x, final String name) {
        final NDArray square = x.square().mean(new int[] {-1}, true).add(ModelShape.NORM_EPSILON);
        return x.div(square.sqrt()).mul(parameters.get(name));
    }

    /** The tanh form, as ggml computes it. */
    private NDArray gelu(final NDArray x) {
        final NDArray inner = x.mul(x.square().mul(geluCubic).add(1)).mul(geluScale);
        return x.mul(inner.tanh().add(1)).mul(half);
    }

    /**
     * A factor that outlives every backward pass. {@code NDArray.mul(Number)} would free the memory of the number it
     * made while the pass still needs it.
     */
    private NDArray constant(final double value) {
        return manager.create((float) value);
    }

    private NDArray linear(final NDArray x, final String name) {
        return Linear.linear(x, parameters.get(name)).singletonOrThrow();
    }

    private static NDArray embed(final NDArray rows, final NDArray table) {
        return Embedding.embedding(rows, table, SparseFormat.DENSE).singletonOrThrow();
    }

    static NDArray longs(final NDManager scope, final long[] values, final long... shape) {
        return scope.create(LongBuffer.wrap(values), new Shape(shape), DataType.INT64);
    }

    private void matrix(final String name, final int outputs, final int inputs, final double gain) {
        add(name, normal(outputs * inputs, gain / Math.sqrt(inputs)), outputs, inputs);
    }

    private void add(final String name, final float[] values, final long... shape) {
        final NDArray parameter = manager.create(FloatBuffer.wrap(values), new Shape(shape), DataType.FLOAT32);
        parameter.setRequiresGradient(true);
        parameters.put(name, parameter);
    }

    private float[] normal(final int size, final double deviation) {
        final float[] values = new float[size];
        for (int i = 0; i < size; i++) {
            values[i] = (float) (random.nextGaussian() * deviation);
        }
        return values;
    }

    private static float[] ones(final int size) {
        final float[] values = new float[size];
        Arrays.fill(values, 1f);
        return values;
    }
}
