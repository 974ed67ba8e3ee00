package dev.equipoise.runtime.search;

import dev.equipoise.runtime.search.Ranking.Next;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.function.IntPredicate;
import java.util.stream.Collectors;

/**
 * A search on its way. It wants paths read, takes what was read behind each, and then wants others, until it is done.
 * Not thread-safe.
 */
public final class Beams {
    private final BeamSearch how;
    private final OverTrust trust;
    private final int promptLength;
    private final BitSet span;
    private final int most;
    private final int vocabulary;
    private final int top;
    private final IntPredicate ends;

    // By the number of tokens that its beams have.
    private final List<State> states = new ArrayList<>();
    // What has ended by now, and the number of tokens from whose state the search goes on with it.
    private Ended ended = Ended.NONE;
    private int since = -1;
    // Where each beam of a state builds on most, for those whose candidates have been read.
    private final List<int[]> places = new ArrayList<>();
    private final Map<Integer, Integer> returns = new HashMap<>();
    // By number of tokens, what is not to be taken there again.
    private final Map<Integer, Set<Choice>> rejected = new HashMap<>();
    private final Set<Path> wanted = new LinkedHashSet<>();
    private List<Path[]> candidates = List.of();
    private boolean returned;
    private boolean done;
    private Ended.Answer found;
    private int steps;
    private int wentBack;
    private int penalised;
    private double penaltySum;

    /**
     * Paths of one length.
     *
     * @param scores sum of log-probabilities of each
     * @param ended what had ended before them
     * @param choices how they came out of the state before
     */
    private record State(List<Path> beams, double[] scores, Ended ended, Set<Choice> choices) {
        State having(final Ended more) {
            return new State(beams, scores, more, choices);
        }
    }

    /** A token behind a beam of a state. */
    private record Choice(int beam, int token) {}

    /**
     * A search of which nothing was read.
     *
     * @param promptLength what the prompt counts in the length of answers
     * @param span columns of the prompt whose weight is rewarded in an opening
     * @param most tokens of an answer, at least 1
     * @param vocabulary number of tokens
     * @param top how many best tokens of a row are reported with the one that was taken; 0: nothing is
     * @param ends whether a token ends an answer
     */
    public Beams(
            final BeamSearch how,
            final int promptLength,
            final BitSet span,
            final int most,
            final int vocabulary,
            final int top,
            final IntPredicate ends) {
        this.how = how;
        this.trust = how.overTrust().orElse(null);
        this.promptLength = how.countsPrompt() ? promptLength : 0;
        this.span = span;
        this.most = most;
        this.vocabulary = vocabulary;
        this.top = top;
        this.ends = ends;
        final Path prompt = Path.prompt();
        states.add(new State(List.of(prompt), new double[1], Ended.NONE, Set.of()));
        wanted.add(prompt);
    }

    /** The paths to be read before it goes on; of one length, none twice. */
    public List<Path> wanted() {
        return List.copyOf(wanted);
    }

    /** How many of them there are. */
    public int wantedPaths() {
        return wanted.size();
    }

    /** The paths that it goes on from: what is wanted is one of them, or a token more. */
    public List<Path> kept() {
        return states.getLast().beams();
    }

    /** Whether attention is to be read with the rows. */
    public boolean readsAttention() {
        return trust != null;
    }

    /**
     * Takes what was read at the last token of a path that is wanted; when that was the last one, goes on.
     *
     * @param row its logits, {@code [vocabulary]}; kept, and not changed
     * @param heads its attention in the last block, {@code [heads][columns]}, itself the last column; of no consequence
     *     for the prompt or where {@link #readsAttention} says no
     */
    public void read(final Path path, final float[] row, final float[][] heads) {
        if (!wanted.remove(path)) {
            throw new IllegalArgumentException("a path that is not wanted");
        }
        final boolean builds = trust != null && path.length() > 0 && path.trust() == null;
        path.read(row, builds ? path.parent().trust().behind(heads, span, trust.scale()) : path.trust());
        while (wanted.isEmpty() && !done) {
            goOn();
        }
    }

