package dev.equipoise.bench.cli;

import dev.equipoise.decoding.Lowering;
import dev.equipoise.decoding.Plan;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Model;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** A command on one request: the same inputs for generating, for logits and for an explanation. */
abstract class RequestCommand extends CliCommand {
    @Option(names = "--model", paramLabel = "FILE", required = true, description = "The model, a GGUF file.")
    private Path model;

    @Option(names = "--mmproj", paramLabel = "FILE", description = "Its picture and sound encoders.")
    private Path mmproj;

    @Mixin
    private PromptMixin prompt;

    @Option(
            names = "--strategy",
            paramLabel = "NAME|FILE.json",
            converter = StrategyConverter.class,
            description = "How to decode (default: plain).")
    private Strategy strategy = Strategy.plain();

    @Mixin
    private SamplingMixin sampling;

    @Mixin
    private EngineMixin engine;

    /** Does the work with everything open. */
    protected abstract void run(Engine opened, Plan plan);

    /** When to stop generating. */
    protected Limits limits() {
        return sampling.limits();
    }

    @Override
    protected void run() {
        // First what needs no model: reading one may take a minute.
        final Strategy asked = sampling.applyTo(strategy);
        Lowering.check(asked, prompt.prompt(), asked.sampling().seed());
        limits();
        try (Model loaded = engine.load(model, Optional.ofNullable(mmproj))) {
            final Plan plan = Lowering.lower(asked, prompt.prompt(), asked.sampling().seed(), loaded.info().layers());
            try (Engine opened = Engine.open(loaded, engine.engine(loaded, plan.branches().size()))) {
                run(opened, plan);
            }
        }
    }
}
