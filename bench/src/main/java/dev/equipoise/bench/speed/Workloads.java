package dev.equipoise.bench.speed;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.CoefficientSchedule;
import dev.equipoise.runtime.Combination;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Gate;
import dev.equipoise.runtime.Generation;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.PlanDescription.BranchPlan;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Sampling;
import dev.equipoise.runtime.StrategyLabel;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Scope;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * The requests of {@link WorkloadComparison}, on prompts after which a model goes on for as long as is timed.
 *
 * @param plain one request, plain
 * @param branches contrasts of 3 and of 4 branches
 * @param gated a contrast of 2 behind an entropy gate
 * @param openShare of its tokens, those at which the gate was open
 * @param company 4 plain requests
 * @param intervened the same with something else acting inside the network for each
 * @param mixed 8 requests: plain, drawn, contrasted, steered, with attention multiplied
 * @param longPlain plain, on a long prompt, for its prefill alone
 * @param longContrast a contrast with a branch that asks another question behind the same long beginning
 * @param depth columns of the prompts but for the long ones
 */
record Workloads(
        Workload plain,
        List<Workload> branches,
        Workload gated,
        double openShare,
        Workload company,
        Workload intervened,
        Workload mixed,
        Workload longPlain,
        Workload longContrast,
        int depth) {
    private static final int MIXED_REQUESTS = 8;
    private static final int COMPANY = 4;
    // Tokens of a large picture, or a few more, and a question of 24 words.
    private static final int LONG = 600;
    private static final int QUESTION = 24;
    // A random model ends its answer by chance; other words, another chance.
    private static final int ATTEMPTS = 16;
    private static final int BISECTIONS = 14;
    private static final double OPEN_SHARE = 0.2;
    private static final double OPEN_TOLERANCE = 0.04;

    /**
     * Chooses prompts and the gate's threshold.
     *
     * @throws BadInputException if the model ends its answers early whatever the prompt, or its entropies do not tell
     *     one token in five from the others
     */
    static Workloads choose(final Model model, final Settings settings) {
        for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
            final Optional<Workloads> found = new Maker(model, settings, settings.seed() + attempt).make();
            if (found.isPresent()) {
                return found.get();
            }
        }
        throw new BadInputException(
                "the model ends its answers before " + settings.tokens() + " tokens",
                model.file().toString(),
                "measure fewer tokens, or a model of ./equipoise synth");
    }

    /** Makes them of one seed. */
    private static final class Maker {
        private final Model model;
        private final Settings settings;
        private final BenchPrompts prompts;
        private final Random random;
        private final Limits limits;

        Maker(final Model model, final Settings settings, final long seed) {
            this.model = model;
            this.settings = settings;
            this.prompts = BenchPrompts.of(model, settings.promptTokens(), seed);
            this.random = new Random(seed);
            // One more than is timed: the first token comes with the prompt.
            this.limits = new Limits(settings.tokens() + 1, List.of());
        }

        Optional<Workloads> make() {
            final Workload plain = workload("plain", List.of(plain(0)));
            final Workload gated =
                    workload("contrast of 2 behind a gate", List.of(contrast(2, 0).withGate(threshold())));
            final List<Workload> branches = List.of(
                    workload("contrast of 3 branches", List.of(contrast(3, 0))),
                    workload("contrast of 4 branches", List.of(contrast(4, 0))));
            final List<Request> same = IntStream.range(0, COMPANY).mapToObj(this::plain).toList();
            final Workload company = workload("4 plain requests", same);
            final Workload intervened = workload(
                    "4 requests, each steered or with attention multiplied",
                    List.of(steered(0, 0.01), multiplied(1, 1.5), steered(2, -0.02), multiplied(3, 0.5)));
            final Workload mixed = workload("8 mixed requests", mixed());
            final boolean goOn = List.of(plain, branches.get(0), branches.get(1), company, intervened, mixed, gated)
                    .stream()
                    .allMatch(this::goesOn);
            if (!goOn) {
                return Optional.empty();
            }
            final int depth;
            try (Engine engine = Engine.open(model, plain.options())) {
                depth = engine.describe(plain.requests().getFirst()).branches().getFirst().tokens();
            }
            return Optional.of(new Workloads(
                    plain, branches, gated, openShare(gated), company, intervened, mixed, longPrompt(false),
                    longPrompt(true), depth));
        }

        private boolean goesOn(final Workload work) {
            return work.time(model).tokens() >= settings.tokens() - 1;
        }

        private List<Request> mixed() {
            final Sampling drawn = new Sampling(
                    0.8, 40, 0.95, 0, 1, Sampling.DEFAULT_REPEAT_WINDOW, 7, Optional.empty());
            final List<Request> all = new ArrayList<>(List.of(
                    plain(0), plain(1), contrast(2, 2), contrast(2, 3), steered(4, 0.01), multiplied(5, 1.5)));
            for (int r = all.size(); r < MIXED_REQUESTS; r++) {
                all.add(request("drawn", List.of(branch(r, List.of())), Optional.empty(), drawn));
            }
            return all;
        }

        private Request plain(final int ending) {
            return request("plain", List.of(branch(ending, List.of())), Optional.empty(), Sampling.greedy());
        }

        private Request contrast(final int count, final int ending) {
            final List<Branch> branches = IntStream.range(0, count)
                    .mapToObj(b -> new Branch("branch " + b, prompts.words(ending + b)))
                    .toList();
            // 2, -1 for two; the weights of what is taken away share 1.
            final float[] coefficients = new float[count];
            Arrays.fill(coefficients, -1f / (count - 1));
            coefficients[0] = 2;
            return request("contrast", branches, combination(coefficients), Sampling.greedy());
        }

        private static Optional<Combination> combination(final float... coefficients) {
            return Optional.of(new Combination(CoefficientSchedule.fixed(coefficients), false, 0.1));
        }

        private Request steered(final int ending, final double amount) {
            final Map<Integer, float[]> vectors = new HashMap<>();
            for (int layer = 0; layer < model.info().layers(); layer++) {
                final float[] vector = new float[model.info().width()];
                for (int i = 0; i < vector.length; i++) {
                    vector[i] = (float) random.nextGaussian();
                }
                vectors.put(layer, vector);
            }
            return acted(ending, new Intervention.Steer(
                    "steer", Intervention.Operation.ADD, new LayerVectors(vectors), Optional.empty(), amount,
                    Scope.all()));
        }

        private Request multiplied(final int ending, final double factor) {
            return acted(ending, new Intervention.Reweigh(
                    "multiply",
                    Set.of(Modality.TEXT),
                    OptionalInt.empty(),
                    factor,
                    IntStream.range(0, model.info().layers())
                            .boxed()
                            .collect(Collectors.toCollection(TreeSet::new)),
                    Scope.all()));
        }

        private Request acted(final int ending, final Intervention what) {
            return request(what.name(), List.of(branch(ending, List.of(what))), Optional.empty(), Sampling.greedy());
        }

        private Branch branch(final int ending, final List<Intervention> interventions) {
            return new Branch("base", prompts.words(ending), interventions);
        }

        private Request request(
                final String name,
                final List<Branch> branches,
                final Optional<Combination> combination,
                final Sampling sampling) {
            return new Request(branches, combination, sampling, limits, 0, new StrategyLabel(name, name));
        }

        private Workload longPrompt(final boolean contrasted) {
            return workload(
                    contrasted ? "prefill, other question of " + QUESTION : "prefill of " + (LONG + QUESTION),
                    List.of(longRequest(contrasted)));
        }

        private Request longRequest(final boolean contrasted) {
            final BenchPrompts beginning = BenchPrompts.of(model, LONG, settings.seed());
            final List<Branch> branches = new ArrayList<>(List.of(new Branch("base", asked(beginning, 1))));
            if (contrasted) {
                branches.add(new Branch("other", asked(beginning, 2)));
            }
            return new Request(
                    branches,
                    contrasted ? combination(2, -1) : Optional.empty(),
                    Sampling.greedy(),
                    new Limits(1, List.of()),
                    0,
                    StrategyLabel.PLAIN);
        }

        private Prompt asked(final BenchPrompts beginning, final long question) {
            return beginning.followedBy(BenchPrompts.of(model, QUESTION, settings.seed() + question));
        }

        private Workload workload(final String name, final List<Request> requests) {
            final int rows = requests.stream().mapToInt(r -> r.branches().size()).sum();
            int cells = 0;
            try (Engine engine = Engine.open(model, settings.engine(1, rows))) {
                for (final Request request : requests) {
                    for (final BranchPlan plan : engine.describe(request).branches()) {
                        cells += plan.tokens() + request.limits().maxTokens();
                    }
                }
            }
            return new Workload(name, requests, rows, settings.engine(cells, rows));
        }

        // The model decides how undecided it is, and what it generates depends on when the gate is open.
        private Gate.Entropy threshold() {
            double low = 0;
            double high = Math.log(model.info().vocabulary());
            double best = high;
            double closest = 1;
            for (int i = 0; i < BISECTIONS && closest > OPEN_TOLERANCE / 2; i++) {
                final double middle = (low + high) / 2;
                final double share = openShare(workload(
                        "threshold", List.of(contrast(2, 0).withGate(new Gate.Entropy(middle)))));
                if (Math.abs(share - OPEN_SHARE) < closest) {
                    closest = Math.abs(share - OPEN_SHARE);
                    best = middle;
                }
                low = share > OPEN_SHARE ? middle : low;
                high = share > OPEN_SHARE ? high : middle;
            }
            if (closest > OPEN_TOLERANCE) {
                throw new BadInputException(
                        "no entropy is passed by one token in five",
                        model.file().toString(),
                        "measure more tokens, or another model");
            }
            return new Gate.Entropy(best);
        }

        private double openShare(final Workload work) {
            try (Engine engine = Engine.open(model, work.options())) {
                final Generation generation = engine.submit(work.requests().getFirst());
                while (!generation.isDone()) {
                    engine.step();
                }
                final int open = generation.answer().trace().stream()
                        .filter(entry -> entry.intervention().startsWith("gate:"))
                        .mapToInt(entry -> entry.tokens())
                        .sum();
                return (double) open / generation.answer().tokens().size();
            }
        }
    }
}
