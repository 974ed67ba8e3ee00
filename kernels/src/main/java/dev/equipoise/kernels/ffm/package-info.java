/**
 * The edge to native code: finding libraries, binding their symbols, turning statuses into typed errors.
 * Only this package and {@code dev.equipoise.runtime.ffm} touch {@code java.lang.foreign}; nothing here is public API.
 */
package dev.equipoise.kernels.ffm;
