package dev.equipoise.steering.vector;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.PatchMask;
import dev.equipoise.runtime.PictureStates;
import dev.equipoise.runtime.gguf.Mmproj;
import dev.equipoise.runtime.intervention.PositionVectors;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.IntConsumer;

/**
 * What masking does to the states of a picture encoder: per picture, block and position the mean state of masked copies
 * less the state of the picture as it is, from which VTI's visual directions are made (arXiv 2410.15778). Immutable and
 * safe for any thread. It holds pictures x blocks x positions x width floats.
 */
public final class VisualStates {
    private final int positions;
    private final int width;
    // Layer to [pictures][positions * width].
    private final SortedMap<Integer, float[][]> differences;
    // Layer to the largest norm of a clean state, [positions]: what is small against it is rounding.
    private final SortedMap<Integer, double[]> sizes;

    /**
     * How copies are masked: {@code trials} copies of each picture, in each of which {@code floor(ratio n)} of its n
     * patches, drawn anew without order, become the mean of the whole picture, channel by channel, after preprocessing:
     * as the official code does it.
     *
     * @param trials copies of a picture, at least 1
     * @param ratio share of patches, above 0, at most 1
     * @param seed equal seeds draw equal patches
     */
    public record Masking(int trials, double ratio, long seed) {
        /** The official code's copies. */
        public static final int TRIALS = 50;
        /** The official code's share of patches. */
        public static final double RATIO = 0.99;

        public Masking {
            require(trials >= 1, "no masked copies", "trials " + trials, "choose 1 or more");
            require(ratio > 0 && ratio <= 1, "share of patches out of range", "ratio " + ratio,
                    "choose above 0, up to 1");
        }

        private PatchMask draw(final Random random, final int side) {
            final List<Integer> order = new ArrayList<>();
            for (int i = 0; i < side * side; i++) {
                order.add(i);
            }
            Collections.shuffle(order, random);
            final int count = (int) (ratio * order.size());
            require(count > 0, "a share of patches that is less than one", ratio + " of " + order.size(),
                    "choose a larger share");
            final boolean[] marked = new boolean[order.size()];
            order.subList(0, count).forEach(patch -> marked[patch] = true);
            return new PatchMask(side, marked);
        }
    }

    private VisualStates(final int positions, final int width) {
        this.positions = positions;
        this.width = width;
        this.differences = new TreeMap<>();
        this.sizes = new TreeMap<>();
    }

    /**
     * Encodes pictures, each once as it is and once for each masked copy.
     *
     * @param layers blocks to keep, all of them among those that run; all that run if empty
     * @param done told the number of pictures read, after each
     * @throws BadInputException without a picture or a picture encoder, or for blocks that it does not run
     */
    public static VisualStates read(
            final Model model,
            final List<Image> pictures,
            final Optional<SortedSet<Integer>> layers,
            final Masking masking,
            final IntConsumer done) {
        require(!pictures.isEmpty(), "no pictures to extract from", "pictures", "give at least one");
        final Mmproj.Vision encoder = model.pictureEncoder().orElseThrow(() -> new BadInputException(
                "visual directions of a model without a picture encoder", model.file().toString(),
                "load it with its mmproj file"));
        require(encoder.blocks() > 0, "a picture encoder that runs no block", model.file().toString(),
                "there is nothing in it to steer: use another model");
        final SortedSet<Integer> chosen = new TreeSet<>(layers.orElseGet(TreeSet::new));
        if (layers.isEmpty()) {
            for (int block = 0; block < encoder.blocks(); block++) {
                chosen.add(block);
            }
        }
        require(!chosen.isEmpty() && chosen.first() >= 0 && chosen.last() < encoder.blocks(),
                "blocks that the picture encoder does not run", "layers " + chosen,
                "it runs " + encoder.blocks() + ", counted from 0");
        final Random random = new Random(masking.seed());
        final VisualStates states = new VisualStates(encoder.positions(), encoder.width());
        for (final int layer : chosen) {
            states.differences.put(layer, new float[pictures.size()][]);
            states.sizes.put(layer, new double[encoder.positions()]);
        }
        for (int i = 0; i < pictures.size(); i++) {
            states.add(i, model, pictures.get(i), masking, random, encoder.patchesPerSide());
            done.accept(i + 1);
        }
        return states;
    }

