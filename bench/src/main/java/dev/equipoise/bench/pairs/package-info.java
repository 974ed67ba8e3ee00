/**
 * Data files of paired prompts, from which {@link dev.equipoise.steering.vector.PairedStates} reads the hidden states
 * that make a steering vector. The prompts themselves, media and all, are the runtime's.
 */
package dev.equipoise.bench.pairs;
