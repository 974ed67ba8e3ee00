package dev.equipoise.bench.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.training.GradientCollector;
import dev.equipoise.bench.testbed.Vocabulary;
import dev.equipoise.bench.train.SceneSampler.Mix;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/**
 * Trains the testbed model from nothing: {@code TrainTestbed [--out DIR] [--json]}. Seeded; one CPU core,
 * half an hour. Writes both GGUF files and {@code metrics.json} at every checkpoint; with {@code --json} the last of
 * these is all that standard output gets.
 */
public final class TrainTestbed {
    private static final long SEED = 20_260_101;
    private static final long HELD_OUT_SEED = 7_000_003;
    private static final int HELD_OUT_ITEMS = 900;
    private static final int HELD_OUT_ROUNDS = 20;
    private static final int WARM_UP = 200;
    private static final int REPORT = 100;
    private static final int CHECKPOINT = 400;
    private static final String METRICS = "metrics.json";

    /**
     * The stages. Reading comes first and leaves the habit of believing the note; then instructions. Looking is slower
     * to learn and gets pictures without anything else beside the scenes, but only later: a model that sees well before
     * it reads learns neither the habit nor the instructions. A model that hears well trusts its ears, so the second
     * stage, which asks more about sounds and names a medium to trust more often, also disturbs more scenes.
     */
    private static final List<Stage> STAGES = List.of(
            new Stage(2_000, 32, 0, 2e-3, 1.4e-3, Mix.of(3, 2, 2, 0.6, 0.5)),
            new Stage(2_400, 28, 24, 1.2e-3, 4e-5, Mix.of(4, 2, 3, 0.75, 0.6)));

    private static PrintStream progress = System.out;

    private final Vocabulary vocabulary = new Vocabulary();
    private final Path directory;

    private TrainTestbed(final Path directory) {
        this.directory = directory;
    }

    /**
     * A stretch of training with an optimiser of its own.
     *
     * @param steps its length
     * @param scenes scenes in a batch
     * @param glimpses single pictures or sounds in a batch
     * @param peak learning rate after the warm-up
     * @param last learning rate of the last step
     * @param mix what is drawn
     */
    private record Stage(int steps, int scenes, int glimpses, double peak, double last, Mix mix) {
        /** Linear warm-up, then a cosine from peak to last; steps count from 1. */
        double rate(final int step) {
            if (step <= WARM_UP) {
                return peak * step / WARM_UP;
            }
            final double done = (double) (step - WARM_UP) / (steps - WARM_UP);
            return last + (peak - last) * 0.5 * (1 + Math.cos(Math.PI * done));
        }
    }

    /** Runs the training; see the class. */
    public static void main(final String[] arguments) throws IOException {
        // Sums in one order, so that on one machine a seed always gives the same weights.
        System.setProperty("ai.djl.pytorch.num_threads", "1");
        System.setProperty("ai.djl.pytorch.num_interop_threads", "1");
        Path directory = Path.of("target", "testbed");
        for (int i = 0; i < arguments.length; i++) {
            if (arguments[i].equals("--json")) {
                progress = System.err;
            } else if (arguments[i].equals("--out") && i + 1 < arguments.length) {
                i++;
                directory = Path.of(arguments[i]);
            } else {
                System.err.println("equipoise: unknown argument, or one without a value: " + arguments[i]
                        + ": usage: ./equipoise testbed train [--json] [--out DIR]");
                System.exit(2);
            }
        }
        new TrainTestbed(Files.createDirectories(directory)).run();
        if (progress == System.err) {
            System.out.println(Files.readString(directory.resolve(METRICS)));
        }
    }

    /** What the ear makes of the clips; it never changes, so a run finds what the last one left. */
    private SoundBank hear(final OmniNet net) throws IOException {
        final Path features = directory.resolve("sounds.f32");
        if (!Files.exists(features)) {
            log("listening to the sounds (a few minutes)");
            Export.write(net, vocabulary, directory, FrozenEar.identity());
            SoundCollector.collect(directory.resolve(Export.TEXT), directory.resolve(Export.MEDIA), features);
        }
        return SoundBank.read(features);
    }

