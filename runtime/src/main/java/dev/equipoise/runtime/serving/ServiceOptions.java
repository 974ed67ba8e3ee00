package dev.equipoise.runtime.serving;

import dev.equipoise.kernels.error.BadInputException;
import java.time.Duration;
import java.util.Objects;

/**
 * How a service takes requests in.
 *
 * @param waiting most tickets that may wait, at least 1; every one does, if only for the step in progress
 * @param streamTokens tokens of one request that may wait for their reader before the request pauses, at least 1
 * @param overtaking how often one that has no room yet may be overtaken by later ones that have, at least 0: 0 serves
 *     strictly in order
 * @param patience how long a request pauses for its reader before it is ended as abandoned, more than 0
 */
public record ServiceOptions(int waiting, int streamTokens, int overtaking, Duration patience) {
    private static final int DEFAULT_WAITING = 64;
    private static final int DEFAULT_STREAM_TOKENS = 64;
    private static final int DEFAULT_OVERTAKING = 8;
    private static final Duration DEFAULT_PATIENCE = Duration.ofMinutes(5);
    private static final Duration LONGEST = Duration.ofDays(365);
    private static final int MOST = 1 << 20;

    public ServiceOptions {
        require(waiting >= 1 && waiting <= MOST, "waiting " + waiting, "1.." + MOST);
        require(streamTokens >= 1 && streamTokens <= MOST, "streamTokens " + streamTokens, "1.." + MOST);
        require(overtaking >= 0 && overtaking <= MOST, "overtaking " + overtaking, "0.." + MOST);
        Objects.requireNonNull(patience);
        require(patience.isPositive() && patience.compareTo(LONGEST) <= 0, "patience " + patience, "up to " + LONGEST);
    }

    private static void require(final boolean ok, final String where, final String range) {
        if (!ok) {
            throw new BadInputException("service option out of range", where, "choose " + range);
        }
    }

    /** 64 tickets wait, 64 tokens wait, one that waits is overtaken up to 8 times, a reader may rest for 5 minutes. */
    public static ServiceOptions defaults() {
        return new ServiceOptions(DEFAULT_WAITING, DEFAULT_STREAM_TOKENS, DEFAULT_OVERTAKING, DEFAULT_PATIENCE);
    }

    /** These options with another queue. */
    public ServiceOptions withWaiting(final int tickets) {
        return new ServiceOptions(tickets, streamTokens, overtaking, patience);
    }

    /** These options with another buffer. */
    public ServiceOptions withStreamTokens(final int tokens) {
        return new ServiceOptions(waiting, tokens, overtaking, patience);
    }

    /** These options with another bound on overtaking. */
    public ServiceOptions withOvertaking(final int times) {
        return new ServiceOptions(waiting, streamTokens, times, patience);
    }

    /** These options with other patience. */
    public ServiceOptions withPatience(final Duration time) {
        return new ServiceOptions(waiting, streamTokens, overtaking, time);
    }
}
