package dev.equipoise.bench.demo;

import dev.equipoise.bench.testbed.Evaluation;
import dev.equipoise.bench.testbed.Item;
import java.util.Locale;

/** Whom an answer to an item follows; the first of these that gives it, where several do. */
public enum Follows {
    /** The picture. */
    IMAGE,
    /** The sound. */
    AUDIO,
    /** The note. */
    CONTEXT,
    /** Nobody. */
    OTHER;

    /** What {@code text} follows, as {@link Evaluation} compares answers. */
    public static Follows of(final Item item, final String text) {
        final Evaluation one = new Evaluation();
        one.add(item, text, 0, 0);
        final Evaluation.Tally tally = one.report().overall();
        if (tally.image().hits() > 0) {
            return IMAGE;
        }
        if (tally.audio().hits() > 0) {
            return AUDIO;
        }
        return tally.context().hits() > 0 ? CONTEXT : OTHER;
    }

    /** The lower-case name used in JSON documents. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
