package dev.equipoise.runtime;

/** What a further column of a decode costs. */
final class Columns {
    private Columns() {}

    /** Whether a few columns are known to cost little more than one. */
    static boolean areCheap(final Model model) {
        return !model.isOnCpu() || multiplies(model);
    }

    /** Whether a model's weights are multiplied by kernels of this project, to which every column costs the same. */
    static boolean multiplies(final Model model) {
        return model.isOnCpu()
                && NativeInfo.read().multipliesItself()
                && model.info().description().contains("Q4_0");
    }
}
