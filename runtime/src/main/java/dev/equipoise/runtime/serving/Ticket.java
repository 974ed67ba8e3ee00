package dev.equipoise.runtime.serving;

import dev.equipoise.kernels.error.EquipoiseException;
import dev.equipoise.runtime.Generation;
import java.util.ArrayDeque;
import java.util.Optional;
import java.util.concurrent.locks.Condition;

/**
 * A request, or a procedure of several, that a service has accepted. Any thread may call its methods; readers share one
 * stream of tokens.
 *
 * <p>Back-pressure: at most {@link ServiceOptions#streamTokens} tokens wait for a reader, then the request pauses and
 * only it; it goes on when a token is taken. While it pauses it keeps its cells and branches: whoever stops reading
 * calls {@link #cancel} or {@link #await}. One whose reader takes nothing for {@link ServiceOptions#patience} ends as
 * {@link dev.equipoise.runtime.FinishReason#ABANDONED}; what waits for the reader can still be read. The tokens of a
 * search come all at once, however many may wait.
 *
 * @param <T> what it ends with: an answer, if it is a request
 */
public final class Ticket<T> {
    private final EngineService service;
    private final long turn;
    private final Condition changed;
    // What follows is guarded by the service's lock.
    private final ArrayDeque<StreamedToken> tokens = new ArrayDeque<>();
    private Generation generation;
    private T result;
    private EquipoiseException failure;
    private boolean cancelled;
    private boolean abandoned;
    private boolean streaming = true;
    private boolean waitsForReader;
    private long since;

    /** A ticket that was given out as number {@code turn}. */
    Ticket(final EngineService service, final long turn) {
        this.service = service;
        this.turn = turn;
        this.changed = service.lock().newCondition();
    }

    /**
     * Waits for the next token.
     *
     * @return empty when the answer has ended and all of its tokens were taken
     * @throws EquipoiseException if the request failed, when the tokens before the failure were taken
     */
    public Optional<StreamedToken> next() throws InterruptedException {
        service.lock().lockInterruptibly();
        try {
            while (tokens.isEmpty() && !isOver()) {
                changed.await();
            }
            if (tokens.isEmpty()) {
                requireResult();
                return Optional.empty();
            }
            final StreamedToken token = tokens.remove();
            resume();
            return Optional.of(token);
        } finally {
            service.lock().unlock();
        }
    }

    /**
     * Waits for what it ends with. Tokens that were not taken are dropped, and the stream ends: from here on no reader
     * holds the request up.
     *
     * @throws EquipoiseException if the request failed
     */
    public T await() throws InterruptedException {
        service.lock().lockInterruptibly();
        try {
            streaming = false;
            tokens.clear();
            resume();
            while (!isOver()) {
                changed.await();
            }
            return requireResult();
        } finally {
            service.lock().unlock();
        }
    }

    /** Asks it to end; its answer then says so. Idempotent; of no consequence when it has ended. */
    public void cancel() {
        service.lock().lock();
        try {
            cancelled = true;
            if (generation != null) {
                generation.cancel();
            }
            service.wake();
        } finally {
            service.lock().unlock();
        }
    }

    /** Whether it has ended; tokens may still wait for their reader. */
    public boolean isDone() {
        service.lock().lock();
        try {
            return isOver();
        } finally {
            service.lock().unlock();
        }
    }

    boolean isOver() {
        return result != null || failure != null;
    }

    private T requireResult() {
        if (failure != null) {
            throw failure;
        }
        return result;
    }

    private void resume() {
        waitsForReader = false;
        if (generation != null) {
            generation.resume();
            service.wake();
        }
    }

    /** Its place among all tickets of its service. */
    long turn() {
        return turn;
    }

    boolean isCancelled() {
        return cancelled;
    }

    /** Whether its reader was waited for in vain. */
    boolean isAbandoned() {
        return abandoned;
    }

    /** When it began to wait for its reader, on the service's clock; {@code none} if it does not. */
    long waitingSince(final long none) {
        return waitsForReader ? since : none;
    }

    /** Ends it because its reader does not come. */
    void abandon() {
        abandoned = true;
        waitsForReader = false;
        generation.cancel();
    }

    /** Notes which generation the engine has of it, null for none. */
    void begin(final Generation begun) {
        generation = begun;
        waitsForReader = false;
        if (cancelled && begun != null) {
            begun.cancel();
        }
    }

    /** Takes a token from whoever makes them, and pauses when there are {@code most}. */
    void offer(final int id, final String text, final int most) {
        service.lock().lock();
        try {
            if (streaming) {
                tokens.add(new StreamedToken(id, text));
                // No pause where nothing generates: what a procedure says by itself.
                if (tokens.size() >= most && generation != null) {
                    generation.pause();
                    since = waitsForReader ? since : service.now();
                    waitsForReader = true;
                }
                changed.signalAll();
            }
        } finally {
            service.lock().unlock();
        }
    }

    /** Waits for something to change; the caller holds the lock and is not a reader. */
    void awaitChange() {
        changed.awaitUninterruptibly();
    }

    void signal() {
        changed.signalAll();
    }

    /** Ends it with a result. */
    void end(final T with) {
        result = with;
        changed.signalAll();
    }

    /** Ends it with what went wrong. */
    void fail(final EquipoiseException with) {
        failure = with;
        changed.signalAll();
    }
}