    private void goOn() {
        if (trust != null && candidates.isEmpty() && !returned) {
            candidates = candidates(states.getLast().beams());
            candidates.forEach(of -> wanted.addAll(List.of(of)));
        } else {
            choose();
        }
    }

    private List<Path[]> candidates(final List<Path> beams) {
        return beams.stream()
                .map(beam -> Arrays.stream(Ranking.best(beam.row(), trust.candidates()))
                        .mapToObj(beam::with)
                        .toArray(Path[]::new))
                .toList();
    }

    private void choose() {
        final State now = states.getLast();
        steps++;
        final Ranking ranking = new Ranking(2 * how.beams());
        if (trust != null && !returned) {
            places.add(candidates.stream().mapToInt(this::place).toArray());
            if (goesBack()) {
                return;
            }
            for (int beam = 0; beam < candidates.size(); beam++) {
                final Path[] of = candidates.get(beam);
                ranking.add(
                        beam,
                        now.scores()[beam],
                        Arrays.stream(of).mapToInt(Path::token).toArray(),
                        penalised(now.beams().get(beam), of),
                        vocabulary);
            }
        } else {
            for (int beam = 0; beam < now.beams().size(); beam++) {
                ranking.add(beam, now.scores()[beam], allowed(beam, now.beams().get(beam)));
            }
        }
        take(now, ranking.best());
    }

    private int place(final Path[] of) {
        return mostFrequent(Arrays.stream(of).map(path -> path.trust().place(trust.factor())).toList());
    }

    // Of equally frequent ones the smallest.
    private static int mostFrequent(final List<Integer> values) {
        final Map<Integer, Long> counts =
                values.stream().collect(Collectors.groupingBy(Function.identity(), Collectors.counting()));
        return counts.entrySet().stream()
                .max(Map.Entry.<Integer, Long>comparingByValue()
                        .thenComparing(Map.Entry.comparingByKey(Comparator.reverseOrder())))
                .orElseThrow()
                .getKey();
    }

    private double[] penalised(final Path beam, final Path[] of) {
        final double[] scores = new double[of.length];
        final boolean opening = beam.length() < trust.opening();
        double norm = 0;
        for (int i = 0; i < of.length; i++) {
            final Trust built = of[i].trust();
            final double penalty =
                    opening ? -built.onSpan() : built.score(built.place(trust.factor()), trust.factor());
            scores[i] = beam.row()[of[i].token()] - trust.weight() * penalty;
            norm += trust.weight() * penalty * trust.weight() * penalty;
        }
        penalised++;
        penaltySum += Math.sqrt(norm);
        return scores;
    }

    // Where the search came back to all tokens compete but those that it had taken there.
    private float[] allowed(final int beam, final Path path) {
        final Set<Choice> taken = returned ? rejected.getOrDefault(path.length(), Set.of()) : Set.of();
        if (taken.isEmpty()) {
            return path.row();
        }
        final float[] row = path.row().clone();
        float smallest = Float.POSITIVE_INFINITY;
        for (final float logit : row) {
            smallest = Math.min(smallest, logit);
        }
        for (final Choice choice : taken) {
            if (choice.beam() == beam) {
                row[choice.token()] = smallest;
            }
        }
        return row;
    }

    // Goes back behind the place on which all beams have built for long, unless that was done too often.
    private boolean goesBack() {
        if (trust.threshold().isEmpty()) {
            return false;
        }
        final int place = mostFrequent(Arrays.stream(places.getLast()).boxed().toList());
        for (int beam = 0; beam < places.getLast().length; beam++) {
            final int of = beam;
            final long times = places.stream()
                    .filter(at -> place == at[Math.min(of, at.length - 1)])
                    .count();
            if (times <= trust.threshold().getAsInt()) {
                return false;
            }
        }
        if (place < trust.opening()) {
            return false;
        }
        int to = place + 1;
        if (returns.getOrDefault(to, 0) >= trust.candidates()) {
            to--;
        }
        if (returns.getOrDefault(to, 0) >= trust.candidates()) {
            return false;
        }
        returns.merge(to, 1, Integer::sum);
        goBack(to);
        return true;
    }

