package dev.equipoise.runtime.intervention;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Collections;
import java.util.SortedSet;
import java.util.TreeSet;

/**
 * Attention heads of a block, counted from 0 among those of its queries.
 *
 * @param numbers which, ascending; empty: all
 */
public record Heads(SortedSet<Integer> numbers) {
    /** Every head. */
    public static final Heads ALL = new Heads(Collections.emptySortedSet());

    public Heads {
        numbers = Collections.unmodifiableSortedSet(new TreeSet<>(numbers));
        if (!numbers.isEmpty() && numbers.first() < 0) {
            throw new BadInputException("a head below 0", String.valueOf(numbers), "count heads from 0");
        }
    }

    /** Whether it is every head. */
    public boolean isAll() {
        return numbers.isEmpty();
    }

    /** Whether a head is among them. */
    public boolean contains(final int head) {
        return isAll() || numbers.contains(head);
    }
}
