package dev.equipoise.decoding.procedure;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.ToDoubleFunction;
import java.util.stream.IntStream;

/**
 * Beam search as transformers 4.29 has it and OPERA as its official code puts it on top (arXiv 2311.17911), the slow
 * way: whole answers, whole squares of attention, whole rows sorted, every state kept.
 *
 * <p>Beside each number goes how far rounding may have moved it, and the decision that was nearest to falling the other
 * way is reported.
 */
final class SearchOracle {
    // What the code writes in place of the logits of tokens that are no candidates.
    private static final double FLOOR = -999;
    // The score of the beams that are copies of the first before anything is generated.
    private static final double COPY = -1e9;
    private static final double MOST_HALF = 65_504;

    /** Reads the prompt and an answer behind it. */
    interface Reader {
        Seen read(List<Integer> answer);
    }

    /**
     * What stands behind the last token.
     *
     * @param logits {@code [vocabulary]}
     * @param heads the last token's attention in the last block after the softmax, {@code [heads][columns]}
     */
    record Seen(float[] logits, double[][] heads) {}

    /**
     * OPERA's part.
     *
     * @param candidates the tokens of a beam that compete
     * @param opening tokens whose penalty is about the picture, and the first location that is rolled back to
     * @param picture its columns
     * @param threshold locations that agree before a roll-back, not included; without one there are none
     */
    record OverTrust(
            int candidates,
            double scale,
            double factor,
            double weight,
            int opening,
            Set<Integer> picture,
            OptionalInt threshold) {}

    /**
     * A search.
     *
     * @param counted tokens that the prompt counts as in a hypothesis' length
     * @param most tokens generated at most
     * @param ends the tokens that end an answer
     */
    record Rules(
            int beams,
            double lengthPenalty,
            int counted,
            int most,
            Set<Integer> ends,
            Optional<OverTrust> overTrust) {}

    /**
     * What was found.
     *
     * @param score of the best hypothesis, its length accounted for
     * @param ended how often an answer that ended was added to the hypotheses
     * @param margin how far apart what was nearest in any decision was, in units of how far rounding may move it; above
     *     1 rounding decided nothing
     */
    record Found(List<Integer> tokens, double score, int rollBacks, int ended, double margin) {}

    /** A number and how far from it rounding may have moved another's. */
    private record Number(double value, double error) {}

    /**
     * A beam and a token that may go on with it.
     *
     * @param floor whether the token is none of the beam's candidates
     */
    private record Next(int beam, int token, Number score, boolean floor) {}

    private record Hypothesis(Number score, List<Integer> tokens) {}

    /** Answers that ended, the best so many. The only thing here that changes. */
    private final class Ended {
        private final List<Hypothesis> best = new ArrayList<>();
        private boolean done;

        Ended copy() {
            final Ended copy = new Ended();
            copy.best.addAll(best);
            copy.done = done;
            return copy;
        }

        void add(final List<Integer> tokens, final Number sum) {
            best.add(new Hypothesis(perLength(sum, rules.counted() + tokens.size()), tokens));
            if (best.size() > rules.beams()) {
                best.remove(worst());
            }
        }

        Hypothesis worst() {
            return Collections.min(best, Comparator.comparingDouble(one -> one.score().value()));
        }

        // Whether nothing that goes on can come in, judged by the best sum and the length that it has now.
        void close(final Number sum, final int length) {
            if (best.size() < rules.beams()) {
                return;
            }
            final Number attainable = perLength(sum, length);
            decided(worst().score(), attainable);
            done = worst().score().value() >= attainable.value();
        }
    }

    /**
     * Where the search is.
     *
     * @param answers so far, one for each beam
     * @param squares rows of attention of their tokens, the largest of the heads, {@code [tokens][columns so far]}
     * @param scores of the beams
     * @param parents the beam of the state before from which each came
     */
    private record State(
            List<List<Integer>> answers,
            List<List<double[]>> squares,
            List<Number> scores,
            List<Integer> parents,
            Ended ended) {
        int length() {
            return answers.getFirst().size();
        }
    }

