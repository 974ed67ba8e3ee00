package dev.equipoise.bench.speed;

import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.UnavailableException;
import dev.equipoise.runtime.DrawIn;
import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.FlashAttention;
import dev.equipoise.runtime.KvType;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.ModelInfo;
import dev.equipoise.runtime.NativeInfo;
import java.io.Console;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.function.Consumer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The {@code bench} command. */
@Command(
        name = "bench",
        description = "Measure latency: strategies against plain decoding, or this engine against bare llama.cpp.")
public final class SpeedCommand implements Callable<Integer> {
    private static final String PLAIN = "plain";
    private static final int STRATEGY_TOKENS = 64;
    private static final int BARE_TOKENS = 128;
    private static final int STRATEGY_ROUNDS = 10;
    // The interval of the median then runs from the 6th to the 16th.
    private static final int BARE_ROUNDS = 21;

    @Spec
    private CommandSpec spec;

    @Option(names = "--model", paramLabel = "FILE.gguf", required = true, description = "The model.")
    private Path model;

    @Option(names = "--mmproj", paramLabel = "FILE.gguf", description = "Its vision and audio encoders.")
    private Path mmproj;

    @Option(
            names = "--strategies",
            paramLabel = "NAME|FILE.json",
            split = ",",
            description = "Arms besides plain decoding (default: all presets).")
    private List<String> strategies;

    @Option(
            names = "--against-llama-bench",
            description = "Compare with llama-bench and llama-batched-bench of the same llama.cpp, built if need be.")
    private boolean againstBare;

    @Option(
            names = "--workloads",
            description = "Compare what more branches, a gate, interventions and requests in company cost, with plain "
                    + "decoding and with llama-batched-bench.")
    private boolean workloads;

    @Option(names = "--llama-bin", paramLabel = "DIR", description = "Where those programs are, to build none.")
    private Path programs;

    @Option(
            names = "--tokens",
            paramLabel = "N",
            description = "Tokens that a round times for each arm (default: " + STRATEGY_TOKENS + ", against llama.cpp "
                    + BARE_TOKENS + ").")
    private Integer tokens;

    @Option(
            names = "--rounds",
            paramLabel = "N",
            description = "Rounds (default: " + STRATEGY_ROUNDS + ", against llama.cpp " + BARE_ROUNDS + ").")
    private Integer rounds;

    @Option(names = "--warm-up", paramLabel = "N", description = "Rounds before them that do not count (default: 2).")
    private int warmUp = 2;

    @Option(names = "--prompt-tokens", paramLabel = "N", description = "Words of the prompt (default: 64).")
    private int promptTokens = 64;

    @Option(names = "--threads", paramLabel = "N", description = "CPU threads (default: all cores).")
    private int threads = EngineOptions.defaults().threads();

    @Option(names = "--kv-type", paramLabel = "f16|f32|q8_0", description = "Format of the KV cache (default: f16).")
    private KvType kvType = EngineOptions.defaults().kvType();

    @Option(
            names = "--flash-attention",
            paramLabel = "on|off|auto",
            description = "Compute attention without materialising its weights (default: auto).")
    private FlashAttention flashAttention = EngineOptions.defaults().flashAttention();

    @Option(
            names = "--draw",
            paramLabel = "host|graph|auto",
            description = "Where best tokens are found (default: auto, in the graph with --gpu-layers).")
    private DrawIn draw = EngineOptions.defaults().drawIn();

    @Option(
            names = "--gpu-layers",
            paramLabel = "N",
            description = "Blocks to put on the GPU, the last ones first; one more than there are takes the output "
                    + "matrix too (default: 0); ignored where there is no GPU.")
    private int gpuLayers;

    @Option(names = "--seed", paramLabel = "N", description = "Seed of words, pictures, sounds and noise (default: 1).")
    private long seed = 1;

    @Option(names = "--out", paramLabel = "FILE.json", description = "Write the JSON document here too.")
    private Path file;

    @Override
    public Integer call() {
        final Settings settings = settings();
        if (programs != null && !againstBare && !workloads) {
            throw new ParameterException(
                    spec.commandLine(), "--llama-bin is about --against-llama-bench and --workloads");
        }
        requireWritable();
        final Optional<Checkout> checkout = Checkout.find();
        // Before anything is built: that is load too.
        final Machine before = Machine.read();
        final SpeedReport report = againstBare || workloads
                ? againstBare(settings, checkout, before)
                : strategies(settings, checkout, before);
        progress().accept("");
        save(report);
        final PrintWriter out = spec.commandLine().getOut();
        if (json()) {
            out.println(report.toJson());
        } else {
            out.print(report.toText());
        }
        out.flush();
        return 0;
    }

    private SpeedReport strategies(final Settings settings, final Optional<Checkout> checkout, final Machine before) {
        final String began = now();
        final List<Strategy> chosen = strategies == null
                ? inside()
                : strategies.stream().map(SpeedCommand::strategy).toList();
        try (Model loaded = Model.load(model, settings.loading(Optional.ofNullable(mmproj), true))) {
            final List<ArmReport> arms = StrategyBench.run(loaded, settings, chosen, progress());
            final boolean flash;
            try (Engine engine = Engine.open(loaded, settings.engine(1, 1))) {
                flash = engine.flashAttention();
            }
            return report(settings, checkout, before, began, loaded.info(), flash, arms, List.of());
        }
    }