    private void run() throws IOException {
        try (NDManager manager = NDManager.newBaseManager()) {
            final OmniNet net = new OmniNet(manager, vocabulary, SEED);
            final SoundBank sounds = hear(net);
            final SoundBank heard = sounds.rounds(0, sounds.rounds() - HELD_OUT_ROUNDS);
            final SoundBank unheard = sounds.rounds(sounds.rounds() - HELD_OUT_ROUNDS, sounds.rounds());
            final HeldOut heldOut = new HeldOut(vocabulary, unheard, HELD_OUT_SEED, HELD_OUT_ITEMS);
            final SceneSampler sampler = new SceneSampler(
                    vocabulary, heard, new SplittableRandom(SEED), STAGES.getFirst().mix());
            int done = 0;
            for (final Stage stage : STAGES) {
                train(net, stage, sampler, heldOut, done, manager);
                done += stage.steps();
            }
        }
    }

    private void train(final OmniNet net, final Stage stage, final SceneSampler sampler, final HeldOut heldOut,
            final int before, final NDManager manager) throws IOException {
        final AdamW optimiser = new AdamW(net.parameters());
        sampler.use(stage.mix());
        final long start = System.nanoTime();
        double mean = 0;
        for (int step = 1; step <= stage.steps(); step++) {
            final List<Sequence> sequences = new ArrayList<>();
            while (sequences.size() < stage.scenes()) {
                sequences.add(sampler.drawScene());
            }
            while (sequences.size() < stage.scenes() + stage.glimpses()) {
                sequences.add(sampler.drawGlimpse());
            }
            final double loss =
                    step(net, optimiser, new Batch(sequences, vocabulary), stage.rate(step), manager);
            mean += (loss - mean) / Math.min(step, REPORT);
            if (step % REPORT == 0) {
                log("step %d loss %.4f %.2f s/step", before + step, mean, (System.nanoTime() - start) / 1e9 / step);
            }
            if (step % CHECKPOINT == 0 || step == stage.steps()) {
                checkpoint(net, heldOut.measure(net, manager), before + step, mean);
            }
        }
    }

    private void checkpoint(
            final OmniNet net, final Map<String, HeldOut.Score> scores, final int step, final double loss)
            throws IOException {
        Export.write(net, vocabulary, directory);
        final JsonMapper json = new JsonMapper();
        final ObjectNode metrics = json.createObjectNode()
                .put("seed", SEED).put("held_out_seed", HELD_OUT_SEED).put("step", step).put("loss", loss);
        final ObjectNode heldOut = metrics.putObject("held_out");
        scores.forEach((kind, score) -> {
            log("  %-40s %s", kind, score);
            score.addTo(heldOut.putObject(kind));
        });
        Files.writeString(
                directory.resolve(METRICS), json.writerWithDefaultPrettyPrinter().writeValueAsString(metrics));
    }

    private double step(final OmniNet net, final AdamW optimiser, final Batch batch, final double rate,
            final NDManager manager) {
        try (NDManager scope = manager.newSubManager()) {
            final NDArray loss;
            try (GradientCollector collector = manager.getEngine().newGradientCollector()) {
                final NDArray logits = net.logits(batch, scope).logSoftmax(-1);
                final NDArray targets = OmniNet.longs(scope, batch.targets, batch.targets.length, 1);
                loss = logits.gather(targets, 1).mean().neg();
                collector.backward(loss);
            }
            optimiser.step(rate, scope);
            return loss.getFloat();
        }
    }

    private static void log(final String format, final Object... values) {
        progress.printf(Locale.ROOT, format + "%n", values);
        progress.flush();
    }
}
