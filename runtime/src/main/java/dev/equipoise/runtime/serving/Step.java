package dev.equipoise.runtime.serving;

import dev.equipoise.kernels.error.EquipoiseException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.FinishReason;
import dev.equipoise.runtime.Generation;
import dev.equipoise.runtime.PreparedRequest;
import dev.equipoise.runtime.Timings;
import dev.equipoise.runtime.TokenListener;
import java.util.List;

/** One request of a ticket on its way through the engine. Guarded by the service's lock. */
final class Step {
    private final Ticket<?> ticket;
    private final PreparedRequest prepared;
    private final boolean heard;
    private final Runnable then;
    private Generation generation;
    private Answer answer;
    private EquipoiseException failure;
    private int overtaken;

    /**
     * A step that has not begun.
     *
     * @param heard whether its tokens are the ticket's
     * @param then what is done when it has ended, under the lock
     */
    Step(final Ticket<?> ticket, final PreparedRequest prepared, final boolean heard, final Runnable then) {
        this.ticket = ticket;
        this.prepared = prepared;
        this.heard = heard;
        this.then = then;
    }

    Ticket<?> ticket() {
        return ticket;
    }

    PreparedRequest prepared() {
        return prepared;
    }

    /** Who hears its tokens, {@code most} of which may wait. */
    TokenListener listener(final int most) {
        if (!heard) {
            return TokenListener.NONE;
        }
        return new TokenListener() {
            @Override
            public void onToken(final int token, final String text) {
                ticket.offer(token, text, most);
            }

            @Override
            public void onRest(final int token, final String text) {
                ticket.offer(StreamedToken.REST, text, most);
            }
        };
    }

    /** Notes that the engine has it. */
    void begin(final Generation begun) {
        generation = begun;
        ticket.begin(begun);
    }

    Generation generation() {
        return generation;
    }

    /** How often a later one began before it. */
    int overtaken() {
        return overtaken;
    }

    void overtake() {
        overtaken++;
    }

    boolean isOver() {
        return answer != null || failure != null;
    }

    /** What the engine says of it. */
    Answer answer() {
        return answer;
    }

    /** What went wrong, or null. */
    EquipoiseException failure() {
        return failure;
    }

    /** Ends it with what the engine made of it. */
    void end() {
        answer = generation.answer();
        if (ticket.isAbandoned() && answer.finish() == FinishReason.CANCELLED) {
            answer = finished(answer, FinishReason.ABANDONED);
        }
        over();
    }

    /** Ends it before it has begun. */
    void endUnbegun() {
        answer = new Answer(
                "",
                List.of(),
                FinishReason.CANCELLED,
                new Timings(0, 0, 0),
                prepared.request().strategy(),
                List.of(),
                List.of());
        over();
    }

    /** Ends it with what went wrong. */
    void fail(final EquipoiseException with) {
        failure = with;
        over();
    }

    private void over() {
        ticket.begin(null);
        then.run();
    }

    private static Answer finished(final Answer from, final FinishReason reason) {
        return new Answer(
                from.text(),
                from.tokens(),
                reason,
                from.timings(),
                from.strategy(),
                from.trace(),
                from.logProbabilities());
    }
}
