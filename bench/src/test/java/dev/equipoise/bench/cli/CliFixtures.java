package dev.equipoise.bench.cli;

import dev.equipoise.bench.testbed.ConflictWorld;
import dev.equipoise.bench.testbed.ItemWriter;
import dev.equipoise.runtime.tiny.TinyModels;
import java.nio.file.Path;

/** Tiny random models and generated items: enough for every command to do its work. */
final class CliFixtures {
    /** Width of the tiny text model. */
    static final int WIDTH = 64;
    static final int LAYERS = 4;

    final Path directory;
    final Path model;
    final Path mmproj;
    final Path data;
    final Path image;
    final Path audio;

    CliFixtures(final Path directory) {
        this.directory = directory;
        model = TinyModels.llama(directory.resolve("tiny.gguf"), 7);
        mmproj = TinyModels.mmproj(directory.resolve("mmproj.gguf"), 7, WIDTH);
        // Ten items: one of each kind.
        data = ItemWriter.write(directory.resolve("items"), ConflictWorld.generate(3, 10));
        image = data.resolveSibling("3-000000.png");
        audio = data.resolveSibling("3-000000.wav");
    }
}
