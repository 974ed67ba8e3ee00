/**
 * Strict reading of JSON documents: what is not known, doubled, of the wrong type or out of range is refused with its
 * path. Knows nothing of strategies.
 */
package dev.equipoise.decoding.spec;
