package dev.equipoise.bench.speed;

import dev.equipoise.runtime.ModelInfo;
import dev.equipoise.runtime.NativeInfo;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/**
 * A measurement with all that is needed to repeat and to judge it.
 *
 * @param model file name of the model
 * @param info what the model is
 * @param command what to type to measure again
 * @param began ISO 8601, UTC
 * @param before the machine before the measurement
 * @param after the machine after it
 * @param library the native library
 * @param commit of this project, empty outside a checkout
 * @param settings what was measured
 * @param flashAttention as the engine resolved it
 * @param arms plain decoding first
 * @param comparisons with other programs, if there are any
 */
public record SpeedReport(
        String model,
        ModelInfo info,
        String command,
        String began,
        Machine before,
        Machine after,
        NativeInfo library,
        Optional<String> commit,
        Settings settings,
        boolean flashAttention,
        List<ArmReport> arms,
        List<Comparison> comparisons) {
    private static final double DIGITS = 1e6;

    public SpeedReport {
        arms = List.copyOf(arms);
        comparisons = List.copyOf(comparisons);
    }

    /** One JSON document, indented. */
    public String toJson() {
        return JsonMapper.shared().writerWithDefaultPrettyPrinter().writeValueAsString(tree());
    }

    private ObjectNode tree() {
        final ObjectNode root = JsonNodeFactory.instance.objectNode();
        root.put("model", model);
        root.put("model_description", info.description());
        machine(root.putObject("machine"));
        root.put("began", began);
        root.put("command", command);
        commit.ifPresentOrElse(id -> root.put("commit", id), () -> root.putNull("commit"));
        final ObjectNode llama = root.putObject("llama_cpp");
        llama.put("version", library.llamaVersion()).put("patch", library.patch());
        llama.put("cpu_variant", library.cpuVariant()).put("products", library.products());
        settings(root.putObject("settings"));
        final ArrayNode all = root.putArray("arms");
        arms.forEach(arm -> arm(all.addObject(), arm));
        if (!comparisons.isEmpty()) {
            final ArrayNode ratios = root.putArray("comparisons");
            comparisons.forEach(comparison -> comparison(ratios.addObject(), comparison));
        }
        return root;
    }

    private void machine(final ObjectNode to) {
        to.put("cpu", before.cpu()).put("cores", before.cores()).put("memory_bytes", before.memoryBytes());
        to.put("os", before.os()).put("jdk", before.jdk());
        before.gpus().forEach(to.putArray("gpus")::add);
        to.putArray("load_before_after").add(before.load()).add(after.load());
    }

    private void settings(final ObjectNode to) {
        to.put("tokens", settings.tokens()).put("rounds", settings.rounds()).put("warm_up_rounds", settings.warmUp());
        to.put("prompt_tokens", settings.promptTokens()).put("threads", settings.threads());
        to.put("kv_type", settings.kvType().label()).put("flash_attention", flashAttention);
        to.put("gpu_layers", settings.gpuLayers()).put("seed", settings.seed());
    }

    private static void arm(final ObjectNode to, final ArmReport arm) {
        to.put("strategy", arm.name());
        arm.remark().ifPresent(remark -> to.put("remark", remark));
        to.put("branches", arm.branches()).put("prompt_tokens", arm.promptTokens());
        arm.ttft().ifPresent(ttft -> latency(to.putObject("ttft_ms"), ttft));
        arm.itl().ifPresent(itl -> latency(to.putObject("itl_ms"), itl));
        to.put("tokens_per_s", rounded(arm.tokensPerSecond()));
        spread(to.putObject("ratio_to_plain"), arm.ratioToPlain());
        final ArrayNode rounds = to.putArray("ms_per_token");
        arm.millisPerToken().forEach(millis -> rounds.add(rounded(millis)));
    }

    private static void latency(final ObjectNode to, final Latency latency) {
        to.put("p50", rounded(latency.p50())).put("p90", rounded(latency.p90())).put("p99", rounded(latency.p99()));
        to.put("n", latency.n());
    }

    private static void comparison(final ObjectNode to, final Comparison comparison) {
        to.put("name", comparison.name()).put("measure", comparison.measure());
        switch (comparison.target()) {
            case Comparison.Target.None none -> to.putNull("target");
            case Comparison.Target.AtLeast least -> to.putObject("target").put("at_least", least.bound());
            case Comparison.Target.AtMost most -> to.putObject("target").put("at_most", most.bound());
        }
        spread(to.putObject("ratio"), comparison.ratio());
    }

    private static void spread(final ObjectNode to, final Spread spread) {
        to.put("median", rounded(spread.median())).put("min", rounded(spread.min())).put("max", rounded(spread.max()));
        if (spread.ci95().isPresent()) {
            final Spread.Interval interval = spread.ci95().get();
            to.putArray("ci95").add(rounded(interval.low())).add(rounded(interval.high()));
        } else {
            to.putNull("ci95");
        }
        to.put("n", spread.n());
    }

    private static double rounded(final double value) {
        return Math.round(value * DIGITS) / DIGITS;
    }

    /** A table for people, lines with line ends. */
    public String toText() {
        final StringBuilder text = new StringBuilder();
        text.append(String.format(
                Locale.ROOT,
                "%s (%s), %s, %d threads, %s cache, flash attention %s%n",
                model,
                info.description(),
                before.cpu(),
                settings.threads(),
                settings.kvType().label(),
                flashAttention ? "on" : "off"));
        text.append(String.format(
                Locale.ROOT, "%-30s %9s %9s %9s %9s  %s%n", "", "tokens/s", "itl p50", "itl p99", "ttft p50",
                "time per token over plain"));
        for (final ArmReport arm : arms) {
            text.append(String.format(
                    Locale.ROOT,
                    "%-30s %9.1f %9s %9s %9s  %s%n",
                    arm.name(),
                    arm.tokensPerSecond(),
                    millis(arm.itl().map(Latency::p50)),
                    millis(arm.itl().map(Latency::p99)),
                    millis(arm.ttft().map(Latency::p50)),
                    words(arm.ratioToPlain())));
            arm.remark().ifPresent(remark -> text.append("    ").append(remark).append(System.lineSeparator()));
        }
        for (final Comparison comparison : comparisons) {
            text.append(String.format(
                    Locale.ROOT,
                    "%s: %s%s (%s)%n",
                    comparison.name(),
                    words(comparison.ratio()),
                    words(comparison.target()),
                    comparison.measure()));
        }
        return text.toString();
    }

    private static String millis(final Optional<Double> value) {
        return value.map(millis -> String.format(Locale.ROOT, "%.2f ms", millis)).orElse("-");
    }

    private static String words(final Spread spread) {
        final String interval = spread.ci95()
                .map(ci -> String.format(Locale.ROOT, ", 95 %% %.3f to %.3f", ci.low(), ci.high()))
                .orElse("");
        return String.format(
                Locale.ROOT, "%.3f (%.3f to %.3f%s)", spread.median(), spread.min(), spread.max(), interval);
    }

    private static String words(final Comparison.Target target) {
        return switch (target) {
            case Comparison.Target.None none -> "";
            case Comparison.Target.AtLeast least -> String.format(Locale.ROOT, ", target at least %.2f", least.bound());
            case Comparison.Target.AtMost most -> String.format(Locale.ROOT, ", target at most %.2f", most.bound());
        };
    }
}