    private void add(
            final int index,
            final Model model,
            final Image picture,
            final Masking masking,
            final Random random,
            final int side) {
        final PictureStates clean = model.pictureStates(picture, Optional.empty());
        final Map<Integer, double[]> sums = new TreeMap<>();
        differences.keySet().forEach(layer -> sums.put(layer, new double[positions * width]));
        for (int trial = 0; trial < masking.trials(); trial++) {
            final PictureStates masked = model.pictureStates(picture, Optional.of(masking.draw(random, side)));
            sums.forEach((layer, sum) -> {
                final float[] values = masked.at(layer);
                for (int i = 0; i < sum.length; i++) {
                    sum[i] += values[i];
                }
            });
        }
        sums.forEach((layer, sum) -> {
            final float[] values = clean.at(layer);
            final float[] difference = new float[sum.length];
            for (int i = 0; i < sum.length; i++) {
                difference[i] = (float) (sum[i] / masking.trials() - values[i]);
                require(Float.isFinite(difference[i]), "a state that is not finite",
                        "picture " + (index + 1) + ", block " + layer, "leave out the block, or the picture");
            }
            differences.get(layer)[index] = difference;
            final double[] largest = sizes.get(layer);
            for (int p = 0; p < positions; p++) {
                largest[p] = Math.max(largest[p], norm(row(values, p)));
            }
        });
    }

    /** Number of pictures. */
    public int pictures() {
        return differences.get(differences.firstKey()).length;
    }

    /** The blocks that were read, ascending. */
    public SortedSet<Integer> layers() {
        return Collections.unmodifiableSortedSet(new TreeSet<>(differences.keySet()));
    }

    /** A copy of a block's differences, {@code [pictures][positions][width]}, the last two in one. */
    public float[][] differences(final int layer) {
        require(differences.containsKey(layer), "no states of block " + layer, "blocks " + differences.keySet(),
                "choose one of those");
        return Arrays.stream(differences.get(layer)).map(float[]::clone).toArray(float[][]::new);
    }

    /**
     * VTI's directions: per block and position the mean difference, and added to it the first principal component of
     * the differences about that mean, of unit length, pointing to the side where more pictures project. Where pictures
     * differ alike, as a single one does, there is no component; where nothing differs, the direction is zero.
     *
     * <p>The official code fits one component a "token" too, but after it reshaped [block][position][width] to
     * [position][...] without transposing: its components run over as many neighbouring positions as there are blocks,
     * so that a position's share of one is shorter than a unit. The means are the same.
     *
     * @throws BadInputException if no position of any block differs
     */
    public PositionVectors directions() {
        final SortedMap<Integer, float[]> directions = new TreeMap<>();
        differences.forEach((layer, rows) -> {
            final float[] made = new float[positions * width];
            for (int p = 0; p < positions; p++) {
                final int position = p;
                final double[][] here =
                        Arrays.stream(rows).map(row -> row(row, position)).toArray(double[][]::new);
                final double[] direction =
                        direction(here, PairedStates.ROUNDING * sizes.get(layer)[p]);
                for (int i = 0; i < width; i++) {
                    made[p * width + i] = (float) direction[i];
                }
            }
            directions.put(layer, made);
        });
        return new PositionVectors(positions, directions);
    }

    private static double[] direction(final double[][] rows, final double floor) {
        final double[] mean = PairedStates.mean(rows);
        final double[] direction = norm(mean) > floor ? mean.clone() : new double[mean.length];
        final double[][] centred = PairedStates.about(mean, rows);
        final PrincipalComponent component = PrincipalComponent.of(centred);
        if (component.spread() > floor * Math.sqrt(rows.length)) {
            final double[] unit = component.direction();
            PairedStates.orient(unit, rows);
            for (int i = 0; i < direction.length; i++) {
                direction[i] += unit[i];
            }
        }
        return direction;
    }

    private double[] row(final float[] values, final int position) {
        final double[] row = new double[width];
        for (int i = 0; i < width; i++) {
            row[i] = values[position * width + i];
        }
        return row;
    }

    private static double norm(final double[] row) {
        return Math.sqrt(PrincipalComponent.dot(row, row));
    }

    private static void require(final boolean ok, final String what, final String where, final String remedy) {
        if (!ok) {
            throw new BadInputException(what, where, remedy);
        }
    }
}
