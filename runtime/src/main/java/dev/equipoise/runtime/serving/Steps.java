package dev.equipoise.runtime.serving;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.NextLogits;
import dev.equipoise.runtime.Observation;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.TokenListener;
import java.util.List;

/**
 * What a procedure may ask of a model. Each call is a request, carried out before it returns; all throw
 * {@link BadInputException} for one that does not fit into the engine, with the numbers.
 */
public interface Steps {
    /** The model. */
    Model model();

    /** The answer to a request that nobody hears. */
    Answer answer(Request request);

    /** The same, heard by whom the procedure is for as it comes; when it is cancelled, what there is of it. */
    Answer stream(Request request);

    /** Lets whom the procedure is for hear a token, with what has become final of the text. */
    void say(int token, String text);

    /** The row from which a request's first token would be drawn. */
    NextLogits logits(Request request);

    /** The row behind the prompt of each of a request's branches, as it is ({@link Engine#rows}). */
    List<NextLogits> rows(Request request);

    /** What the interventions of a branch that only look see of its prompt. */
    Observation observe(Branch branch);

    /**
     * Steps on an engine that the calling thread owns; other requests advance with those that generate.
     *
     * @param listener hears what is streamed
     */
    static Steps on(final Engine engine, final TokenListener listener) {
        return new Steps() {
            @Override
            public Model model() {
                return engine.model();
            }

            @Override
            public Answer answer(final Request request) {
                return engine.run(request);
            }

            @Override
            public Answer stream(final Request request) {
                return engine.run(request, listener);
            }

            @Override
            public void say(final int token, final String text) {
                listener.onToken(token, text);
            }

            @Override
            public NextLogits logits(final Request request) {
                return engine.logits(request);
            }

            @Override
            public List<NextLogits> rows(final Request request) {
                return engine.rows(request);
            }

            @Override
            public Observation observe(final Branch branch) {
                return engine.observe(branch);
            }
        };
    }
}
