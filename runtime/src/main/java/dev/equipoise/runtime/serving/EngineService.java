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
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.PreparedRequest;
import dev.equipoise.runtime.Request;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.LongSupplier;

/**
 * One engine for many threads. A platform thread of its own opens the engine and alone touches it; everything else may
 * be called from any thread, virtual ones too.
 *
 * <p>Admission: a request is taken in with cells for its prompts and for all tokens that it may generate on every
 * branch ({@link PreparedRequest#cells}), so it never ends for want of cells. Requests begin in the order in which they
 * were submitted. While one has no room yet, later ones that have may begin before it, but only
 * {@link ServiceOptions#overtaking} times; then all behind it wait until it has begun, so that none waits for ever.
 * Between two tokens of those that generate, at most one micro-batch of prompts is read; where a search goes back, what
 * it reads once more comes besides.
 *
 * <p>A {@link Procedure} has one ticket for all of its steps. Each step is a request like any other, with the place in
 * the order that the procedure was given when it was submitted; between two of them it has no cells.
 *
 * <p>Repeatability, what is exact: a request has a sampler chain of its own, which its seed starts and only its own
 * tokens advance, one draw each; branches are summed in an order of their own; of equal logits the first wins. So equal
 * rows give equal tokens, whatever else runs, was cancelled or came first. A request alone in a newly opened engine
 * with the same options finds equal rows, to the bit.
 *
 * <p>What is not: beside others a row moves by rounding, since floating-point sums depend on their order. These
 * choose it: how many columns a decode has (one takes another matrix kernel than several, and kernels that work in
 * blocks treat the rest apart; {@link EngineOptions#padSteps} adds a column to three, and a gate's branches come
 * along or in decodes of their own); how a prompt was split, which is how much of a micro-batch others left; which
 * cells a request has, since attention adds in their order; and whether a block computes attention in flash kernels,
 * which it no longer does for anybody once a request has asked for its scores or weights. On a GPU the number of
 * columns chooses kernels too.
 *
 * <p>Then the same seed gives the same tokens unless a choice is as close as that rounding: two best tokens of a greedy
 * choice, a draw at the border of two tokens' shares, a token at the edge of top-k, top-p, min-p or the cut-off, a gate
 * at its threshold. From such a token on, answers differ. How close that is: with float32 weights and cache and no
 * flash attention some 1e-5 of the logits' root mean square, with half precision anywhere some 1e-2, with quantised
 * weights some 1e-1.
 */
public final class EngineService implements AutoCloseable {
    private final Model model;
    private final EngineOptions options;
    private final ServiceOptions service;
    private final LongSupplier clock;
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition work = lock.newCondition();
    private final Thread owner;
    // What follows is guarded by the lock.
    private final Line line;
    private final List<Step> running = new ArrayList<>();
    // Given out and not ended, whether or not a step of theirs runs.
    private final Set<Ticket<?>> tickets = new HashSet<>();
    private long given;
    private Engine engine;
    private EquipoiseException broken;
    private boolean closing;
    private boolean signalled;

    private EngineService(
            final Model model, final EngineOptions options, final ServiceOptions service, final LongSupplier clock) {
        this.model = model;
        this.options = options;
        this.service = service;
        this.clock = clock;
        this.line = new Line(service.overtaking());
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
        return open(model, options, service, System::nanoTime);
    }