    private void goBack(final int to) {
        final Set<Choice> taken = new HashSet<>(rejected.getOrDefault(to, Set.of()));
        taken.addAll(states.get(to + 1).choices());
        rejected.put(to, taken);
        rejected.remove(to + 1);
        states.subList(to + 1, states.size()).clear();
        places.subList(to + 1, places.size()).clear();
        ended = states.getLast().ended();
        since = to;
        candidates = List.of();
        returned = true;
        wentBack++;
        want(states.getLast().beams());
    }

    private void want(final List<Path> paths) {
        paths.stream().filter(path -> path.row() == null).forEach(wanted::add);
    }

    // Sets aside what has ended among the best, and keeps as many of the others as there are beams.
    private void take(final State now, final List<Next> best) {
        final int length = now.beams().getFirst().length();
        final List<Path> kept = new ArrayList<>();
        final List<Double> scores = new ArrayList<>();
        final Set<Choice> choices = new HashSet<>();
        for (int rank = 0; rank < best.size() && kept.size() < how.beams(); rank++) {
            final Next next = best.get(rank);
            final Path beam = now.beams().get(next.beam());
            if (!ends.test(next.token())) {
                kept.add(reported(candidate(next, beam), beam));
                scores.add(next.score());
                choices.add(new Choice(next.beam(), next.token()));
            } else if (rank < how.beams()) {
                ended = ended.with(answer(beam, next.score(), true), how.beams());
                done |= how.beams() == 1;
            }
        }
        now.beams().forEach(Path::forgetRow);
        candidates = List.of();
        returned = false;
        // As in the official code, which goes on with the state's own list: what ends behind it is in it when the
        // search comes back once more.
        if (since >= 0) {
            states.set(since, states.get(since).having(ended));
        }
        states.add(new State(
                kept, scores.stream().mapToDouble(Double::doubleValue).toArray(), ended, choices));
        done |= length + 1 == most
                || kept.isEmpty()
                || ended.isFinal(how.beams(), best.getFirst().score() / byLength(length + 1));
        if (!done) {
            want(kept);
        }
    }

    // One that was read already, if it is among the candidates.
    private Path candidate(final Next next, final Path beam) {
        return candidates.isEmpty()
                ? beam.with(next.token())
                : Arrays.stream(candidates.get(next.beam()))
                        .filter(path -> path.token() == next.token())
                        .findFirst()
                        .orElseGet(() -> beam.with(next.token()));
    }

    private Path reported(final Path path, final Path beam) {
        if (top > 0) {
            path.report(Ranking.competition(beam.row(), path.token(), top));
        }
        return path;
    }

    private double byLength(final int tokens) {
        return Math.pow(promptLength + tokens, how.lengthPenalty());
    }

    private Ended.Answer answer(final Path path, final double score, final boolean whole) {
        // An answer without a token, to a prompt that does not count, has no length: its sum stands alone.
        final int length = Math.max(1, promptLength + path.length());
        return new Ended.Answer(path, score / Math.pow(length, how.lengthPenalty()), whole);
    }

    /** Whether it has its answer, and wants nothing more. */
    public boolean isDone() {
        return done;
    }

    /** The answer, or the best there is so far. */
    public Path answer() {
        return best().path();
    }

    /** Whether the model has ended it. */
    public boolean isWhole() {
        return best().whole();
    }

    private Ended.Answer best() {
        if (found != null) {
            return found;
        }
        final State last = states.getLast();
        Ended all = ended;
        if (!(how.beams() == 1 && !all.answers().isEmpty())) {
            for (int beam = 0; beam < last.beams().size(); beam++) {
                all = all.with(answer(last.beams().get(beam), last.scores()[beam], false), how.beams());
            }
        }
        if (done) {
            found = all.best();
        }
        return all.best();
    }

    /** Steps so far: times that tokens were taken, or given up. */
    public int steps() {
        return steps;
    }

    /** How often it went back. */
    public int wentBack() {
        return wentBack;
    }

    /** Beams whose candidates were judged, at all steps together. */
    public int penalised() {
        return penalised;
    }

    /** Mean L2 norm of what was taken from the candidates of a beam. */
    public double meanPenalty() {
        return penalised == 0 ? 0 : penaltySum / penalised;
    }
}
