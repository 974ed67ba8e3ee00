/**
 * Random models of a few kilobytes that llama.cpp and libmtmd really load, for tests here and in the rooms above.
 * Nothing in them is trained: what they compute is only compared with the oracle.
 */
package dev.equipoise.runtime.tiny;
