package dev.equipoise.runtime.oracle;

import dev.equipoise.runtime.intervention.Intervention;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.IntPredicate;

/** Interventions by their formulas, in double precision, on positions that the test names itself. */
public final class InterventionOracle implements LlamaOracle.Inside {
    private final List<Act> acts;
    // The states that entered each block, by layer and position.
    private final Map<List<Integer>, double[]> entered = new HashMap<>();
    // The weights of each head where they are read or keys are chosen by them, by layer and position.
    private final Map<List<Integer>, double[][]> attended = new HashMap<>();
    // What turns to sinks, if something does.
    private final SinkOracle sinks;
    // Those of the latest position, where they choose who attends to nothing, by layer.
    private final Map<Integer, double[][]> latest = new HashMap<>();

    /**
     * An intervention and where it acts.
     *
     * @param what the intervention; its scope and span are ignored
     * @param on positions it acts on; for attention, of queries
     * @param keys positions whose keys it touches; of a turn to sinks those of the prompt
     * @param others positions whose keys take what those give
     */
    public record Act(Intervention what, IntPredicate on, IntPredicate keys, IntPredicate others) {
        /** An intervention on the keys of one span. */
        public Act(final Intervention what, final IntPredicate on, final IntPredicate keys) {
            this(what, on, keys, key -> false);
        }

        /** An intervention that touches no keys. */
        public Act(final Intervention what, final IntPredicate on) {
            this(what, on, key -> false);
        }
    }

    /** Heads of the models that this is used with. */
    private static final int HEADS = 4;

    /** Several interventions, in the order in which they act. */
    public InterventionOracle(final Act... acts) {
        this.acts = List.of(acts);
        this.sinks = Arrays.stream(acts)
                .filter(act -> act.what() instanceof Intervention.TurnToSinks)
                .findFirst()
                .map(act -> new SinkOracle((Intervention.TurnToSinks) act.what(), act.keys()))
                .orElse(null);
    }

    @Override
    public double[] input(final int position, final double[] embedding) {
        double[] h = embedding;
        for (final Act act : acts) {
            if (!act.on().test(position)) {
                continue;
            }
            h = switch (act.what()) {
                case Intervention.Silence silence -> new double[h.length];
                case Intervention.Steer steer when steer.place() == Intervention.Place.EMBEDDING ->
                    steered(steer, 0, h);
                default -> h;
            };
        }
        return h;
    }

    @Override
    public double[] query(final int layer, final int position, final double[] queries) {
        final double[] scaled = queries.clone();
        for (final Act act : acts) {
            if (act.what() instanceof Intervention.Soften soften && acts(act, layer, position)) {
                for (int i = 0; i < scaled.length; i++) {
                    scaled[i] /= soften.heads().contains(i / (scaled.length / HEADS)) ? soften.tau() : 1;
                }
            }
        }
        return scaled;
    }

    @Override
    public double bias(final int layer, final int head, final int queryPosition, final int keyPosition) {
        double bias = 0;
        for (final Act act : acts) {
            if (act.what() instanceof Intervention.Reweigh reweigh
                    && acts(act, layer, queryPosition)
                    && reweigh.heads().contains(head)
                    && act.keys().test(keyPosition)) {
                bias += Math.log(reweigh.factor());
            }
            // e^-1e5 is 0 beside anything else, and a row of nothing else keeps its proportions.
            if (act.what() instanceof Intervention.Hide && acts(act, layer, queryPosition)
                    && act.keys().test(keyPosition)) {
                bias -= 1e5;
            }
            if (act.what() instanceof Intervention.HideAttended hide && acts(act, layer, queryPosition)
                    && act.keys().test(keyPosition) && !isLeast(hide, act, queryPosition, keyPosition)) {
                bias -= 1e5;
            }
        }
        return bias;
    }

    // Whether fewer keys of the span than stay have less of the query's attention, or as much and come before.
    private boolean isLeast(final Intervention.HideAttended hide, final Act act, final int query, final int key) {
        final double[] weights = attended(hide.looked(), query);
        int before = 0;
        for (int other = 0; other < weights.length; other++) {
            final boolean less = weights[other] < weights[key] || weights[other] == weights[key] && other < key;
            before += act.keys().test(other) && less ? 1 : 0;
        }
        return before < hide.keep().count();
    }

    @Override
    public double[] scores(final int layer, final int head, final int position, final double[] scores) {
        final double[] edited = scores.clone();
        for (final Act act : acts) {
            if (!acts(act, layer, position) || !act.what().heads().contains(head)) {
                continue;
            }
            for (int key = 0; key < edited.length; key++) {
                if (act.keys().test(key)) {
                    edited[key] = switch (act.what()) {
                        case Intervention.RaiseScores raise -> edited[key] + raise.alpha() * Math.abs(edited[key]);
                        case Intervention.ScaleScores scale -> edited[key] * scale.factor();
                        default -> edited[key];
                    };
                }
            }
        }
        return edited;
    }