    /** What a look at every candidate of every beam says. */
    private record Look(List<List<Next>> rows, List<Integer> locations, int location) {}

    private final Reader reader;
    private final Rules rules;
    private final ToDoubleFunction<double[]> tolerance;
    private final List<State> states = new ArrayList<>();
    private final List<List<Integer>> history = new ArrayList<>();
    private final TreeMap<Integer, Integer> times = new TreeMap<>();
    private final TreeMap<Integer, List<List<Integer>>> rejected = new TreeMap<>();
    private int columns;
    private int rollBacks;
    private int endings;
    private double margin = Double.POSITIVE_INFINITY;

    private SearchOracle(final Reader reader, final Rules rules, final ToDoubleFunction<double[]> tolerance) {
        this.reader = reader;
        this.rules = rules;
        this.tolerance = tolerance;
    }

    /**
     * Searches.
     *
     * @param tolerance how far off a logit of a row may be
     */
    static Found search(final Reader reader, final Rules rules, final ToDoubleFunction<double[]> tolerance) {
        return new SearchOracle(reader, rules, tolerance).search();
    }

    private Found search() {
        columns = reader.read(List.of()).heads()[0].length;
        State live = first();
        while (!live.ended().done && live.length() < rules.most()) {
            // The state that goes on is not the one that is kept: that one's hypotheses stay as they are.
            final State kept = looked(live);
            final List<Seen> seen = kept.answers().stream().map(reader::read).toList();
            live = new State(kept.answers(), kept.squares(), kept.scores(), kept.parents(), live.ended());
            if (rules.overTrust().isEmpty()) {
                live = step(live, whole(live, seen, List.of()));
                continue;
            }
            final Look look = look(kept, seen, rules.overTrust().get());
            states.add(kept);
            history.add(look.locations());
            final OptionalInt back = back(look.location(), kept.length() + 1, rules.overTrust().get());
            if (back.isPresent()) {
                live = revived(back.getAsInt(), kept.length() + 1);
                final List<Seen> again = live.answers().stream().map(reader::read).toList();
                live = step(live, whole(live, again, rejected.get(back.getAsInt())));
            } else {
                live = step(live, look.rows());
            }
        }
        return found(live);
    }

    private State first() {
        final List<Number> scores = new ArrayList<>(Collections.nCopies(rules.beams(), new Number(COPY, 0)));
        scores.set(0, new Number(0, 0));
        return new State(
                Collections.nCopies(rules.beams(), List.of()),
                Collections.nCopies(rules.beams(), List.of()),
                scores,
                List.of(),
                new Ended());
    }

    // With the rows of the tokens that were taken last.
    private State looked(final State live) {
        final List<List<double[]>> squares = new ArrayList<>();
        for (int beam = 0; beam < rules.beams(); beam++) {
            final List<double[]> square = new ArrayList<>(live.squares().get(beam));
            if (live.length() > 0) {
                square.add(largest(reader.read(live.answers().get(beam)).heads()));
            }
            squares.add(square);
        }
        return new State(live.answers(), squares, live.scores(), live.parents(), live.ended().copy());
    }

    private static double[] largest(final double[][] heads) {
        return IntStream.range(0, heads[0].length)
                .mapToDouble(key -> Arrays.stream(heads).mapToDouble(row -> row[key]).max().orElseThrow())
                .toArray();
    }

    // All tokens of all beams. Rejected ones, each a beam and a token, have the smallest logit of their row.
    private List<List<Next>> whole(final State at, final List<Seen> seen, final List<List<Integer>> rejections) {
        final List<List<Next>> rows = new ArrayList<>();
        for (int beam = 0; beam < rules.beams(); beam++) {
            final double[] logits = widen(seen.get(beam).logits());
            final double error = tolerance.applyAsDouble(logits);
            final double least = Arrays.stream(logits).min().orElseThrow();
            for (final List<Integer> rejection : rejections) {
                if (rejection.getFirst() == beam) {
                    logits[rejection.getLast()] = least;
                }
            }
            final double sum = logSumExp(logits);
            final List<Next> row = new ArrayList<>();
            for (int token = 0; token < logits.length; token++) {
                row.add(next(at, beam, token, new Number(logits[token] - sum, 2 * error), false));
            }
            rows.add(row);
        }
        return rows;
    }

