/**
 * Many requests from many threads on one engine: a waiting line, admission by KV cells and branches, streams with
 * back-pressure, procedures of several requests. Stands on {@link dev.equipoise.runtime.Engine}'s public API; what
 * listens on a network is not here.
 */
package dev.equipoise.runtime.serving;
