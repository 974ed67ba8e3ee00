package dev.equipoise.runtime;

/**
 * A run of prompt tokens of one modality.
 *
 * @param modality whose tokens they are
 * @param start index of the first token in the prompt
 * @param length number of tokens, at least 1
 */
public record Span(Modality modality, int start, int length) {}