    private static Next next(
            final State at, final int beam, final int token, final Number logarithm, final boolean floor) {
        final Number before = at.scores().get(beam);
        final double score = before.value() + logarithm.value();
        // Each token's rounding is its own; and the sum may be kept in float32.
        final double error = Math.hypot(before.error(), logarithm.error() + Math.ulp((float) score));
        return new Next(beam, token, new Number(score, error), floor);
    }

    private Look look(final State at, final List<Seen> seen, final OverTrust how) {
        final List<List<Next>> rows = new ArrayList<>();
        final List<Integer> locations = new ArrayList<>();
        for (int beam = 0; beam < rules.beams(); beam++) {
            final double[] logits = widen(seen.get(beam).logits());
            final List<Integer> candidates = candidates(logits, how.candidates());
            final Number[] left = new Number[how.candidates()];
            final List<List<Integer>> chosen = new ArrayList<>();
            for (int c = 0; c < how.candidates(); c++) {
                final List<Integer> answer = new ArrayList<>(at.answers().get(beam));
                answer.add(candidates.get(c));
                final List<double[]> square = new ArrayList<>(at.squares().get(beam));
                square.add(largest(reader.read(answer).heads()));
                final double error = tolerance.applyAsDouble(logits);
                final Number[] local = local(square, how, error);
                chosen.add(locations(local));
                final Number penalty = square.size() <= how.opening()
                        ? seenOfPicture(square.getLast(), how, error)
                        : most(local);
                left[c] = new Number(
                        logits[candidates.get(c)] - how.weight() * penalty.value(),
                        error + how.weight() * penalty.error());
            }
            rows.add(row(at, beam, candidates, left, logits.length));
            locations.add(mode(chosen, how));
        }
        return new Look(rows, locations, mode(locations));
    }

    private List<Integer> candidates(final double[] logits, final int count) {
        final List<Integer> sorted = IntStream.range(0, logits.length)
                .boxed()
                .sorted(Comparator.<Integer>comparingDouble(token -> -logits[token]).thenComparing(token -> token))
                .toList();
        final double error = tolerance.applyAsDouble(logits);
        decided(
                new Number(logits[sorted.get(count - 1)], error),
                new Number(logits[sorted.get(count)], error));
        return sorted.subList(0, count);
    }

    // Candidates share the beam's whole probability; the others follow in the order of their ids.
    private List<Next> row(
            final State at,
            final int beam,
            final List<Integer> candidates,
            final Number[] left,
            final int vocabulary) {
        final double sum = logSumExp(Arrays.stream(left).mapToDouble(Number::value).toArray());
        final double error = Arrays.stream(left).mapToDouble(Number::error).max().orElseThrow();
        final List<Next> row = new ArrayList<>();
        for (int token = 0; token < vocabulary; token++) {
            final int c = candidates.indexOf(token);
            final Number logarithm = c < 0
                    ? new Number(FLOOR - sum, error)
                    : new Number(left[c].value() - sum, left.length == 1 ? 0 : left[c].error() + error);
            row.add(next(at, beam, token, logarithm, c < 0));
            if (c >= 0 && left[c].value() - left[c].error() <= FLOOR) {
                // There the code has candidates behind the others, which nobody can have meant.
                margin = 0;
            }
        }
        return row;
    }

    /**
     * The scores of the answer's columns, kept in half precision.
     *
     * <p>A score of attention is about as large as a logit and errs as one does, a weight relatively by twice that and,
     * divided by the sum of its row, by four times.
     */
    private Number[] local(final List<double[]> square, final OverTrust how, final double error) {
        final int n = square.size();
        final Number[] local = new Number[n];
        for (int column = 0; column < n; column++) {
            double product = how.factor();
            for (int row = column; row < n; row++) {
                final double sum = Arrays.stream(square.get(row)).sum();
                product *= how.scale() * square.get(row)[columns + column] / sum;
            }
            final double relative = 4 * error * (n - column);
            final double half = half(product);
            final double off = Math.max(
                    half(product * (1 + relative)) - half, half - half(product * (1 - relative)));
            local[column] = new Number(half, off);
        }
        return local;
    }

