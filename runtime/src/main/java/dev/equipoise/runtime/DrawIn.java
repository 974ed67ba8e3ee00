package dev.equipoise.runtime;

/**
 * Where an engine finds the best token of a row: the same token either way. What needs more of its row than that, such
 * as a sampler chain, is drawn on the host whatever is chosen here.
 */
public enum DrawIn {
    /** On the host, which reads the row. */
    HOST,
    /** In the model's graph: only the token's id leaves it. */
    GRAPH,
    /** In the graph where blocks of the model are on a GPU; on a CPU the host reads rows where they lie. */
    AUTO
}
