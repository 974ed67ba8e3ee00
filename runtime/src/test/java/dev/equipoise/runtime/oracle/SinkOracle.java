package dev.equipoise.runtime.oracle;

import dev.equipoise.runtime.intervention.Intervention;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;

/** A turn to sinks by its formulas: on what the heads give, not on their weights as the engine does it. */
final class SinkOracle {
    private final Intervention.TurnToSinks turn;
    private final IntPredicate prompt;
    // Of the layer at hand, by position.
    private final List<double[]> states = new ArrayList<>();
    private final Set<Integer> cumulative = new HashSet<>();
    private final Set<Integer> applied = new HashSet<>();
    private final Map<Integer, Set<Integer>> found = new TreeMap<>();

    SinkOracle(final Intervention.TurnToSinks turn, final IntPredicate prompt) {
        this.turn = turn;
        this.prompt = prompt;
    }

    void entering(final int layer, final int position, final double[] state) {
        if (position == 0) {
            states.clear();
        }
        if (position == 0 && layer == 0) {
            cumulative.clear();
            applied.clear();
            found.clear();
        }
        states.add(state);
    }

    Set<Integer> of(final int layer) {
        return found.getOrDefault(layer, Set.of());
    }

    private int promptSize() {
        return (int) IntStream.range(0, states.size()).filter(prompt).count();
    }

    private Set<Integer> sinks() {
        final int n = promptSize();
        final Set<Integer> sinks = new TreeSet<>();
        final double[] sizes = states.subList(0, n).stream()
                .flatMapToDouble(Arrays::stream)
                .map(Math::abs)
                .sorted()
                .toArray();
        final double least = Math.max(turn.threshold(), turn.medianFactor() * sizes[(sizes.length - 1) / 2]);
        for (int t = 0; t < n && n > 1; t++) {
            if (Arrays.stream(states.get(t)).map(Math::abs).max().orElseThrow() >= least) {
                sinks.add(t);
            }
        }
        return sinks;
    }

    double[][] mixed(final int layer, final LlamaOracle.Attention from, final double[][] mixed) {
        if (!turn.layers().contains(layer)) {
            return mixed;
        }
        final Set<Integer> sinks = sinks();
        found.put(layer, sinks);
        if (sinks.isEmpty()) {
            return mixed;
        }
        cumulative.addAll(sinks);
        final double[][] out = mixed.clone();
        final int size = promptSize();
        for (final int t : sinks) {
            if (turn.every() > 0 && layer % turn.every() == 0 && applied.add(t)) {
                out[t] = gathered(from, t, size);
            }
        }
        for (int t = 0; t < out.length; t++) {
            if (t < size ? !cumulative.contains(t) : !sinks.contains(0)) {
                out[t] = turned(from, sinks, out[t]);
            }
        }
        return out;
    }

    private static double[] gathered(final LlamaOracle.Attention from, final int t, final int size) {
        final int width = from.headSize();
        final double[] out = new double[from.heads() * width];
        for (int h = 0; h < from.heads(); h++) {
            final double[] scores = new double[size];
            for (int s = 0; s < size; s++) {
                for (int i = 0; i < width; i++) {
                    scores[s] += from.queries()[t][h * width + i] * from.keys()[s][from.shared(h) + i];
                }
                scores[s] /= Math.sqrt(width);
            }
            final double[] logs = ContrastOracle.logSoftmax(scores);
            for (int s = 0; s < size; s++) {
                for (int i = 0; i < width; i++) {
                    out[h * width + i] += Math.exp(logs[s]) * from.values()[s][from.shared(h) + i];
                }
            }
        }
        return out;
    }

    private double[] turned(final LlamaOracle.Attention from, final Set<Integer> sinks, final double[] given) {
        final int width = from.headSize();
        final double[] out = given.clone();
        for (int h = 0; h < from.heads(); h++) {
            final double[] v = new double[width];
            for (final int s : sinks) {
                for (int i = 0; i < width; i++) {
                    v[i] += from.values()[s][from.shared(h) + i] / sinks.size();
                }
            }
            final double[] o = Arrays.copyOfRange(given, h * width, (h + 1) * width);
            final double length = Math.sqrt(dot(o, o));
            final double cosine = dot(o, v) / (length * Math.sqrt(dot(v, v)));
            final double part = Math.tanh(Math.max(0, cosine) / turn.temperature())
                    * turn.gamma() * Math.abs(dot(o, v)) / (dot(v, v) + 1e-8);
            final double[] moved = new double[width];
            for (int i = 0; i < width; i++) {
                moved[i] = o[i] + part * v[i];
            }
            final double scale = length / (Math.sqrt(dot(moved, moved)) + 1e-8);
            for (int i = 0; i < width; i++) {
                out[h * width + i] = scale * moved[i];
            }
        }
        return out;
    }

    private static double dot(final double[] a, final double[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += a[i] * b[i];
        }
        return sum;
    }
}
