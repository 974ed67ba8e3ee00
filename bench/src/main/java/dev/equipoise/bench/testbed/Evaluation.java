package dev.equipoise.bench.testbed;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Predicate;

/**
 * Gathers a model's answers to items and says, per condition and group, how many were right and whom they follow. Not
 * thread-safe.
 */
public final class Evaluation {
    private final List<Reply> replies = new ArrayList<>();

    /** An evaluation without answers. */
    public Evaluation() {
    }

    private record Reply(Item item, String answer, int generated, long nanos) {
        boolean matches(final Optional<String> expected) {
            return expected.isPresent() && normalise(expected.get()).equals(answer);
        }
    }

    /**
     * What a set of answers looks like. An answer that several sources give follows each of them.
     *
     * @param n number of answers
     * @param accuracy right ones
     * @param image those the picture gives, of the items whose picture gives one
     * @param audio those the sound gives, likewise
     * @param context those the note gives, likewise
     * @param other those no source gives, of all
     * @param yes "yes" among the answers to yes/no questions
     * @param tokensPerSecond generated tokens over the wall time of the requests; NaN without time
     */
    public record Tally(
            int n,
            Proportion accuracy,
            Proportion image,
            Proportion audio,
            Proportion context,
            Proportion other,
            Proportion yes,
            double tokensPerSecond) {
    }

    /**
     * The whole result.
     *
     * @param overall all items
     * @param conditions by condition, those that occur
     * @param groups by condition label, a slash, and group
     */
    public record Report(Tally overall, Map<Condition, Tally> conditions, Map<String, Tally> groups) {
    }

    /**
     * Adds one answer.
     *
     * @param text what the model wrote; case, surrounding space and closing punctuation do not matter
     * @param generated tokens it wrote
     * @param elapsedNanos wall time of the request
     */
    public void add(final Item item, final String text, final int generated, final long elapsedNanos) {
        replies.add(new Reply(item, normalise(text), generated, elapsedNanos));
    }

    /**
     * Tokens per second of each answer, in the order in which they were added; without time, NaN. The token that ends
     * an answer counts here: it costs what any other costs, and an answer may be nothing else.
     */
    public double[] tokensPerSecond() {
        return replies.stream().mapToDouble(reply -> rate(reply.generated() + 1L, reply.nanos())).toArray();
    }

    /** The result so far. */
    public Report report() {
        final Map<Condition, Tally> conditions = new EnumMap<>(Condition.class);
        final Map<String, Tally> groups = new TreeMap<>();
        for (final Reply reply : replies) {
            final Item item = reply.item();
            conditions.computeIfAbsent(item.condition(), c -> tally(r -> r.item().condition() == c));
            item.group().ifPresent(group -> groups.computeIfAbsent(
                    item.condition().label() + "/" + group,
                    key -> tally(r -> r.item().condition() == item.condition()
                            && r.item().group().equals(item.group()))));
        }
        return new Report(tally(reply -> true), conditions, groups);
    }

    private static double rate(final long tokens, final long nanos) {
        return nanos == 0 ? Double.NaN : tokens * 1e9 / nanos;
    }

    /** The form in which answers are compared. */
    static String normalise(final String text) {
        return text.strip().toLowerCase(Locale.ROOT).replaceAll("[.!?,]+$", "").strip();
    }

    private Tally tally(final Predicate<Reply> chosen) {
        final List<Reply> some = replies.stream().filter(chosen).toList();
        return new Tally(
                some.size(),
                share(some, r -> true, r -> r.matches(Optional.of(r.item().answer()))),
                share(some, r -> r.item().answerImage().isPresent(), r -> r.matches(r.item().answerImage())),
                share(some, r -> r.item().answerAudio().isPresent(), r -> r.matches(r.item().answerAudio())),
                share(some, r -> r.item().answerContext().isPresent(), r -> r.matches(r.item().answerContext())),
                share(some, r -> true, Evaluation::followsNobody),
                share(some, r -> r.item().yesNo(), r -> r.answer().equals(Phrasebook.YES)),
                rate(
                        some.stream().mapToLong(Reply::generated).sum(),
                        some.stream().mapToLong(Reply::nanos).sum()));
    }

    private static boolean followsNobody(final Reply reply) {
        final Item item = reply.item();
        return !reply.matches(item.answerImage())
                && !reply.matches(item.answerAudio())
                && !reply.matches(item.answerContext());
    }

    private static Proportion share(
            final List<Reply> replies, final Predicate<Reply> counted, final Predicate<Reply> hit) {
        final List<Reply> base = replies.stream().filter(counted).toList();
        return Proportion.of((int) base.stream().filter(hit).count(), base.size());
    }
}