    private static double half(final double x) {
        return Math.min(MOST_HALF, Float.float16ToFloat(Float.floatToFloat16((float) x)));
    }

    // The first of the largest, and behind it those that would be if rounding had moved them.
    private static List<Integer> locations(final Number[] local) {
        int best = 0;
        for (int column = 1; column < local.length; column++) {
            best = local[column].value() > local[best].value() ? column : best;
        }
        final List<Integer> possible = new ArrayList<>(List.of(best));
        for (int other = 0; other < local.length; other++) {
            final double off = local[best].error() + local[other].error();
            // Numbers of few bits are often equal, and then it is clear who comes first unless one of them may move.
            if (other != best && off > 0 && local[best].value() - local[other].value() <= off) {
                possible.add(other);
            }
        }
        return possible;
    }

    // The most frequent of the first ones, which must be so whichever of the others are meant.
    private int mode(final List<List<Integer>> locations, final OverTrust how) {
        final int mode = mode(locations.stream().map(List::getFirst).toList());
        final long sure = locations.stream().filter(List.of(mode)::equals).count();
        for (final int other : locations.stream().flatMap(List::stream).distinct().toList()) {
            final long most = locations.stream().filter(one -> one.contains(other)).count();
            if (how.threshold().isPresent() && (most > sure || most == sure && other < mode)) {
                margin = other == mode ? margin : 0;
            }
        }
        return mode;
    }

    private static Number most(final Number[] local) {
        final double most = Arrays.stream(local).mapToDouble(Number::value).max().orElseThrow();
        final double high = Arrays.stream(local).mapToDouble(one -> one.value() + one.error()).max().orElseThrow();
        final double low = Arrays.stream(local).mapToDouble(one -> one.value() - one.error()).max().orElseThrow();
        return new Number(most, Math.max(high - most, most - low));
    }

    private static Number seenOfPicture(final double[] row, final OverTrust how, final double error) {
        final double sum = Arrays.stream(row).sum();
        final double seen = how.picture().stream().mapToDouble(column -> row[column]).sum() / sum;
        return new Number(-seen, 4 * error * seen);
    }

    // The smallest of the most frequent.
    private static int mode(final List<Integer> values) {
        return values.stream()
                .min(Comparator.<Integer>comparingInt(value -> -Collections.frequency(values, value))
                        .thenComparing(value -> value))
                .orElseThrow();
    }

    // The slot of the position to roll back to, when candidates would be the so manieth token.
    private OptionalInt back(final int location, final int length, final OverTrust how) {
        if (how.threshold().isEmpty() || location < how.opening()) {
            return OptionalInt.empty();
        }
        for (int beam = 0; beam < rules.beams(); beam++) {
            final int slot = beam;
            if (history.stream().filter(one -> one.get(slot) == location).count() <= how.threshold().getAsInt()) {
                return OptionalInt.empty();
            }
        }
        for (final int position : new int[] {location + 1, location}) {
            if (times.getOrDefault(position, 0) < how.candidates()) {
                times.merge(position, 1, Integer::sum);
                // There must be a state before the present one.
                return states.size() < 2 ? OptionalInt.empty() : OptionalInt.of(position);
            }
        }
        return OptionalInt.empty();
    }

    // What was chosen in the state to go back to led into the one behind it.
    private State revived(final int position, final int length) {
        for (int i = 0; i < length - position - 2; i++) {
            states.removeLast();
            history.removeLast();
        }
        final State behind = states.removeLast();
        history.removeLast();
        rejected.remove(position + 1);
        final List<List<Integer>> chosen = new ArrayList<>(rejected.getOrDefault(position, List.of()));
        for (int beam = 0; beam < rules.beams(); beam++) {
            chosen.add(List.of(behind.parents().get(beam), behind.answers().get(beam).getLast()));
        }
        rejected.put(position, chosen);
        rollBacks++;
        // The kept state itself goes on, so that what ends from now on is in it when it is revived once more.
        return states.getLast();
    }

