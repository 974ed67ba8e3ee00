/**
 * Beam search: answers that grow side by side, are ranked as wholes and may be given up for what stood before. What is
 * to be read next, and what becomes of it, is decided here from rows and attention alone; the engine reads.
 */
package dev.equipoise.runtime.search;
