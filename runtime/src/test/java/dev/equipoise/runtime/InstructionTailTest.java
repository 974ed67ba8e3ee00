package dev.equipoise.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.gguf.GgufTensor;
import dev.equipoise.runtime.gguf.GgufWriter;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.oracle.InterventionOracle;
import dev.equipoise.runtime.oracle.InterventionOracle.Act;
import dev.equipoise.runtime.oracle.LlamaOracle;
import dev.equipoise.runtime.oracle.LlamaOracle.Input;
import dev.equipoise.runtime.oracle.PromptColumns;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.tiny.Placement;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * A model with a chat template, whose own words stand behind the user's: what acts behind the instruction acts on them,
 * on the answer's beginning and on what is generated.
 */
class InstructionTailTest {
    private static final int WIDTH = 64;
    private static final String TAIL = "</user><bot>";
    private static final String TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>"
            + "{% endfor %}{% if add_generation_prompt %}<bot>{% endif %}";
    private static final String ANSWER = "it is (";

    @TempDir
    static Path directory;

    private static Model model;
    private static LlamaOracle oracle;
    private static LayerVectors vectors;
    private static Prompt prompt;

    @BeforeAll
    static void write() {
        final GgufFile bare = GgufFile.read(TinyModels.llama(directory.resolve("bare.gguf"), 17));
        final GgufWriter writer =
                new GgufWriter().putAll(bare.metadata()).put("tokenizer.chat_template", TEMPLATE);
        for (final GgufTensor tensor : bare.tensors()) {
            writer.tensor(tensor.name(), tensor.type(), tensor.shape(), bare.floats(tensor));
        }
        final Path file = directory.resolve("templated.gguf");
        writer.write(file);
        oracle = LlamaOracle.of(GgufFile.read(file));
        model = Model.load(file, Placement.options()
                .withMmproj(TinyModels.mmproj(directory.resolve("mmproj.gguf"), 18, WIDTH)));
        final Random random = new Random(19);
        final float[] vector = new float[WIDTH];
        for (int i = 0; i < WIDTH; i++) {
            vector[i] = (float) random.nextGaussian();
        }
        vectors = new LayerVectors(Map.of(0, vector, 2, vector));
        final byte[] pixels = new byte[3 * 32 * 32];
        random.nextBytes(pixels);
        prompt = Prompt.builder()
                .system("you see")
                .image(Image.rgb(32, 32, pixels))
                .text("which colour")
                .build();
    }

    @AfterAll
    static void close() {
        model.close();
    }

    @ParameterizedTest
    @CsvSource({"AFTER_INSTRUCTION, false", "AFTER_INSTRUCTION, true", "ANSWER, true"})
    void actsBehindTheUsersWords(final Reach reach, final boolean begun) {
        final Prompt read = begun ? prompt.answered(ANSWER) : prompt;
        final int answer = begun ? model.tokenize(ANSWER, false).length : 0;
        final int tail = answer + (reach == Reach.ANSWER ? 0 : model.tokenize(TAIL, true).length);
        assertTrue(tail > 1, "more than the last token alone");
        final Intervention.Steer steer = new Intervention.Steer(
                "steer", Intervention.Operation.ADD, vectors, Optional.empty(), 0.7, Scope.all().within(reach));
        for (final int microBatch : new int[] {512, 3}) {
            try (Engine engine = Engine.open(model, Tolerance.exact(512).withMicroBatch(microBatch))) {
                final List<Input> inputs = new ArrayList<>(PromptColumns.of(engine, read).inputs(List.of()));
                final int first = inputs.size() - tail;
                final Request request = new Request(
                        List.of(new Branch("base", read, List.of(steer))),
                        Optional.empty(),
                        Sampling.greedy(),
                        new Limits(4, List.of()),
                        0,
                        StrategyLabel.PLAIN);
                final double[] expected = acted(inputs, steer, first);
                final double largest = Tolerance.largestDifference(expected, engine.logits(request).logits());
                assertTrue(largest <= Tolerance.f32(expected), reach + ": " + largest);
                final double more = Tolerance.largestDifference(acted(inputs, steer, first - 1), narrow(expected));
                Placement.requireVisible(
                        more > 10 * Tolerance.f32(expected),
                        "one token more: an effect of " + more + " proves nothing");
                final Answer given = engine.run(request);
                for (final int token : given.tokens()) {
                    final double[] row = acted(inputs, steer, first);
                    final double best = Arrays.stream(row).max().orElseThrow();
                    assertTrue(row[token] >= best - 2 * Tolerance.f32(row), "token " + token);
                    inputs.add(new Input.Token(token));
                }
                final int generated = given.finish() == FinishReason.LENGTH ? 3 : given.tokens().size();
                assertEquals(tail + generated, given.trace().getFirst().tokens());
            }
        }
    }

    private static double[] acted(final List<Input> inputs, final Intervention steer, final int first) {
        return oracle.run(inputs, new InterventionOracle(new Act(steer, t -> t >= first))).last();
    }

    private static float[] narrow(final double[] row) {
        final float[] narrow = new float[row.length];
        for (int i = 0; i < row.length; i++) {
            narrow[i] = (float) row[i];
        }
        return narrow;
    }
}
