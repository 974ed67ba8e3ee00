package dev.equipoise.bench.jmh;

import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.ModelOptions;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.StrategyLabel;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** This project. */
final class EquipoisePeer implements GreedyPeer {
    private final Model model;
    private final Engine engine;

    EquipoisePeer(final Path file, final int threads) {
        model = Model.load(file, new ModelOptions(Optional.empty(), 0, threads, false));
        engine = Engine.open(
                model, EngineOptions.defaults().withContext(CELLS).withMaxBranches(1).withThreads(threads));
    }

    @Override
    public String decode(final String prompt, final int tokens) {
        final Request request = new Request(
                List.of(new Branch("base", Prompt.builder().text(prompt).build())),
                Optional.empty(),
                Sampling.greedy(),
                new Limits(tokens, List.of()),
                0,
                StrategyLabel.PLAIN);
        final StringBuilder text = new StringBuilder();
        final Answer answer = engine.run(request, (token, piece) -> text.append(piece));
        if (answer.tokens().size() != tokens) {
            throw new IllegalStateException("the answer ended after " + answer.tokens().size() + " tokens");
        }
        return text.toString();
    }

    @Override
    public void close() {
        engine.close();
        model.close();
    }
}
