/**
 * The JMH suite: what a call across the native boundary costs, what the kernels cost beside their reference, and what
 * a token costs beside a JNI binding of llama.cpp. Each benchmark has a test that runs every combination of its
 * parameters once and judges the answer.
 */
package dev.equipoise.bench.jmh;
