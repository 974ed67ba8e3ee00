/**
 * Steering vectors: extracted from the hidden states of paired prompts, drawn at random as a control, and kept in
 * llama.cpp's control-vector files. In memory they are {@link dev.equipoise.runtime.intervention.LayerVectors}, and it
 * is the runtime that adds them.
 */
package dev.equipoise.steering.vector;
