package dev.equipoise.runtime;

import java.util.Objects;

/**
 * One way of asking: a prompt that is prefilled into its own sequence and fed the same generated tokens as its
 * siblings.
 *
 * @param name how traces and explanations call it; the first branch of a request is its base
 * @param prompt what this branch reads
 */
public record Branch(String name, Prompt prompt) {
    public Branch {
        Objects.requireNonNull(name);
        Objects.requireNonNull(prompt);
    }
}
