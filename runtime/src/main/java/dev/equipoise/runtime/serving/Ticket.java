package dev.equipoise.runtime.serving;

import dev.equipoise.kernels.error.EquipoiseException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Generation;
import dev.equipoise.runtime.PreparedRequest;
import dev.equipoise.runtime.Request;
import java.util.ArrayDeque;
import java.util.Optional;
import java.util.concurrent.locks.Condition;

/**
 * A request that a service has accepted. Any thread may call its methods; readers share one stream of tokens.
 *
 * <p>Back-pressure: at most {@link ServiceOptions#streamTokens} tokens wait for a reader, then the request pauses and
 * only it; it goes on when a token is taken. While it pauses it keeps its cells and branches: whoever stops reading
 * calls {@link #cancel} or {@link #await}.
 */
public final class Ticket {
    private final EngineService service;
    private final PreparedRequest prepared;
    private final Condition changed;
    // What follows is guarded by the service's lock.
    private final ArrayDeque<StreamedToken> tokens = new ArrayDeque<>();
    private Generation generation;
    private Answer answer;
    private EquipoiseException failure;
    private boolean cancelled;
    private boolean streaming = true;

    Ticket(final EngineService service, final PreparedRequest prepared) {
        this.service = service;
        this.prepared = prepared;
        this.changed = service.lock().newCondition();
    }

    /** What was asked. */
    public Request request() {
        return prepared.request();
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
                requireAnswer();
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
     * Waits for the answer. Tokens that were not taken are dropped, and the stream ends: from here on no reader holds
     * the request up.
     *
     * @throws EquipoiseException if the request failed
     */
    public Answer await() throws InterruptedException {
        service.lock().lockInterruptibly();
        try {
            streaming = false;
            tokens.clear();
            resume();
            while (!isOver()) {
                changed.await();
            }
            return requireAnswer();
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

    private boolean isOver() {
        return answer != null || failure != null;
    }

    private Answer requireAnswer() {
        if (failure != null) {
            throw failure;
        }
        return answer;
    }

    private void resume() {
        if (generation != null && !isOver()) {
            generation.resume();
            service.wake();
        }
    }

    PreparedRequest prepared() {
        return prepared;
    }

    boolean isCancelled() {
        return cancelled;
    }

    /** Notes that the engine has it. */
    void begin(final Generation begun) {
        generation = begun;
        if (cancelled) {
            begun.cancel();
        }
    }

    Generation generation() {
        return generation;
    }

    /** Takes a token from the engine's thread, and pauses when there are {@code most}. */
    void offer(final int id, final String text, final int most) {
        service.lock().lock();
        try {
            if (streaming) {
                tokens.add(new StreamedToken(id, text));
                // None before the generation has begun: it has no token then.
                if (tokens.size() >= most) {
                    generation.pause();
                }
                changed.signalAll();
            }
        } finally {
            service.lock().unlock();
        }
    }

    /** Ends it with an answer. */
    void end(final Answer with) {
        answer = with;
        changed.signalAll();
    }

    /** Ends it with what went wrong. */
    void fail(final EquipoiseException with) {
        failure = with;
        changed.signalAll();
    }
}
