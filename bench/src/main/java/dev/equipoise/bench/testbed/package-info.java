/**
 * The conflict world: generated pictures, sounds, notes and questions that agree or contradict each other, their data
 * files, and the measure of whom a model's answers follow. The language model trained on it lies beside as a resource,
 * with its card; nothing here needs the native library.
 */
package dev.equipoise.bench.testbed;
