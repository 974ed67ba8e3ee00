package dev.equipoise.bench.speed;

import dev.equipoise.runtime.DrawIn;
import dev.equipoise.runtime.FlashAttention;
import dev.equipoise.runtime.KvType;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;

/** What the tests of this package measure, briefly. */
final class SpeedFixtures {
    private SpeedFixtures() {}

    // One thread: two wait for each other at every node, which takes for ever on a machine that does other work.
    static Settings settings(final int tokens, final int rounds) {
        return new Settings(tokens, rounds, 1, 12, 1, KvType.F16, FlashAttention.AUTO, DrawIn.AUTO, 0, 1);
    }

    /** A model whose vocabulary has words. */
    static Path model(final Path folder) {
        return TinyModels.llama(folder.resolve("tiny.gguf"), 5, 4, 64, 4, 2, 96, 600);
    }
}
