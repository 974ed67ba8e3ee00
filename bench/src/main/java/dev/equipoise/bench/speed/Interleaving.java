package dev.equipoise.bench.speed;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** The order of arms within a round, chosen so that no arm owns a place: what runs before it leaves its traces. */
final class Interleaving {
    private Interleaving() {}

    /** Round r starts with arm r: over as many rounds as there are arms, each stands at each place once. */
    static <T> List<T> rotated(final List<T> arms, final int round) {
        final List<T> order = new ArrayList<>(arms);
        Collections.rotate(order, -Math.floorMod(round, arms.size()));
        return order;
    }

    /** Forwards in even rounds, backwards in odd ones: arms that are compared stay neighbours and take turns. */
    static <T> List<T> alternating(final List<T> arms, final int round) {
        return round % 2 == 0 ? List.copyOf(arms) : arms.reversed();
    }
}
