package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import java.util.BitSet;

/** The sequences and KV cells of a context: who has how many, and who may have some. */
final class Admission {
    private final int cells;
    private final int branches;
    private final BitSet sequences = new BitSet();
    private int usedCells;

    Admission(final int cells, final int branches) {
        this.cells = cells;
        this.branches = branches;
    }

    /** Whether there are {@code wanted} sequences and {@code wantedCells} cells. */
    boolean hasRoom(final int wanted, final long wantedCells) {
        return wanted <= branches - sequences.cardinality() && wantedCells <= cells - usedCells;
    }

    /** Refuses what there is no room for, with the numbers. */
    void require(final int wanted, final long wantedCells) {
        final int free = branches - sequences.cardinality();
        if (wanted > free) {
            throw new BadInputException(
                    "more branches than there is room for",
                    wanted + " wanted, " + free + " of " + branches + " free",
                    "open the engine with more branches, or wait for others to end");
        }
        if (wantedCells > cells - usedCells) {
            final boolean never = wantedCells > cells;
            throw new BadInputException(
                    "no room in the context",
                    wantedCells + " cells wanted, " + (cells - usedCells) + " of " + cells + " free",
                    never
                            ? "shorten the prompt, ask for fewer tokens, or open the engine with a larger context"
                                    + " (--ctx)"
                            : "wait for others to end");
        }
    }

    /** Takes a sequence. */
    int takeSequence() {
        final int sequence = sequences.nextClearBit(0);
        sequences.set(sequence);
        return sequence;
    }

    /** Gives a sequence back. */
    void freeSequence(final int sequence) {
        sequences.clear(sequence);
    }

    /** Takes cells if there are so many. */
    boolean takeCells(final int wanted) {
        if (wanted > cells - usedCells) {
            return false;
        }
        usedCells += wanted;
        return true;
    }

    /** Gives cells back. */
    void freeCells(final int count) {
        usedCells -= count;
    }

    /** Whether a cell is free. */
    boolean hasCell() {
        return usedCells < cells;
    }

    /** Sequences that nobody has. */
    int freeSequences() {
        return branches - sequences.cardinality();
    }

    /** Cells that nobody has. */
    int freeCells() {
        return cells - usedCells;
    }
}