    /** As {@link #open(Model, EngineOptions, ServiceOptions)}, with a clock of nanoseconds for readers' patience. */
    static EngineService open(
            final Model model, final EngineOptions options, final ServiceOptions service, final LongSupplier clock) {
        final EngineService made = new EngineService(model, options, service, clock);
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

    /** The model that it runs. */
    public Model model() {
        return model;
    }

    /**
     * Submits a request. Its text is tokenised and its media are encoded on the calling thread.
     *
     * @throws BadInputException if it could never run here, with the numbers
     * @throws UnavailableException if too many are waiting already, with the number
     * @throws LifetimeException after {@link #close}
     */
    public Ticket<Answer> submit(final Request request) {
        requireRoomToWait();
        final PreparedRequest prepared = PreparedRequest.of(model, options, request);
        requireFits(prepared);
        lock.lock();
        try {
            final Ticket<Answer> ticket = give();
            final Step[] step = new Step[1];
            step[0] = new Step(ticket, prepared, true, () -> {
                if (step[0].failure() != null) {
                    ticket.fail(step[0].failure());
                } else {
                    ticket.end(step[0].answer());
                }
                takeBack(ticket);
            });
            line.add(step[0]);
            wake();
            return ticket;
        } finally {
            lock.unlock();
        }
    }

    /**
     * Submits a procedure, which runs on a virtual thread of its own. It ends as failed if it throws: what its steps
     * throw, or {@link InternalException} for anything else.
     *
     * @param cancelled what it ends with when it is cancelled before it has a result; not null
     * @throws UnavailableException as {@link #submit(Request)}
     * @throws LifetimeException as there
     */
    public <T> Ticket<T> submit(final Procedure<T> procedure, final T cancelled) {
        Objects.requireNonNull(cancelled);
        final Ticket<T> ticket;
        lock.lock();
        try {
            ticket = give();
        } finally {
            lock.unlock();
        }
        Thread.ofVirtual().name("equipoise-procedure-" + ticket.turn()).start(() -> run(ticket, procedure, cancelled));
        return ticket;
    }

    /**
     * Refuses what could never run here, as {@link #submit(Request)} does; nothing is taken in.
     *
     * @throws BadInputException with the numbers
     */
    public void require(final Request request) {
        requireFits(PreparedRequest.of(model, options, request));
    }

    private void requireFits(final PreparedRequest prepared) {
        final int cells = options.context() == 0 ? model.info().trainedContext() : options.context();
        if (prepared.cells() > cells) {
            throw new BadInputException(
                    "more cells than there are",
                    prepared.cells() + " for " + prepared.promptCells() + " of prompts and "
                            + prepared.request().limits().maxTokens() + " tokens on " + prepared.branches()
                            + " branches, " + cells + " there",
                    "shorten the prompt, ask for fewer tokens, or open the engine with a larger context");
        }
    }

    private void requireRoomToWait() {
        lock.lock();
        try {
            requireOpen();
            final int waiting = load().waiting();
            if (waiting >= service.waiting()) {
                throw new UnavailableException(
                        "too many requests are waiting",
                        waiting + " of " + service.waiting() + " wait, " + running.size() + " run",
                        "try again later, or open the service with a longer queue");
            }
        } finally {
            lock.unlock();
        }
    }

    private void requireOpen() {
        if (closing) {
            throw new LifetimeException("used after close", "service", "keep it open for as long as it is needed");
        }
        if (broken != null) {
            throw broken;
        }
    }

    private <T> Ticket<T> give() {
        requireRoomToWait();
        final Ticket<T> ticket = new Ticket<>(this, given++);
        tickets.add(ticket);
        return ticket;
    }

    private void takeBack(final Ticket<?> ticket) {
        tickets.remove(ticket);
        work.signalAll();
    }

    private <T> void run(final Ticket<T> ticket, final Procedure<T> procedure, final T cancelled) {
        T result = cancelled;
        EquipoiseException failure = null;
        try {
            result = Objects.requireNonNull(procedure.run(new TicketSteps(this, ticket)));
        } catch (final Cancelled asItWasAsked) {
            // With what the caller wants then.
        } catch (final EquipoiseException e) {
            failure = e;
        } catch (final RuntimeException | Error e) {
            failure = new InternalException("a procedure ended: " + e, "service", "report this");
        }
        lock.lock();
        try {
            if (failure != null) {
                ticket.fail(failure);
            } else {
                ticket.end(result);
            }
            takeBack(ticket);
        } finally {
            lock.unlock();
        }
    }

    // Ends a procedure whose ticket was cancelled.
    private static final class Cancelled extends RuntimeException {
        private static final long serialVersionUID = 1;

        Cancelled() {
            super("cancelled", null, false, false);
        }
    }

    /**
     * Carries a step of a procedure out, for the procedure's thread.
     *
     * @param heard whether its tokens are the ticket's; then a cancelled one has its answer too
     */
    Step carryOut(final Ticket<?> ticket, final PreparedRequest prepared, final boolean heard) {
        requireFits(prepared);
        lock.lock();
        try {
            if (closing || ticket.isCancelled()) {
                throw new Cancelled();
            }
            requireOpen();
            final Step step = new Step(ticket, prepared, heard, ticket::signal);
            line.add(step);
            wake();
            while (!step.isOver()) {
                ticket.awaitChange();
            }
            if (step.failure() != null) {
                throw step.failure();
            }
            if (!heard && ticket.isCancelled()) {
                throw new Cancelled();
            }
            return step;
        } finally {
            lock.unlock();
        }
    }

    /** What is going on. */
    public Load load() {
        lock.lock();
        try {
            return new Load(tickets.size() - running.size(), running.size());
        } finally {
            lock.unlock();
        }
    }

    /**
     * How busy a service is.
     *
     * @param waiting tickets that wait for room; procedures between two steps are among them
     * @param running tickets of which a request is being prefilled, generates or pauses
     */
    public record Load(int waiting, int running) {}

    /**
     * Ends everything, what runs and what waits as cancelled, and waits until the engine is closed and procedures have
     * ended; a procedure must not call it. Idempotent.
     */
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
        lock.lock();
        try {
            while (!tickets.isEmpty()) {
                work.awaitUninterruptibly();
            }
        } finally {
            lock.unlock();
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    EngineOptions engineOptions() {
        return options;
    }

    ReentrantLock lock() {
        return lock;
    }

    long now() {
        return clock.getAsLong();
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
                line.cancelled().forEach(Step::endUnbegun);
                final long left = dropAbandoned();
                for (Step next = line.next(engine::hasRoom); next != null; next = line.next(engine::hasRoom)) {
                    begin(next);
                }
                if (engine.canAdvance()) {
                    return true;
                }
                await(left);
            }
        } finally {
            lock.unlock();
        }
    }