    @Override
    public double[] weights(final int layer, final int head, final int position, final double[] weights) {
        double[] edited = weights;
        for (final Act act : acts) {
            if (acts(act, layer, position) && act.what().heads().contains(head)) {
                edited = switch (act.what()) {
                    case Intervention.MoveWeights move -> moved(move, act, edited);
                    case Intervention.DrainSinks drain -> drained(drain, act, layer, edited);
                    default -> edited;
                };
            }
        }
        if (acts.stream().anyMatch(act -> act.what() instanceof Intervention.HideAttended hide && hide.looked() == layer
                || act.what() instanceof Intervention.ReadAttention && acts(act, layer, position))) {
            attended.computeIfAbsent(List.of(layer, position), any -> new double[HEADS][])[head] = edited;
        }
        return mutes(layer, head, position) ? new double[edited.length] : edited;
    }

    private boolean mutes(final int layer, final int head, final int position) {
        return latest.containsKey(layer) && acts.stream().anyMatch(act ->
                act.what() instanceof Intervention.MuteAttended mute
                        && acts(act, layer, position)
                        && latest.get(layer)[head][position] > mute.above());
    }

    @Override
    public boolean looksAhead(final int layer) {
        return acts.stream().anyMatch(act ->
                act.what() instanceof Intervention.MuteAttended mute && mute.layers().contains(layer));
    }

    @Override
    public void latest(final int layer, final double[][] weights) {
        latest.put(layer, weights);
    }

    /** The weights of a query in a layer where it was read, {@code [position + 1]}, the mean of the heads. */
    public double[] attended(final int layer, final int position) {
        final double[] mean = new double[position + 1];
        for (final double[] row : attendedByHead(layer, position)) {
            for (int key = 0; key <= position; key++) {
                mean[key] += row[key] / HEADS;
            }
        }
        return mean;
    }

    /** The same, {@code [heads][position + 1]}. */
    public double[][] attendedByHead(final int layer, final int position) {
        return attended.get(List.of(layer, position));
    }

    private static double[] moved(final Intervention.MoveWeights move, final Act act, final double[] weights) {
        double given = 0;
        double taken = 0;
        for (int key = 0; key < weights.length; key++) {
            given += act.keys().test(key) ? weights[key] : 0;
            taken += act.others().test(key) ? weights[key] : 0;
        }
        if (taken == 0 || given / (given + taken) <= move.threshold()) {
            return weights;
        }
        final double[] edited = weights.clone();
        for (int key = 0; key < weights.length; key++) {
            edited[key] -= act.keys().test(key) ? move.fraction() * weights[key] : 0;
            edited[key] += act.others().test(key) ? move.fraction() * given * weights[key] / taken : 0;
        }
        return edited;
    }

    private double[] drained(
            final Intervention.DrainSinks drain, final Act act, final int layer, final double[] weights) {
        double seen = 0;
        double sunkSeen = 0;
        double sunk = 0;
        for (int key = 0; key < weights.length; key++) {
            sunk += isSink(drain, layer, key) ? weights[key] : 0;
            seen += act.keys().test(key) ? weights[key] : 0;
            sunkSeen += act.keys().test(key) && isSink(drain, layer, key) ? weights[key] : 0;
        }
        if (seen < drain.mass() || sunkSeen / seen > drain.rho() || seen == sunkSeen) {
            return weights;
        }
        final double[] edited = weights.clone();
        for (int key = 0; key < weights.length; key++) {
            if (isSink(drain, layer, key)) {
                edited[key] = drain.keep() * weights[key];
            } else if (act.keys().test(key)) {
                edited[key] += (1 - drain.keep()) * sunk * weights[key] / (seen - sunkSeen);
            }
        }
        return edited;
    }

    private boolean isSink(final Intervention.DrainSinks drain, final int layer, final int key) {
        final double[] state = entered.get(List.of(layer, key));
        final double rms = norm(state) / Math.sqrt(state.length);
        return drain.dimensions().stream().anyMatch(d -> Math.abs(state[d]) / rms > drain.tau());
    }

    @Override
    public void entering(final int layer, final int position, final double[] state) {
        entered.put(List.of(layer, position), state);
        if (position == 0) {
            latest.remove(layer); // another pass
        }
        if (sinks != null) {
            sinks.entering(layer, position, state);
        }
    }

    @Override
    public double[][] mixed(final int layer, final LlamaOracle.Attention from, final double[][] mixed) {
        return sinks == null ? mixed : sinks.mixed(layer, from, mixed);
    }

    /** Positions that are sinks of a layer, in the pass that was the last. */
    public Set<Integer> sinks(final int layer) {
        return sinks.of(layer);
    }

