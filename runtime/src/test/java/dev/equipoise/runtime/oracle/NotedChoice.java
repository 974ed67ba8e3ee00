package dev.equipoise.runtime.oracle;

import dev.equipoise.runtime.Rechoice;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.tiny.Placement;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * A choice of tokens that remembers what an engine was told, for the oracle to do the same: where products round so
 * coarsely that a token at the edge may be chosen by one and not by the other, what follows can be compared only so.
 * Along one answer; of several, the last.
 */
public final class NotedChoice implements Rechoice.Choice {
    private final Rechoice.Choice choice;
    // By the number of columns that there were.
    private final SortedMap<Integer, List<Rechoice.Taken>> noted = new TreeMap<>();

    private NotedChoice(final Rechoice.Choice choice) {
        this.choice = choice;
    }

    /** A request whose choice, if it has one, is noted. */
    public static Request in(final Request request) {
        return new Request(
                request.branches(),
                request.combination(),
                request.sampling(),
                request.limits(),
                request.logProbabilities(),
                request.strategy(),
                request.merge(),
                request.gate(),
                request.rechoice().map(rechoice -> new Rechoice(
                        rechoice.look(), rechoice.chosen(), new NotedChoice(rechoice.choice()))),
                request.search());
    }

    /** The same where blocks lie on a GPU; elsewhere the request itself, so that the choice is compared too. */
    public static Request onGpu(final Request request) {
        return Placement.onGpu() ? in(request) : request;
    }

    /** What a request made by {@link #in} was told, in the order of its tokens. */
    public static List<List<Rechoice.Taken>> of(final Request request) {
        return new ArrayList<>(((NotedChoice) request.rechoice().orElseThrow().choice()).noted.values());
    }

    @Override
    public List<Rechoice.Taken> choose(final Rechoice.Seen seen) {
        final List<Rechoice.Taken> taken = choice.choose(seen);
        noted.put(seen.heads().getFirst()[0].length, taken);
        return taken;
    }

    /** What was chosen when there were as many columns, if it was noted. */
    static Optional<List<Rechoice.Taken>> noted(final Rechoice.Choice choice, final int columns) {
        return choice instanceof NotedChoice notes ? Optional.ofNullable(notes.noted.get(columns)) : Optional.empty();
    }
}
