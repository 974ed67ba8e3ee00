package dev.equipoise.runtime.gguf;

import dev.equipoise.runtime.gguf.GgufValue.Type;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;

/**
 * Damages a valid GGUF file in seeded, repeatable ways.
 *
 * <p>Half of the mutants are damaged as bytes, mostly in the header: they try the reader. The other half are written
 * anew with one or two entries changed, so that they are well-formed and try {@link GgufModelCheck}; of these some stay
 * valid, and llama.cpp must survive every one that is accepted. Not for several threads at once.
 */
public final class GgufMutator {
    private static final long[] EXTREMES = {0, 1, 2, 3, 7, 8, 31, 32, 33, 64, 255, 256, 512, 1000, 1 << 16, 1 << 20,
        Integer.MAX_VALUE, 1L << 31, 0xFFFFFFFFL, 1L << 32, 1L << 40, Long.MAX_VALUE, Long.MIN_VALUE, -1, -2, -32};
    private static final float[] EXTREME_FLOATS = {0, -0f, 1, -1, 1e-30f, 1e30f, Float.NaN, Float.POSITIVE_INFINITY,
        Float.NEGATIVE_INFINITY, Float.MIN_VALUE, Float.MAX_VALUE, 1e-5f, 10000};
    private static final List<String> EXTREME_TEXTS = List.of("", "llama", "clip", "gpt2", "none", "mlp", "ultravox",
            "mamba", "bloom", "default", "llama-bpe", "phi-3", "longrope", "yarn", "a\0b", "x".repeat(5000), "ä€",
            "\n");

    private final Path source;
    private final GgufFile file;
    private final byte[] bytes;
    private final Random random;

