/**
 * Many requests from many threads on one engine: a waiting queue, admission by KV cells and branches, streams with
 * back-pressure. Stands on {@link dev.equipoise.runtime.Engine}'s public API; what listens on a network is not here.
 */
package dev.equipoise.runtime.serving;
