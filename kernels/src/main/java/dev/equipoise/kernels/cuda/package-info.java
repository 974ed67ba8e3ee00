/**
 * Rows of logits that live on a CUDA device, in memory that Java owns through JCuda, and the contrast of such rows.
 * Beside {@code kernels.ffm}, whose launches work on the addresses that JCuda gives.
 */
package dev.equipoise.kernels.cuda;
