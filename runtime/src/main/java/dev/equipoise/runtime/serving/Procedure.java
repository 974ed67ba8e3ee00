package dev.equipoise.runtime.serving;

/**
 * Several requests, one after another, that together make one result. Written as plain code: it runs on a thread of its
 * own where a service carries its steps out, and on the engine's thread where it is used directly.
 *
 * @param <T> what comes out
 */
@FunctionalInterface
public interface Procedure<T> {
    /**
     * Carries it out. What a step throws is passed on: that is how it ends when it is cancelled.
     *
     * @param steps for the calling thread, until this returns
     */
    T run(Steps steps);
}
