/**
 * The testbed model at work: the bundled files, one item asked with every strategy, a data file evaluated. Uses what
 * {@code dev.equipoise.bench.testbed} generates; the command line prints what comes out here.
 */
package dev.equipoise.bench.demo;
