package dev.equipoise.runtime.oracle;

import dev.equipoise.runtime.intervention.Intervention;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntPredicate;

/** Interventions by their formulas, in double precision, on positions that the test names itself. */
public final class InterventionOracle implements LlamaOracle.Inside {
    private final List<Act> acts;

    /**
     * An intervention and where it acts.
     *
     * @param what the intervention; its scope and span are ignored
     * @param on positions it acts on; for attention, of queries
     * @param keys positions whose keys it touches
     */
    public record Act(Intervention what, IntPredicate on, IntPredicate keys) {
        /** An intervention that touches no keys. */
        public Act(final Intervention what, final IntPredicate on) {
            this(what, on, key -> false);
        }
    }

    /** Several interventions, in the order in which they act. */
    public InterventionOracle(final Act... acts) {
        this.acts = List.of(acts);
    }

    @Override
    public double[] input(final int position, final double[] embedding) {
        final boolean silent =
                acts.stream().anyMatch(act -> act.what() instanceof Intervention.Silence && act.on().test(position));
        return silent ? new double[embedding.length] : embedding;
    }

    @Override
    public double[] query(final int layer, final int position, final double[] queries) {
        double factor = 1;
        for (final Act act : acts) {
            if (act.what() instanceof Intervention.Soften soften
                    && soften.layers().contains(layer)
                    && act.on().test(position)) {
                factor /= soften.tau();
            }
        }
        final double scale = factor;
        return Arrays.stream(queries).map(x -> scale * x).toArray();
    }

    @Override
    public double bias(final int layer, final int queryPosition, final int keyPosition) {
        double bias = 0;
        for (final Act act : acts) {
            if (act.what() instanceof Intervention.Reweigh reweigh
                    && reweigh.layers().contains(layer)
                    && act.on().test(queryPosition)
                    && act.keys().test(keyPosition)) {
                bias += Math.log(reweigh.factor());
            }
        }
        return bias;
    }

    @Override
    public double[] output(final int layer, final int position, final double[] state) {
        double[] h = state;
        for (final Act act : acts) {
            if (act.what() instanceof Intervention.Steer steer
                    && steer.layers().contains(layer)
                    && act.on().test(position)) {
                h = steered(steer, layer, h);
            }
        }
        return h;
    }

    private static double[] steered(final Intervention.Steer steer, final int layer, final double[] h) {
        final double[] v = widen(steer.vectors().at(layer));
        final double a = steer.amount();
        return switch (steer.operation()) {
            case ADD -> plus(h, a, v);
            case ADD_NORM_PRESERVING -> {
                final double[] sum = plus(h, a, v);
                yield times(norm(h) / norm(sum), sum);
            }
            case ABLATE -> {
                final double[] r = unit(v);
                yield plus(h, -dot(h, r), r);
            }
            case CLAMP -> {
                final double[] r = unit(v);
                yield plus(h, a - dot(h, r), r);
            }
            case ROTATE -> {
                final double[] b1 = unit(v);
                final double[] w = widen(steer.second().orElseThrow().at(layer));
                final double[] b2 = unit(plus(w, -dot(w, b1), b1));
                final double length = Math.hypot(dot(h, b1), dot(h, b2));
                final double[] rest = plus(plus(h, -dot(h, b1), b1), -dot(h, b2), b2);
                yield plus(plus(rest, length * Math.cos(a), b1), length * Math.sin(a), b2);
            }
        };
    }

    private static double[] widen(final float[] x) {
        final double[] wide = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            wide[i] = x[i];
        }
        return wide;
    }

    private static double dot(final double[] x, final double[] y) {
        double sum = 0;
        for (int i = 0; i < x.length; i++) {
            sum += x[i] * y[i];
        }
        return sum;
    }

    private static double norm(final double[] x) {
        return Math.sqrt(dot(x, x));
    }

    private static double[] unit(final double[] x) {
        return times(1 / norm(x), x);
    }

    private static double[] times(final double factor, final double[] x) {
        return Arrays.stream(x).map(element -> factor * element).toArray();
    }

    private static double[] plus(final double[] x, final double factor, final double[] y) {
        final double[] sum = x.clone();
        for (int i = 0; i < sum.length; i++) {
            sum[i] += factor * y[i];
        }
        return sum;
    }
}
