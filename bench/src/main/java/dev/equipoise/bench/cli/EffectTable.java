package dev.equipoise.bench.cli;

import dev.equipoise.bench.cli.TestbedEvalCommand.Arm;
import dev.equipoise.bench.speed.Spread;
import dev.equipoise.bench.testbed.Condition;
import dev.equipoise.bench.testbed.Evaluation.Report;
import dev.equipoise.bench.testbed.Evaluation.Tally;
import dev.equipoise.bench.testbed.Proportion;
import java.io.PrintWriter;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;

/**
 * What strategies do to a model's answers, as a Markdown table: whom they follow in conflicts without an instruction,
 * what that costs on consistent items, how readily they say yes, and their speed beside the first strategy's.
 */
final class EffectTable {
    private static final String CONFLICT = Condition.CONFLICT.label() + "/no-instruction";
    private static final Proportion NONE = Proportion.of(0, 0);

    private EffectTable() {
    }

    static void print(final PrintWriter out, final List<Arm> arms) {
        final Arm first = arms.getFirst();
        out.printf(
                "| strategy | conflict: follows the picture (n %d) | follows the note (n %d) |"
                        + " consistent right (n %d) | says yes (n %d) | tokens/s of `%s`'s | not applied |%n",
                conflicts(first, Tally::image).n(),
                conflicts(first, Tally::context).n(),
                consistent(first).n(),
                first.outcome().report().overall().yes().n(),
                first.strategy().name());
        out.println("|---|---|---|---|---|---|---|");
        for (final Arm arm : arms) {
            out.printf(
                    "| `%s` | %s | %s | %s | %s | %s | %d |%n",
                    arm.strategy().name(),
                    percent(followsPicture(arm)),
                    percent(conflicts(arm, Tally::context)),
                    percent(consistent(arm)),
                    percent(arm.outcome().report().overall().yes()),
                    ratio(arm.outcome().speedRatio()),
                    arm.outcome().notApplied());
        }
    }

    private static Proportion conflicts(final Arm arm, final Function<Tally, Proportion> share) {
        return share(arm.outcome().report().groups(), CONFLICT, share);
    }

    static Proportion followsPicture(final Arm arm) {
        return conflicts(arm, Tally::image);
    }

    static Proportion consistent(final Arm arm) {
        final Report report = arm.outcome().report();
        return share(report.conditions(), Condition.CONSISTENT, Tally::accuracy);
    }

    private static <K> Proportion share(
            final Map<K, Tally> tallies, final K key, final Function<Tally, Proportion> share) {
        return tallies.containsKey(key) ? share.apply(tallies.get(key)) : NONE;
    }

    private static String percent(final Proportion share) {
        return share.n() == 0
                ? "-"
                : String.format(
                        Locale.ROOT, "%.1f %% (%.1f-%.1f)", 100 * share.value(), 100 * share.low(), 100 * share.high());
    }

    private static String ratio(final Spread ratio) {
        return ratio.ci95()
                .map(ci -> String.format(Locale.ROOT, "%.2f (%.2f-%.2f)", ratio.median(), ci.low(), ci.high()))
                .orElseGet(() -> String.format(Locale.ROOT, "%.2f", ratio.median()));
    }
}
