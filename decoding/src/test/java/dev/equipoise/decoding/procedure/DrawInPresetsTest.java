package dev.equipoise.decoding.procedure;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.TinyRig;
import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.DrawIn;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.TokenListener;
import dev.equipoise.runtime.tiny.Placement;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Every preset that generates: the same answer and trace wherever its tokens are drawn. */
class DrawInPresetsTest {
    private static final Limits LIMITS = new Limits(8, List.of());

    @TempDir
    private Path ofHost;

    @TempDir
    private Path ofGraph;

    private static Answer answer(final TinyRig rig, final Strategy strategy) {
        return Decoding.run(
                rig.engine, Decoding.prepare(rig.engine, strategy, rig.prompt), LIMITS, 0, TokenListener.NONE);
    }

    @ParameterizedTest
    @ValueSource(longs = {13, 29})
    void presetsAnswerAsOnTheHost(final long seed) {
        try (TinyRig host = new TinyRig(ofHost, seed, DrawIn.HOST);
                TinyRig graph = new TinyRig(ofGraph, seed, DrawIn.GRAPH)) {
            final List<Strategy> strategies = Strategies.names().stream()
                    .map(Strategies::named)
                    .filter(preset -> preset.choosing().isEmpty())
                    .toList();
            for (final Strategy strategy : strategies) {
                final Answer expected = answer(host, strategy);
                final Answer actual = answer(graph, strategy);
                assertEquals(expected.tokens(), actual.tokens(), strategy.name());
                if (!Placement.onGpu()) { // which adds norms up in no fixed order
                    assertEquals(expected.trace(), actual.trace(), strategy.name());
                }
            }
        }
    }
}