    @Override
    public double[] output(final int layer, final int position, final double[] state) {
        return steered(Intervention.Place.LAYER, layer, position, state);
    }

    @Override
    public double[] norm(final int layer, final int position, final double[] normed) {
        return steered(Intervention.Place.NORM, layer, position, normed);
    }

    @Override
    public double[] attention(final int layer, final int position, final double[] state) {
        final double[] steered = steered(Intervention.Place.ATTENTION, layer, position, state);
        final boolean mute = acts.stream()
                .anyMatch(act -> act.what() instanceof Intervention.Mute && acts(act, layer, position));
        return mute ? new double[steered.length] : steered;
    }

    @Override
    public double[] mlp(final int layer, final int position, final double[] state) {
        return steered(Intervention.Place.MLP, layer, position, state);
    }

    @Override
    public double[] logits(final int position, final double[] logits, final LlamaOracle.Exits exits) {
        double[] z = logits;
        for (final Act act : acts) {
            if (!act.on().test(position)) {
                continue;
            }
            if (act.what() instanceof Intervention.AverageExits average) {
                double[] sum = new double[z.length];
                for (final int layer : average.layers()) {
                    sum = plus(sum, 1, exits.at(layer, average.normed()));
                }
                z = plus(times(1 - average.weight(), z), average.weight() / average.layers().size(), sum);
            } else if (act.what() instanceof Intervention.ContrastExits contrast) {
                z = contrasted(contrast, z, exits);
            }
        }
        return z;
    }

    private static double[] contrasted(
            final Intervention.ContrastExits contrast, final double[] z, final LlamaOracle.Exits exits) {
        final double[] late = ContrastOracle.logSoftmax(z);
        double most = -1;
        double[] chosen = null;
        for (final int layer : contrast.layers()) {
            final double[] early = ContrastOracle.logSoftmax(exits.at(layer, contrast.normed()));
            final double apart = divergence(contrast.divergence(), late, early);
            if (apart > most) {
                most = apart;
                chosen = early;
            }
        }
        final double cut = Arrays.stream(late).max().orElseThrow() + Math.log(contrast.relativeTop());
        final double[] out = new double[z.length];
        for (int i = 0; i < z.length; i++) {
            out[i] = late[i] < cut ? Double.NEGATIVE_INFINITY : late[i] - chosen[i];
        }
        return out;
    }

    private static double divergence(
            final Intervention.Divergence kind, final double[] late, final double[] early) {
        double sum = 0;
        for (int i = 0; i < late.length; i++) {
            final double p = Math.exp(late[i]);
            final double q = Math.exp(early[i]);
            sum += switch (kind) {
                case JENSEN_SHANNON -> 0.5 * (share(p, q) + share(q, p));
                case ARITHMETIC_GEOMETRIC -> 0.5 * (p + q) * (Math.log(0.5 * (p + q)) - 0.5 * (late[i] + early[i]));
            };
        }
        return sum;
    }

    // Of a divergence from the mean of both; 0 where an edit before has cut p off.
    private static double share(final double p, final double q) {
        return p == 0 ? 0 : p * Math.log(2 * p / (p + q));
    }

    private static boolean acts(final Act act, final int layer, final int position) {
        return act.what().layers().contains(layer) && act.on().test(position);
    }

    private double[] steered(
            final Intervention.Place place, final int layer, final int position, final double[] state) {
        double[] h = state;
        for (final Act act : acts) {
            if (act.what() instanceof Intervention.Steer steer
                    && steer.place() == place
                    && acts(act, layer, position)) {
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
            case ADD_NORM_CAPPED -> {
                final double[] sum = plus(h, a, v);
                yield times(Math.min(1, norm(h) / norm(sum)), sum);
            }
            case ADD_SIGNED -> plus(h, a * Math.signum(dot(h, v)), v);
            case ABLATE -> {
                final double[] r = unit(v);
                yield plus(h, -dot(h, r), r);
            }
            case CLAMP -> {
                final double[] r = unit(v);
                yield plus(h, a - dot(h, r), r);
            }
            case TURN, TURN_AWARE -> {
                if (norm(h) == 0) {
                    yield h; // a silenced token's state has no direction to turn
                }
                final double[] r = unit(v);
                final double along = dot(unit(h), r);
                final double push = steer.operation() == Intervention.Operation.TURN
                        ? a
                        : a * (1 + Math.max(0, -along));
                yield times(norm(h), unit(plus(unit(h), push, r)));
            }
            case ROTATE, ROTATE_TOWARD -> {
                final double[] b1 = unit(v);
                if (steer.operation() == Intervention.Operation.ROTATE_TOWARD && dot(h, b1) <= 0) {
                    yield h;
                }
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
