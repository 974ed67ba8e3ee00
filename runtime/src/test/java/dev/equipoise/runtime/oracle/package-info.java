/**
 * The judge: a forward pass of the {@code llama} architecture and the contrast formulas, written from the mathematics
 * with double accumulators and no cleverness. Ships in the test-jar so that every room above can be judged by it.
 */
package dev.equipoise.runtime.oracle;
