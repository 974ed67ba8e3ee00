package dev.equipoise.runtime;

/** What a further column of a decode costs. */
final class Columns {
    private Columns() {}

    /** Whether a few columns are known to cost little more than one. */
    static boolean areCheap(final Model model) {
        return !model.isOnCpu() || model.multipliesItself();
    }
}
