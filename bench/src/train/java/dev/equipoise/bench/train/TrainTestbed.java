package dev.equipoise.bench.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.training.GradientCollector;
import dev.equipoise.bench.testbed.Vocabulary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;

/**
 * Trains the testbed model from nothing: {@code TrainTestbed [--out DIR] [--steps N]}. Seeded; one CPU core, about 0.55 s a
 * step, 35 minutes in all. Writes both GGUF files at every checkpoint and the metrics as it goes.
 */
public final class TrainTestbed {
    private static final long SEED = 20_260_101;
    private static final long HELD_OUT_SEED = 7_000_003;
    private static final int HELD_OUT_ITEMS = 900;
    private static final int HELD_OUT_ROUNDS = 20;
    private static final int STEPS = 4_000;
    /** The first steps show one thing at a time: far more pictures for the same work. */
    private static final int GLIMPSE_STEPS = 700;
    private static final int GLIMPSES = 96;
    private static final int SCENES = 32;
    private static final int WARM_UP = 200;
    private static final double RATE = 2e-3;
    private static final double LAST_RATE = 0.03;
    private static final int REPORT = 100;
    private static final int CHECKPOINT = 500;

    private final Vocabulary vocabulary = new Vocabulary();
    private final Path directory;
    private final int steps;

    private TrainTestbed(final Path directory, final int steps) {
        this.directory = directory;
        this.steps = steps;
    }

    /** Runs the training; see the class. */
    public static void main(final String[] arguments) throws IOException {
        // Sums in one order, so that on one machine a seed always gives the same weights.
        System.setProperty("ai.djl.pytorch.num_threads", "1");
        System.setProperty("ai.djl.pytorch.num_interop_threads", "1");
        Path directory = Path.of("target", "testbed");
        int steps = STEPS;
        for (int i = 0; i < arguments.length; i += 2) {
            final String value = i + 1 < arguments.length ? arguments[i + 1] : "";
            switch (arguments[i] + (value.isEmpty() ? " without a value" : "")) {
                case "--out" -> directory = Path.of(value);
                case "--steps" -> steps = Integer.parseInt(value);
                default -> {
                    System.err.println("equipoise: unknown argument: " + arguments[i] + ": [--out DIR] [--steps N]");
                    System.exit(2);
                }
            }
        }
        new TrainTestbed(Files.createDirectories(directory), steps).run();
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
            final SceneSampler sampler = new SceneSampler(vocabulary, heard, new SplittableRandom(SEED));
            final AdamW optimiser = new AdamW(net.parameters());
            final long start = System.nanoTime();
            double mean = 0;
            for (int step = 1; step <= steps; step++) {
                final boolean glimpse = step <= GLIMPSE_STEPS;
                final List<Sequence> sequences = new ArrayList<>();
                while (sequences.size() < (glimpse ? GLIMPSES : SCENES)) {
                    sequences.add(glimpse ? sampler.drawGlimpse() : sampler.drawScene());
                }
                final double loss = step(net, optimiser, new Batch(sequences, vocabulary), step, manager);
                mean += (loss - mean) / Math.min(step, REPORT);
                if (step % REPORT == 0) {
                    log("step %d loss %.4f %.2f s/step", step, mean, (System.nanoTime() - start) / 1e9 / step);
                }
                if (step % CHECKPOINT == 0 || step == steps) {
                    final Map<String, HeldOut.Score> scores = heldOut.measure(net, manager);
                    scores.forEach((kind, score) -> log("  %-40s %s", kind, score));
                    Export.write(net, vocabulary, directory);
                    // Full precision, for looking into what quantisation costs.
                    Files.write(directory.resolve("weights.ndlist"),
                            new NDList(net.parameters().values().toArray(NDArray[]::new)).encode());
                }
            }
        }
    }

    private double step(final OmniNet net, final AdamW optimiser, final Batch batch, final int step,
            final NDManager manager) {
        try (NDManager scope = manager.newSubManager()) {
            final NDArray loss;
            try (GradientCollector collector = manager.getEngine().newGradientCollector()) {
                final NDArray logits = net.logits(batch, scope).logSoftmax(-1);
                final NDArray targets = OmniNet.longs(scope, batch.targets, batch.targets.length, 1);
                loss = logits.gather(targets, 1).mean().neg();
                collector.backward(loss);
            }
            optimiser.step(rate(step), scope);
            return loss.getFloat();
        }
    }

    /** Linear warm-up, then a cosine down to a small rest. */
    private double rate(final int step) {
        if (step <= WARM_UP) {
            return RATE * step / WARM_UP;
        }
        final double done = (double) (step - WARM_UP) / (steps - WARM_UP);
        return RATE * (LAST_RATE + (1 - LAST_RATE) * 0.5 * (1 + Math.cos(Math.PI * done)));
    }

    private static void log(final String format, final Object... values) {
        System.out.printf(Locale.ROOT, format + "%n", values);
        System.out.flush();
    }
}
