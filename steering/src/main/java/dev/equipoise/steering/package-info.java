/**
 * What will act inside the network: steering vectors (extracted, stored, applied), attention edits, token compression.
 * Interventions on the residual stream, the attention and the embeddings of a request live here, contrasts of whole
 * branches in {@code dev.equipoise.decoding}.
 */
package dev.equipoise.steering;
