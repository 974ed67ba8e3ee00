package dev.equipoise.runtime.serving;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.EquipoiseException;
import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.kernels.error.LifetimeException;
import dev.equipoise.kernels.error.UnavailableException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.FinishReason;
import dev.equipoise.runtime.Generation;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.PreparedRequest;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Timings;
import dev.equipoise.runtime.TokenListener;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * One engine for many threads. A platform thread of its own opens the engine and alone touches it; everything else may
 * be called from any thread, virtual ones too.
 *
 * <p>Admission: a request is taken in with cells for its prompts and for all tokens that it may generate on every
 * branch ({@link PreparedRequest#cells}), so it never ends for want of cells. Requests begin in the order in which they
 * were submitted; one that has no room yet holds up those behind it, so that a large one is not overtaken for ever.
 * Between two tokens of those that generate, at most one micro-batch of prompts is read.
 *
 * <p>Repeatability: a request draws from its own seeded chain, whatever else runs. Its logits depend on the others only
 * by rounding: the number of columns of a batch, and how a prompt was split into micro-batches, choose matrix kernels
 * that add in another order, and the cells that a request gets choose the order in which attention adds. So the same
 * seed gives the same tokens unless a choice between two of them is as close as that rounding. How close that is: with
 * float32 weights and cache and no flash attention some 1e-5 of the logits' root mean square, with half precision
 * anywhere some 1e-2, with quantised weights some 1e-1.
 */
public final class EngineService implements AutoCloseable {
    private final Model model;
    private final EngineOptions options;
    private final ServiceOptions service;
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition work = lock.newCondition();
    private final Thread owner;
    // What follows is guarded by the lock.
    private final ArrayDeque<Ticket> waiting = new ArrayDeque<>();
    private final List<Ticket> running = new ArrayList<>();
    private Engine engine;
    private EquipoiseException broken;
    private boolean closing;
    private boolean signalled;

    private EngineService(final Model model, final EngineOptions options, final ServiceOptions service) {
        this.model = model;
        this.options = options;
        this.service = service;
        this.owner = Thread.ofPlatform().name("equipoise-engine").daemon().unstarted(this::serve);
    }

    /**
     * Opens an engine on a thread of its own.
     *
     * @param model is not closed by the service
     * @throws EquipoiseException as {@link Engine#open}
     */
    public static EngineService open(
            final Model model, final EngineOptions options, final ServiceOptions service) {
        final EngineService made = new EngineService(model, options, service);
        made.owner.start();
        made.lock.lock();
        try {
            while (made.engine == null && made.broken == null) {
                made.work.awaitUninterruptibly();
            }
            if (made.engine == null) {
                throw made.broken;
            }
        } finally {
            made.lock.unlock();
        }
        return made;
    }

    /**
     * Submits a request. Its text is tokenised and its media are encoded on the calling thread.
     *
     * @throws BadInputException if it could never run here, with the numbers
     * @throws UnavailableException if too many are waiting already, with the number
     * @throws LifetimeException after {@link #close}
     */
    public Ticket submit(final Request request) {
        requireQueue();
        final PreparedRequest prepared = PreparedRequest.of(model, options, request);
        lock.lock();
        try {
            requireQueue();
            final int cells = options.context() == 0 ? model.info().trainedContext() : options.context();
            if (prepared.cells() > cells) {
                throw new BadInputException(
                        "more cells than there are",
                        prepared.cells() + " for " + prepared.promptCells() + " of prompts and "
                                + request.limits().maxTokens() + " tokens on " + prepared.branches()
                                + " branches, " + cells + " there",
                        "shorten the prompt, ask for fewer tokens, or open the engine with a larger context");
            }
            final Ticket ticket = new Ticket(this, prepared);
            waiting.add(ticket);
            wake();
            return ticket;
        } finally {
            lock.unlock();
        }
    }

    private void requireQueue() {
        lock.lock();
        try {
            if (closing) {
                throw new LifetimeException("used after close", "service", "keep it open for as long as it is needed");
            }
            if (broken != null) {
                throw broken;
            }
            if (waiting.size() >= service.waiting()) {
                throw new UnavailableException(
                        "too many requests are waiting",
                        waiting.size() + " of " + service.waiting() + " wait, " + running.size() + " run",
                        "try again later, or open the service with a longer queue");
            }
        } finally {
            lock.unlock();
        }
    }

    /** What is going on. */
    public Load load() {
        lock.lock();
        try {
            return new Load(waiting.size(), running.size());
        } finally {
            lock.unlock();
        }
    }

    /**
     * How busy a service is.
     *
     * @param waiting requests that wait for room
     * @param running requests that are being prefilled, generate or pause
     */
    public record Load(int waiting, int running) {}

    /** Ends everything, what runs and what waits as cancelled, and waits until the engine is closed. Idempotent. */
    @Override
    public void close() {
        lock.lock();
        try {
            closing = true;
            wake();
        } finally {
            lock.unlock();
        }
        boolean interrupted = false;
        while (owner.isAlive()) {
            try {
                owner.join();
            } catch (final InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    ReentrantLock lock() {
        return lock;
    }

    /** Tells the owner that something has changed; the caller holds the lock. */
    void wake() {
        signalled = true;
        work.signalAll();
    }

    private void serve() {
        try (Engine opened = Engine.open(model, options)) {
            lock.lock();
            try {
                engine = opened;
                work.signalAll();
            } finally {
                lock.unlock();
            }
            while (takeIn()) {
                step();
            }
        } catch (final RuntimeException | Error e) {
            fail(e);
        }
        endAll();
    }

    // Lets begin what has room; waits while there is nothing to do. False when the service closes.
    private boolean takeIn() {
        lock.lock();
        try {
            while (true) {
                if (closing) {
                    return false;
                }
                signalled = false;
                dropCancelled();
                while (!waiting.isEmpty() && engine.hasRoom(waiting.peek().prepared())) {
                    begin(waiting.remove());
                }
                if (engine.canAdvance()) {
                    return true;
                }
                while (!signalled) {
                    work.awaitUninterruptibly();
                }
            }
        } finally {
            lock.unlock();
        }
    }

    private void dropCancelled() {
        waiting.removeIf(ticket -> {
            if (ticket.isCancelled()) {
                ticket.end(unbegun(ticket));
            }
            return ticket.isCancelled();
        });
    }

    private void begin(final Ticket ticket) {
        try {
            ticket.begin(engine.submit(ticket.prepared(), new Offering(ticket, service.streamTokens())));
            running.add(ticket);
        } catch (final EquipoiseException e) {
            ticket.fail(e);
        }
    }

    private record Offering(Ticket ticket, int most) implements TokenListener {
        @Override
        public void onToken(final int token, final String text) {
            ticket.offer(token, text, most);
        }

        @Override
        public void onRest(final int token, final String text) {
            ticket.offer(StreamedToken.REST, text, most);
        }
    }

    private void step() {
        EquipoiseException failure = null;
        try {
            engine.step();
        } catch (final EquipoiseException e) {
            // The engine has ended the requests that it concerns, and goes on with the others.
            failure = e;
        }
        lock.lock();
        try {
            for (int i = 0; i < running.size(); ) {
                final Ticket ticket = running.get(i);
                final Generation generation = ticket.generation();
                if (!generation.isDone()) {
                    i++;
                    continue;
                }
                running.remove(i);
                final boolean asked = ticket.isCancelled();
                if (failure != null && !asked && generation.answer().finish() == FinishReason.CANCELLED) {
                    ticket.fail(failure);
                } else {
                    ticket.end(generation.answer());
                }
            }
        } finally {
            lock.unlock();
        }
    }

    private void fail(final Throwable cause) {
        lock.lock();
        try {
            broken = cause instanceof EquipoiseException known
                    ? known
                    : new InternalException("the engine's thread ended: " + cause, "service", "report this");
            work.signalAll();
        } finally {
            lock.unlock();
        }
    }

    // The engine is closed: its generations have ended.
    private void endAll() {
        lock.lock();
        try {
            for (final Ticket ticket : running) {
                if (broken != null) {
                    ticket.fail(broken);
                } else {
                    ticket.end(ticket.generation().answer());
                }
            }
            for (final Ticket ticket : waiting) {
                if (broken != null) {
                    ticket.fail(broken);
                } else {
                    ticket.end(unbegun(ticket));
                }
            }
            running.clear();
            waiting.clear();
        } finally {
            lock.unlock();
        }
    }

    private static Answer unbegun(final Ticket ticket) {
        return new Answer(
                "",
                List.of(),
                FinishReason.CANCELLED,
                new Timings(0, 0, 0),
                ticket.request().strategy(),
                List.of(),
                List.of());
    }
}
