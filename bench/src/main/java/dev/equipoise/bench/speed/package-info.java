/**
 * How long decoding takes: strategies beside plain decoding, and this engine beside the programs of bare llama.cpp,
 * in interleaved runs. A figure is always a ratio of two arms of one round, the median over rounds with its interval;
 * times by themselves describe a machine and an hour.
 */
package dev.equipoise.bench.speed;
