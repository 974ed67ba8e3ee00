package dev.equipoise.bench.cli;

import dev.equipoise.decoding.Lowering;
import dev.equipoise.decoding.Plan;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.decoding.procedure.Decoding;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.ModelInfo;
import dev.equipoise.runtime.Prompt;
import java.util.Optional;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** A command on one request: the same inputs for generating, for logits and for an explanation. */
abstract class RequestCommand extends CliCommand {
    /** What commands that draw no token say of the options for that. */
    protected static final String NOTHING_DRAWN = "No token is drawn here: what says how tokens are drawn, and when to "
            + "stop, is checked as for `run` and changes nothing else.";

    @Mixin
    private ModelMixin model;

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
    protected abstract void run(Engine opened, Strategy asked, Prompt request);

    /** Refuses values of the command's own options, before anything is read. */
    protected void requireOptions() {}

    /** When to stop generating. */
    protected Limits limits() {
        return sampling.limits();
    }

    /**
     * What a plan takes of an engine.
     *
     * @param answers branches that may become as long as an answer
     * @param sequences all of them
     */
    protected record Room(int answers, int sequences) {
        /** One of branches alone. */
        static Room of(final int branches) {
            return new Room(branches, branches);
        }
    }

    /** How many sequences the engine must have for a plan. */
    protected int room(final Model model, final Room plan) {
        return plan.sequences();
    }

    /**
     * Refuses what could not be decoded, and says what it takes where the model is known.
     *
     * @param model what is known of it
     */
    protected Room requirePlan(final Strategy asked, final Prompt request, final Optional<ModelInfo> model) {
        if (model.isEmpty()) {
            Lowering.check(asked, request, asked.sampling().seed());
            return Room.of(0);
        }
        final Plan plan = Decoding.outline(asked, request, model.get());
        return new Room(plan.answers(), plan.sequences());
    }

    @Override
    protected void run() {
        // First what needs no model: reading one may take a minute.
        requireOptions();
        engine.loading();
        final Strategy asked = sampling.applyTo(strategy);
        final Prompt request = prompt.prompt();
        requirePlan(asked, request, Optional.empty());
        limits();
        try (Model loaded = model.load(engine)) {
            final Room plan = requirePlan(asked, request, Optional.of(loaded.info()));
            final EngineOptions options =
                    engine.engine(loaded, plan.answers()).withMaxBranches(room(loaded, plan));
            try (Engine opened = Engine.open(loaded, options)) {
                run(opened, asked, request);
            }
        }
    }
}
