package dev.equipoise.decoding;

import dev.equipoise.runtime.Audio;
import dev.equipoise.runtime.DrawIn;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.Part;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Rechoice;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Span;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.LlamaOracle.Input;
import dev.equipoise.runtime.oracle.PromptColumns;
import dev.equipoise.runtime.oracle.RequestOracle;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.IntStream;

/** A tiny random model that sees and hears, its engine, a prompt with everything, and the oracle beside it. */
public final class TinyRig implements AutoCloseable {
    private static final int WIDTH = 64;
    // What the preset with most of them takes: five beams of five candidates, and the prompt.
    private static final int SEQUENCES = 26;

    public final Model model;
    public final Engine engine;
    public final Prompt prompt;
    private final LlamaOracle oracle;

    public TinyRig(final Path directory, final long seed) {
        this(directory, seed, DrawIn.AUTO);
    }

    /** One whose engine finds best tokens in a place of one's own choice. */
    public TinyRig(final Path directory, final long seed, final DrawIn draw) {
        final Path file = TinyModels.llama(directory.resolve("tiny" + seed + ".gguf"), seed);
        final Path mmproj = TinyModels.mmproj(directory.resolve("mmproj" + seed + ".gguf"), seed + 1, WIDTH);
        oracle = LlamaOracle.of(GgufFile.read(file));
        model = Model.load(file, Placement.options().withMmproj(mmproj));
        engine = Engine.open(
                model,
                Tolerance.exact(4096)
                        .withMaxBranches(SEQUENCES)
                        .withDrawIn(draw));
        final byte[] pixels = new byte[3 * 32 * 32];
        new Random(seed + 2).nextBytes(pixels);
        prompt = Prompt.builder()
                .context("the note says green")
                .image(Image.rgb(32, 32, pixels))
                .audio(Audio.pcm(new float[8000]))
                .text("which colour")
                .build();
    }

    /** The oracle for whole requests to this engine. */
    public RequestOracle requests() {
        return new RequestOracle(oracle, engine);
    }

    /** The oracle's row at the end of a prompt. */
    public double[] row(final Prompt of) {
        return row(of, 0);
    }

    /** The same with a bias on all scores of pictures. */
    public double[] row(final Prompt of, final double imageBias) {
        final Modality[] whose = whose(of);
        return run(of, new LlamaOracle.Inside() {
            @Override
            public double bias(final int layer, final int head, final int query, final int key) {
                return whose[key] == Modality.IMAGE ? imageBias : 0;
            }
        }).last();
    }

    /** What the oracle makes of a prompt when something acts inside. */
    public LlamaOracle.Result run(final Prompt of, final LlamaOracle.Inside inside) {
        return oracle.run(inputs(of), inside);
    }

    /** Whose token stands at each position of a prompt. */
    public Modality[] whose(final Prompt of) {
        return PromptColumns.of(engine, of).whose();
    }

    /** The oracle's inputs for a prompt. */
    public List<Input> inputs(final Prompt of) {
        return PromptColumns.of(engine, of).inputs(List.of());
    }

    /** The oracle's row at the end of a prompt when something acts inside. */
    public double[] row(final Prompt of, final LlamaOracle.Inside inside) {
        return run(of, inside).last();
    }

    /** The columns of some modalities, ascending. */
    public Set<Integer> columns(final Prompt of, final Modality... modalities) {
        final Set<Integer> columns = new TreeSet<>();
        for (final Span span : engine.logits(Request.plain(of)).spans()) {
            if (List.of(modalities).contains(span.modality())) {
                IntStream.range(span.start(), span.start() + span.length()).forEach(columns::add);
            }
        }
        return columns;
    }

    /** The oracle's attention of a prompt's last token, {@code [layers][columns]}, the mean of the heads. */
    public double[][] attention(final Prompt of) {
        return attention(of, List.of());
    }

    /** The same of the last token that was generated behind it. */
    public double[][] attention(final Prompt of, final List<Integer> generated) {
        return Arrays.stream(attentionByHead(of, generated))
                .map(heads -> IntStream.range(0, heads[0].length)
                        .mapToDouble(key -> Arrays.stream(heads).mapToDouble(row -> row[key]).average().orElseThrow())
                        .toArray())
                .toArray(double[][]::new);
    }

    /** The same by head, {@code [layers][heads][columns]}. */
    public double[][][] attentionByHead(final Prompt of, final List<Integer> generated) {
        final double[][][] rows = new double[model.info().layers()][model.info().heads()][];
        final List<Input> inputs = PromptColumns.of(engine, of).inputs(generated);
        final int last = inputs.size() - 1;
        oracle.run(inputs, new LlamaOracle.Inside() {
            @Override
            public double[] weights(final int layer, final int head, final int position, final double[] row) {
                if (position == last) {
                    rows[layer][head] = row;
                }
                return row;
            }
        });
        return rows;
    }

    /** What a choice of tokens for the next one sees, when these were generated. */
    public Rechoice.Seen seen(final Prompt of, final List<Integer> generated, final int blocks) {
        final List<Span> spans = new ArrayList<>(engine.logits(Request.plain(of)).spans());
        if (!generated.isEmpty()) {
            final Span last = spans.getLast();
            spans.add(new Span(Modality.TEXT, last.start() + last.length(), generated.size()));
        }
        return new Rechoice.Seen(
                spans,
                Arrays.stream(attentionByHead(of, generated)).limit(blocks).map(TinyRig::narrow).toList());
    }

    private static float[][] narrow(final double[][] heads) {
        final float[][] narrow = new float[heads.length][heads[0].length];
        for (int head = 0; head < heads.length; head++) {
            for (int key = 0; key < heads[head].length; key++) {
                narrow[head][key] = (float) heads[head][key];
            }
        }
        return narrow;
    }

    /** The prompt with another question. */
    public static Prompt asking(final Prompt prompt, final String question) {
        final List<Part> parts = new ArrayList<>(prompt.without(Modality.TEXT).parts());
        parts.add(new Part.Words(Modality.TEXT, question));
        return new Prompt(parts);
    }

    @Override
    public void close() {
        engine.close();
        model.close();
    }
}