    // Until something changes, or somebody's patience ends.
    private void await(final long nanos) {
        long left = nanos;
        while (!signalled && left > 0) {
            try {
                left = work.awaitNanos(left);
            } catch (final InterruptedException e) {
                // Nobody has a reason to; what there is to do is looked for anew.
                return;
            }
        }
    }

    // Ends those whose readers do not come; returns how long the next of them may still wait.
    private long dropAbandoned() {
        final long patience = service.patience().toNanos();
        final long now = now();
        long least = patience;
        for (final Step step : running) {
            final long left = patience - (now - step.ticket().waitingSince(now));
            if (left <= 0) {
                step.ticket().abandon();
            } else {
                least = Math.min(least, left);
            }
        }
        return least;
    }

    private void begin(final Step step) {
        try {
            step.begin(engine.submit(step.prepared(), step.listener(service.streamTokens())));
            running.add(step);
        } catch (final EquipoiseException e) {
            step.fail(e);
        } catch (final RuntimeException | Error e) {
            // The thread ends with it, and the step is in no list that is ended then.
            step.fail(new InternalException("a request could not begin: " + e, "service", "report this"));
            throw e;
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
                final Step step = running.get(i);
                if (!step.generation().isDone()) {
                    i++;
                    continue;
                }
                running.remove(i);
                final boolean asked = step.ticket().isCancelled() || step.ticket().isAbandoned();
                if (failure != null && !asked && step.generation().answer().finish() == FinishReason.CANCELLED) {
                    step.fail(failure);
                } else {
                    step.end();
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
            if (broken == null) {
                tickets.forEach(Ticket::cancel);
            }
            final List<Step> begun = List.copyOf(running);
            running.clear();
            for (final Step step : begun) {
                if (broken != null) {
                    step.fail(broken);
                } else {
                    step.end();
                }
            }
            for (final Step step : line.all()) {
                if (broken != null) {
                    step.fail(broken);
                } else {
                    step.endUnbegun();
                }
            }
        } finally {
            lock.unlock();
        }
    }
}
