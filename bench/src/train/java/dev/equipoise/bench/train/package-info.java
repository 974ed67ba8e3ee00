/**
 * Trains the testbed model with libtorch; built only in the Maven profile {@code train}. The sound encoder is heard
 * through our own runtime, everything else is learnt here and exported as the GGUF files that the runtime loads.
 */
package dev.equipoise.bench.train;
