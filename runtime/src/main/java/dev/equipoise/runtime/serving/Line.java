package dev.equipoise.runtime.serving;

import dev.equipoise.runtime.PreparedRequest;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;

/**
 * Steps that wait for room, in the order in which their tickets were given out. One that fits may overtake others that
 * do not, each of them a bounded number of times; behind one that has been overtaken so often, all wait. Guarded by the
 * service's lock.
 */
final class Line {
    private final int overtaking;
    private final List<Step> steps = new ArrayList<>();

    Line(final int overtaking) {
        this.overtaking = overtaking;
    }

    void add(final Step step) {
        int at = steps.size();
        while (at > 0 && steps.get(at - 1).ticket().turn() > step.ticket().turn()) {
            at--;
        }
        steps.add(at, step);
    }

    /** Takes out the next that is to begin, or gives null. */
    Step next(final Predicate<PreparedRequest> hasRoom) {
        for (int i = 0; i < steps.size(); i++) {
            if (hasRoom.test(steps.get(i).prepared())) {
                for (int before = 0; before < i; before++) {
                    steps.get(before).overtake();
                }
                return steps.remove(i);
            }
            if (steps.get(i).overtaken() >= overtaking) {
                return null;
            }
        }
        return null;
    }

    /** Takes out those whose tickets were cancelled. */
    List<Step> cancelled() {
        final List<Step> cancelled =
                steps.stream().filter(step -> step.ticket().isCancelled()).toList();
        steps.removeAll(cancelled);
        return cancelled;
    }

    /** Takes all out. */
    List<Step> all() {
        final List<Step> all = List.copyOf(steps);
        steps.clear();
        return all;
    }
}
