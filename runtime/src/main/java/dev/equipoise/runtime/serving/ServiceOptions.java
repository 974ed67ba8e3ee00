package dev.equipoise.runtime.serving;

import dev.equipoise.kernels.error.BadInputException;

/**
 * How a service takes requests in.
 *
 * @param waiting most requests that may wait, at least 1; every request does, if only for the step in progress
 * @param streamTokens tokens of one request that may wait for their reader before the request pauses, at least 1
 */
public record ServiceOptions(int waiting, int streamTokens) {
    private static final int DEFAULT_WAITING = 64;
    private static final int DEFAULT_STREAM_TOKENS = 64;
    private static final int MOST = 1 << 20;

    public ServiceOptions {
        require(waiting >= 1 && waiting <= MOST, "waiting " + waiting, "1.." + MOST);
        require(streamTokens >= 1 && streamTokens <= MOST, "streamTokens " + streamTokens, "1.." + MOST);
    }

    private static void require(final boolean ok, final String where, final String range) {
        if (!ok) {
            throw new BadInputException("service option out of range", where, "choose " + range);
        }
    }

    /** 64 requests wait, 64 tokens wait. */
    public static ServiceOptions defaults() {
        return new ServiceOptions(DEFAULT_WAITING, DEFAULT_STREAM_TOKENS);
    }

    /** These options with another queue. */
    public ServiceOptions withWaiting(final int requests) {
        return new ServiceOptions(requests, streamTokens);
    }

    /** These options with another buffer. */
    public ServiceOptions withStreamTokens(final int tokens) {
        return new ServiceOptions(waiting, tokens);
    }
}