    private State step(final State at, final List<List<Next>> rows) {
        final List<Next> sorted = rows.stream()
                .flatMap(List::stream)
                .sorted(Comparator.<Next>comparingDouble(one -> -one.score().value())
                        .thenComparing(Next::beam)
                        .thenComparing(Next::token))
                .toList();
        final List<Next> taken = new ArrayList<>();
        int rank = 0;
        while (taken.size() < rules.beams() && rank < 2 * rules.beams()) {
            final Next one = sorted.get(rank);
            if (!rules.ends().contains(one.token())) {
                taken.add(one);
            } else if (rank < rules.beams()) {
                endings++;
                at.ended().add(at.answers().get(one.beam()), one.score());
                if (rules.beams() == 1) {
                    weigh(sorted, 1);
                    at.ended().done = true;
                    return at;
                }
            }
            rank++;
        }
        weigh(sorted, rank);
        if (taken.size() < rules.beams()) {
            // Too many endings, where the code gives up.
            margin = 0;
            at.ended().done = true;
            return at;
        }
        at.ended().close(sorted.getFirst().score(), rules.counted() + at.length() + 1);
        return new State(
                taken.stream().map(one -> plus(at.answers().get(one.beam()), one.token())).toList(),
                taken.stream().map(one -> at.squares().get(one.beam())).toList(),
                taken.stream().map(Next::score).toList(),
                taken.stream().map(Next::beam).toList(),
                at.ended());
    }

    // Of those that were looked at it matters who comes first where beams have histories of their own; else who is
    // among them, and which endings are early enough.
    private void weigh(final List<Next> sorted, final int looked) {
        final boolean order = rules.overTrust().map(how -> how.threshold().isPresent()).orElse(false);
        for (int rank = order ? 0 : looked - 1; rank < looked; rank++) {
            apart(sorted.get(rank), sorted.get(rank + 1));
        }
        for (int rank = 0; rank < looked; rank++) {
            if (rules.ends().contains(sorted.get(rank).token())) {
                apart(sorted.get(rank), sorted.get(rules.beams() - (rank < rules.beams() ? 0 : 1)));
            }
        }
    }

    private void apart(final Next one, final Next other) {
        // Whatever is rounded, those that are no candidates are equal within a beam, and beams that were equal stay so
        // where each has one candidate, which is certain.
        final boolean siblings = one.floor() && other.floor() && one.beam() == other.beam();
        final boolean alone = rules.overTrust().map(how -> how.candidates() == 1).orElse(false);
        final boolean twins = alone && one.score().value() == other.score().value();
        if (!siblings && !twins) {
            decided(one.score(), other.score());
        }
    }

    private Found found(final State at) {
        final Ended ended = at.ended().copy();
        if (!ended.done) {
            for (int beam = 0; beam < rules.beams(); beam++) {
                ended.add(at.answers().get(beam), at.scores().get(beam));
            }
        }
        final Hypothesis best =
                Collections.max(ended.best, Comparator.comparingDouble(one -> one.score().value()));
        for (final Hypothesis other : ended.best) {
            if (!other.tokens().equals(best.tokens())) {
                decided(best.score(), other.score());
            }
        }
        return new Found(best.tokens(), best.score().value(), rollBacks, endings, margin);
    }

    private void decided(final Number one, final Number other) {
        margin = Math.min(margin, Math.abs(one.value() - other.value()) / (one.error() + other.error()));
    }

    private Number perLength(final Number sum, final int length) {
        final double divisor = Math.pow(length, rules.lengthPenalty());
        return new Number(sum.value() / divisor, sum.error() / divisor);
    }

    private static List<Integer> plus(final List<Integer> tokens, final int token) {
        final List<Integer> more = new ArrayList<>(tokens);
        more.add(token);
        return more;
    }

    private static double logSumExp(final double[] logits) {
        final double most = Arrays.stream(logits).max().orElseThrow();
        return most + Math.log(Arrays.stream(logits).map(logit -> Math.exp(logit - most)).sum());
    }

    private static double[] widen(final float[] row) {
        return IntStream.range(0, row.length).mapToDouble(y -> row[y]).toArray();
    }
}