    /** Reads a valid file of less than 2 GB to damage. */
    public GgufMutator(final Path source, final long seed) {
        this.source = source;
        this.file = GgufFile.read(source);
        this.random = new Random(seed);
        try {
            this.bytes = Files.readAllBytes(source);
        } catch (final IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Writes the next mutant and says in a few words what was done to it. */
    public String mutate(final Path target) {
        return random.nextBoolean() ? bytes(target) : entries(target);
    }

    private String bytes(final Path target) {
        final int header = (int) file.dataStart();
        // Now and then weights: NaN and infinities must not hurt either.
        final int at = random.nextInt(random.nextInt(8) == 0 ? bytes.length - Long.BYTES : header);
        byte[] mutant = bytes.clone();
        final ByteBuffer view = ByteBuffer.wrap(mutant).order(ByteOrder.LITTLE_ENDIAN);
        final String what;
        switch (random.nextInt(7)) {
            case 0 -> {
                mutant[at] ^= (byte) (1 << random.nextInt(8));
                what = "flip a bit of byte " + at;
            }
            case 1 -> {
                mutant[at] = (byte) random.nextInt();
                what = "change byte " + at;
            }
            case 2 -> {
                view.putLong(at, EXTREMES[random.nextInt(EXTREMES.length)]);
                what = "put an extreme long at " + at;
            }
            case 3 -> {
                view.putInt(at, (int) EXTREMES[random.nextInt(EXTREMES.length)]);
                what = "put an extreme int at " + at;
            }
            case 4 -> {
                final int end = random.nextInt(4) == 0 ? random.nextInt(bytes.length) : at;
                mutant = Arrays.copyOf(bytes, end);
                what = "cut at " + end;
            }
            case 5 -> {
                final int gone = 1 + random.nextInt(Math.min(16, bytes.length - at));
                System.arraycopy(bytes, at + gone, mutant, at, bytes.length - at - gone);
                what = "delete " + gone + " bytes at " + at;
            }
            default -> {
                final int length = 1 + random.nextInt(64);
                System.arraycopy(bytes, random.nextInt(header), mutant, at, Math.min(length, bytes.length - at));
                what = "copy " + length + " bytes to " + at;
            }
        }
        try {
            Files.write(target, mutant);
        } catch (final IOException e) {
            throw new UncheckedIOException(e);
        }
        return what;
    }

    private String entries(final Path target) {
        final Map<String, GgufValue> metadata = new LinkedHashMap<>(file.metadata());
        final List<GgufTensor> tensors = new ArrayList<>(file.tensors());
        final List<String> sources = new ArrayList<>(tensors.stream().map(GgufTensor::name).toList());
        final StringBuilder what = new StringBuilder();
        for (int i = 0; i <= random.nextInt(2); i++) {
            what.append(random.nextInt(3) > 0 ? changeKey(metadata) : changeTensor(tensors, sources)).append("; ");
        }
        final GgufWriter writer = new GgufWriter().putAll(metadata);
        for (int i = 0; i < tensors.size(); i++) {
            final GgufTensor tensor = tensors.get(i);
            final GgufTensor original = file.tensor(sources.get(i));
            // What the change made longer is filled by repeating the original data.
            writer.tensor(tensor.name(), tensor.type(), tensor.shape(), (t, out) -> {
                final byte[] data = file.raw(original).array();
                for (long done = 0; done < t.bytes(); done += data.length) {
                    out.write(data, 0, (int) Math.min(data.length, t.bytes() - done));
                }
            });
        }
        writer.write(target);
        return what.toString();
    }

    private String changeKey(final Map<String, GgufValue> metadata) {
        final List<String> keys = List.copyOf(metadata.keySet());
        final String key = keys.get(random.nextInt(keys.size()));
        if (random.nextInt(8) == 0) {
            metadata.remove(key);
            return "remove " + key;
        }
        final GgufValue changed = random.nextInt(6) == 0
                ? metadata.get(keys.get(random.nextInt(keys.size()))) : changed(metadata.get(key));
        metadata.put(key, changed);
        final String text = String.valueOf(changed);
        return "set " + key + " to " + text.substring(0, Math.min(60, text.length()));
    }

    private GgufValue changed(final GgufValue value) {
        return switch (value) {
            case GgufValue.Whole(Type type, long number) -> new GgufValue.Whole(type, number(number));
            case GgufValue.Real(Type type, double number) ->
                    new GgufValue.Real(type, EXTREME_FLOATS[random.nextInt(EXTREME_FLOATS.length)]);
            case GgufValue.Flag(boolean flag) -> new GgufValue.Flag(!flag);
            case GgufValue.Text(String text) -> new GgufValue.Text(text(text));
            case final GgufValue.Wholes wholes -> {
                final long[] numbers = Arrays.copyOf(wholes.toArray(), length(wholes.size()));
                if (numbers.length > 0) {
                    numbers[random.nextInt(numbers.length)] = number(1);
                }
                yield new GgufValue.Wholes(wholes.type(), numbers);
            }
            case final GgufValue.Reals reals -> {
                final double[] numbers = Arrays.copyOf(reals.toArray(), length(reals.size()));
                if (numbers.length > 0) {
                    numbers[random.nextInt(numbers.length)] = EXTREME_FLOATS[random.nextInt(EXTREME_FLOATS.length)];
                }
                yield new GgufValue.Reals(reals.type(), numbers);
            }
            case GgufValue.Texts(List<String> texts) -> {
                final int length = Math.min(texts.size(), length(texts.size()));
                final List<String> changed = new ArrayList<>(texts.subList(0, length));
                if (!changed.isEmpty()) {
                    final int at = random.nextInt(changed.size());
                    changed.set(at, random.nextBoolean() ? text("") : changed.get(random.nextInt(changed.size())));
                }
                yield new GgufValue.Texts(changed);
            }
        };
    }

    private String changeTensor(final List<GgufTensor> tensors, final List<String> sources) {
        final int i = random.nextInt(tensors.size());
        final GgufTensor tensor = tensors.get(i);
        switch (random.nextInt(5)) {
            case 0 -> {
                if (tensors.size() > 1) {
                    tensors.remove(i);
                    sources.remove(i);
                }
                return "remove tensor " + tensor.name();
            }
            case 1 -> {
                final int j = random.nextInt(tensors.size());
                final String name = tensors.get(j).name();
                tensors.set(j, new GgufTensor(tensor.name(), tensors.get(j).type(), tensors.get(j).shape(), 0));
                tensors.set(i, i == j ? tensors.get(i) : new GgufTensor(name, tensor.type(), tensor.shape(), 0));
                return "swap the names of " + tensor.name() + " and " + name;
            }
            case 2 -> {
                final GgmlType type = GgmlType.values()[random.nextInt(GgmlType.values().length)];
                if (tensor.extent(0) % type.blockSize() == 0) {
                    tensors.set(i, new GgufTensor(tensor.name(), type, tensor.shape(), 0));
                }
                return "store " + tensor.name() + " as " + type;
            }
            case 3 -> {
                final long[] shape = Arrays.copyOf(tensor.shape(), 1 + random.nextInt(4));
                Arrays.setAll(shape, d -> Math.max(1, shape[d]));
                return reshape(tensors, i, shape);
            }
            default -> {
                final long[] shape = tensor.shape();
                final int d = random.nextInt(shape.length);
                shape[d] = switch (random.nextInt(3)) {
                    case 0 -> Math.max(1, shape[d] / 2);
                    case 1 -> shape[d] * 2;
                    default -> shape[d] + tensor.type().blockSize();
                };
                return reshape(tensors, i, shape);
            }
        }
    }

    private static String reshape(final List<GgufTensor> tensors, final int i, final long[] shape) {
        final GgufTensor tensor = tensors.get(i);
        if (shape[0] % tensor.type().blockSize() == 0) {
            tensors.set(i, new GgufTensor(tensor.name(), tensor.type(), shape, 0));
        }
        return "reshape " + tensor.name() + " to " + Arrays.toString(shape);
    }

    private long number(final long near) {
        return switch (random.nextInt(4)) {
            case 0 -> near + 1;
            case 1 -> near - 1;
            case 2 -> near * 2;
            default -> EXTREMES[random.nextInt(EXTREMES.length)];
        };
    }

    private int length(final int length) {
        return random.nextInt(3) > 0 ? length : random.nextInt(2 * length + 2);
    }

    private String text(final String text) {
        return random.nextBoolean() ? text + "x" : EXTREME_TEXTS.get(random.nextInt(EXTREME_TEXTS.size()));
    }

    @Override
    public String toString() {
        return "mutants of " + source;
    }
}
