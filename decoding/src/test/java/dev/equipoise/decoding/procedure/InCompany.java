package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.decoding.Strategy;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.FinishReason;
import dev.equipoise.runtime.Generation;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.oracle.AnswerCheck;
import dev.equipoise.runtime.oracle.RequestOracle;
import dev.equipoise.runtime.oracle.Tolerance;
import dev.equipoise.runtime.serving.EngineService;
import dev.equipoise.runtime.serving.Ticket;
import java.util.ArrayList;
import java.util.List;

/** What must hold of a strategy that is read again for every token where others want their turn too. */
final class InCompany {
    private InCompany() {}

    /**
     * All of them run together, all but the first against the oracle, and leave nothing.
     *
     * @return the first one's answer
     */
    static Answer together(final Engine engine, final RequestOracle oracle, final List<Request> requests) {
        final Engine.Room whole = engine.room();
        final List<Generation> all = requests.stream().map(engine::submit).toList();
        while (!all.stream().allMatch(Generation::isDone)) {
            engine.step();
        }
        for (int i = 1; i < all.size(); i++) {
            AnswerCheck.of(oracle, requests.get(i), all.get(i).answer(), Tolerance::f32);
        }
        assertEquals(whole, engine.room());
        return all.getFirst().answer();
    }

    /**
     * Two such requests run, a third is let in between, both rest, one goes on and the other is cancelled.
     *
     * @param request a long one
     * @param twin the same once more
     * @param brief ends before they do
     * @param before steps before it comes
     * @return the first one's answer
     */
    static Answer rested(
            final Engine engine, final Request request, final Request twin, final Request brief, final int before) {
        final Engine.Room whole = engine.room();
        final List<Generation> both = List.of(engine.submit(request), engine.submit(twin));
        for (int i = 0; i < before; i++) {
            engine.step();
        }
        final Generation late = engine.submit(brief);
        while (!late.isDone()) {
            assertTrue(engine.step());
        }
        assertFalse(both.getFirst().isDone() || both.getLast().isDone(), "they ended before it had come");
        both.forEach(Generation::pause);
        for (int i = 0; i < 100 && engine.canAdvance(); i++) {
            engine.step();
        }
        assertFalse(engine.canAdvance());
        both.getFirst().resume();
        both.getLast().cancel();
        while (!both.getFirst().isDone()) {
            engine.step();
        }
        assertEquals(FinishReason.CANCELLED, both.getLast().answer().finish());
        assertEquals(whole, engine.room());
        return both.getFirst().answer();
    }

    /** Five of them at a service, two of which are cancelled, one in the middle; the answers of the others. */
    static List<Answer> served(
            final EngineService service, final Strategy strategy, final Prompt prompt, final int tokens)
            throws Exception {
        final List<Ticket<Answer>> tickets = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
            tickets.add(Decoding.submit(
                    service, strategy, prompt, new Limits(tokens, List.of()), Request.MAX_LOG_PROBABILITIES));
        }
        tickets.get(1).next();
        tickets.get(1).cancel();
        tickets.get(3).cancel();
        assertEquals(FinishReason.CANCELLED, tickets.get(3).await().finish());
        final List<Answer> answers = new ArrayList<>();
        for (final int i : List.of(0, 2, 4)) {
            answers.add(tickets.get(i).await());
        }
        assertEquals(new EngineService.Load(0, 0), service.load());
        return answers;
    }
}
