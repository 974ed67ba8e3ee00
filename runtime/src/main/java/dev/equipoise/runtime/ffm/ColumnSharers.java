package dev.equipoise.runtime.ffm;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Which columns of a decode are other sequences' too: {@code eq_batch.sharers}, a bit for each of them. Decodes in
 * which none is, which are nearly all, leave the words as they are.
 */
final class ColumnSharers {
    private final MemorySegment words;
    private boolean some;

    ColumnSharers(final Arena arena, final int columnCapacity) {
        words = arena.allocate(JAVA_LONG, (long) columnCapacity * Host.SHARER_WORDS);
    }

    /** {@code [columns][Host.SHARER_WORDS]}, which mean something once {@link #begin} was called. */
    MemorySegment words() {
        return words;
    }

    /** No column is shared, from now on. */
    void clear() {
        some = false;
    }

    /** From now on columns may be shared, of which there are {@code columns} so far. */
    void begin(final int columns) {
        for (int column = 0; column < columns && !some; column++) {
            alone(column);
        }
        some = true;
    }

    /** Takes note of a new column, which is its own sequence's alone. */
    void place(final int column) {
        if (some) {
            alone(column);
        }
    }

    private void alone(final int column) {
        for (int word = 0; word < Host.SHARER_WORDS; word++) {
            words.setAtIndex(JAVA_LONG, (long) column * Host.SHARER_WORDS + word, 0);
        }
    }

    /** Whether a sequence shares a column. */
    boolean has(final int column, final int sequence) {
        return some && (words.getAtIndex(JAVA_LONG, word(column, sequence)) >> sequence % Long.SIZE & 1) != 0;
    }

    /** Lets a sequence share a column. */
    void add(final int column, final int sequence) {
        final long at = word(column, sequence);
        words.setAtIndex(JAVA_LONG, at, words.getAtIndex(JAVA_LONG, at) | 1L << sequence % Long.SIZE);
    }

    private static long word(final int column, final int sequence) {
        return (long) column * Host.SHARER_WORDS + sequence / Long.SIZE;
    }
}
