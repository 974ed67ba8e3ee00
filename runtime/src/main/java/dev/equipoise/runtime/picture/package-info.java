/**
 * Pixels, and what can be done to a picture before a model's own preprocessing: mirrored, turned, coloured, blurred,
 * cut out, painted over. Plain arithmetic on bytes below {@link dev.equipoise.runtime.Image}, which decodes files into
 * them.
 */
package dev.equipoise.runtime.picture;
