/**
 * Steering vectors: extracted from the hidden states of paired prompts or of masked pictures, drawn at random as a
 * control, and kept in llama.cpp's control-vector files or, for a picture encoder, in files beside those. In memory
 * they are {@link dev.equipoise.runtime.intervention.LayerVectors} and {@link
 * dev.equipoise.runtime.intervention.PositionVectors}, and it is the runtime that adds them.
 */
package dev.equipoise.steering.vector;
