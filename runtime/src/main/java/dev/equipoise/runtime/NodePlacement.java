package dev.equipoise.runtime;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;

/**
 * Where the graph's nodes of one mechanism run, as llama.cpp divides the graph among devices.
 *
 * @param onGpu blocks whose nodes a GPU runs; -1 for nodes of no block
 * @param onCpu blocks whose nodes the CPU runs, although others of the model are on a GPU
 * @param why what keeps those on the CPU, in words, each reason once
 */
public record NodePlacement(SortedSet<Integer> onGpu, SortedSet<Integer> onCpu, Set<String> why) {
    /** Blocks and reasons are taken over as they are. */
    public NodePlacement {
        onGpu = Collections.unmodifiableSortedSet(new TreeSet<>(onGpu));
        onCpu = Collections.unmodifiableSortedSet(new TreeSet<>(onCpu));
        why = Collections.unmodifiableSet(new LinkedHashSet<>(why));
    }

    /** Of something that runs outside the graph. */
    public static NodePlacement onHost(final String why) {
        return new NodePlacement(new TreeSet<>(), new TreeSet<>(Set.of(-1)), Set.of(why));
    }

    /** {@code "cuda"}, {@code "cpu"}, or {@code "both"}. */
    public String runsOn() {
        return onCpu.isEmpty() ? "cuda" : onGpu.isEmpty() ? "cpu" : "both";
    }

    /** In words. */
    public String words() {
        final List<String> words = new ArrayList<>();
        if (!onGpu.isEmpty()) {
            words.add("the GPU" + (onCpu.isEmpty() ? "" : blocks(onGpu)));
        }
        if (!onCpu.isEmpty()) {
            words.add("the CPU" + (onGpu.isEmpty() ? "" : blocks(onCpu)) + ", because " + String.join("; ", why));
        }
        return String.join("; ", words);
    }

    private static String blocks(final SortedSet<Integer> layers) {
        return layers.last() < 0 ? "" : " (blocks " + layers.toString().replaceAll("[\\[\\]]|-1, ", "") + ")";
    }
}
