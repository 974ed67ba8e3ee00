package dev.equipoise.runtime;

/** What a request is there for. */
enum Purpose {
    /** Its tokens. */
    TOKENS,
    /** The row from which its first token would be drawn. */
    LOGITS,
    /** The rows behind the prompts of all its branches, each as it is. */
    ROWS,
    /** What the interventions that only look see of its prompt. */
    OBSERVATION,
    /** What the conditions of another request are decided from. */
    CONDITIONS
}