    // Those that change how a token is made; of the others each token costs what a plain one does.
    private static List<Strategy> inside() {
        return Strategies.names().stream()
                .map(Strategies::named)
                .filter(preset -> preset.prompting().isEmpty() && preset.passes().isEmpty())
                .toList();
    }

    private SpeedReport againstBare(final Settings settings, final Optional<Checkout> checkout, final Machine before) {
        if (strategies != null || mmproj != null || againstBare && workloads) {
            throw new ParameterException(
                    spec.commandLine(),
                    "--against-llama-bench and --workloads stand alone, without --strategies and --mmproj");
        }
        final ModelInfo info;
        try (Model loaded = Model.load(model, settings.loading(Optional.empty(), true))) {
            info = loaded.info();
        }
        final List<String> needed = workloads ? WorkloadComparison.PROGRAMS : BareComparison.PROGRAMS;
        final Path folder = programs != null
                ? programs
                : checkout.orElseThrow(() -> new UnavailableException(
                                "llama.cpp's programs are built from a checkout", "none found", "give --llama-bin"))
                        .build(needed.toArray(String[]::new));
        final String began = now();
        final BareComparison.Result result = workloads
                ? WorkloadComparison.run(model, folder, settings, progress())
                : BareComparison.run(model, folder, settings, progress());
        return report(
                settings, checkout, before, began, info, result.flashAttention(), result.arms(), result.comparisons());
    }

    private SpeedReport report(
            final Settings settings,
            final Optional<Checkout> checkout,
            final Machine before,
            final String began,
            final ModelInfo info,
            final boolean flash,
            final List<ArmReport> arms,
            final List<Comparison> comparisons) {
        return new SpeedReport(
                model.getFileName().toString(),
                info,
                command(settings),
                began,
                before,
                Machine.read(),
                NativeInfo.read(),
                checkout.flatMap(Checkout::commit),
                settings,
                flash,
                arms,
                comparisons);
    }

    private Settings settings() {
        try {
            return asked();
        } catch (final BadInputException e) {
            throw new ParameterException(
                    spec.commandLine(), e.what() + " (" + e.where() + "); " + e.remedy(), e.getCause());
        }
    }

    private Settings asked() {
        return new Settings(
                tokens != null ? tokens : againstBare ? BARE_TOKENS : STRATEGY_TOKENS,
                rounds != null ? rounds : againstBare ? BARE_ROUNDS : STRATEGY_ROUNDS,
                warmUp,
                promptTokens,
                threads,
                kvType,
                flashAttention,
                draw,
                gpuLayers,
                seed);
    }

    private static Strategy strategy(final String nameOrFile) {
        return nameOrFile.equals(PLAIN) ? Strategy.plain() : Strategies.find(nameOrFile);
    }

    // With every value spelled out and without folders: it has to mean the same elsewhere.
    private String command(final Settings settings) {
        final List<String> words = new ArrayList<>(List.of("./equipoise", "bench", "--model", name(model)));
        if (mmproj != null) {
            words.addAll(List.of("--mmproj", name(mmproj)));
        }
        if (againstBare) {
            words.add("--against-llama-bench");
        } else if (workloads) {
            words.add("--workloads");
        } else if (strategies != null) {
            final List<String> names = strategies.stream().map(Path::of).map(SpeedCommand::name).toList();
            words.addAll(List.of("--strategies", String.join(",", names)));
        }
        words.addAll(List.of("--tokens", "" + settings.tokens(), "--rounds", "" + settings.rounds()));
        words.addAll(List.of("--warm-up", "" + warmUp, "--prompt-tokens", "" + promptTokens));
        words.addAll(List.of("--threads", "" + threads));
        words.addAll(List.of("--kv-type", kvType.label()));
        words.addAll(List.of("--flash-attention", flashAttention.name().toLowerCase(Locale.ROOT)));
        words.addAll(List.of("--draw", draw.name().toLowerCase(Locale.ROOT)));
        words.addAll(List.of("--gpu-layers", "" + gpuLayers, "--seed", "" + seed));
        return String.join(" ", words);
    }

    private static String name(final Path path) {
        return path.getFileName().toString();
    }

    // Minutes of measuring would be lost on a folder that does not exist.
    private void requireWritable() {
        if (file != null && !Files.isDirectory(file.toAbsolutePath().getParent())) {
            throw new BadInputException("no folder for the result", file.toString(), "make it first");
        }
    }

    private void save(final SpeedReport report) {
        if (file == null) {
            return;
        }
        try {
            Files.writeString(file, report.toJson() + "\n");
        } catch (final IOException e) {
            throw new BadInputException(
                    "result cannot be written (" + e.getMessage() + ")", file.toString(), "choose another file", e);
        }
    }

    // The option belongs to the root command, as for all commands.
    private boolean json() {
        final OptionSpec option = spec.root().findOption("--json");
        return option != null && option.getValue() instanceof Boolean wanted && wanted;
    }

    private Consumer<String> progress() {
        final Console console = System.console();
        if (console == null || !console.isTerminal()) {
            return what -> { };
        }
        final PrintWriter err = spec.commandLine().getErr();
        return what -> {
            err.print("\r\033[K" + what);
            err.flush();
        };
    }

    private static String now() {
        return Instant.now().truncatedTo(ChronoUnit.SECONDS).toString();
    }
}
