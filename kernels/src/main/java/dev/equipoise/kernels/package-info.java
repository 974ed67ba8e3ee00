/**
 * The kernels of contrastive decoding as plain calls: rows of logits in, combined rows and statistics out.
 * The same native code runs inside the compute graph; these doors serve tests and callers who hold logits of their own.
 */
package dev.equipoise.kernels;
