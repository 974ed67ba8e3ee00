/**
 * Reads, validates and writes GGUF files in plain Java, so that nothing malformed ever reaches llama.cpp, which aborts.
 * Data is read on demand by position: no file stays open and no file is too large.
 */
package dev.equipoise.runtime.gguf;
