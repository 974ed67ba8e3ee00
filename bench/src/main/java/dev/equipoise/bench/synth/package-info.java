/**
 * Random models of real shapes, to measure speed where no real model is at hand: speed does not depend on what the
 * weights say. Used by the command line and the benchmarks.
 */
package dev.equipoise.bench.synth;
