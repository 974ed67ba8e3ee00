package dev.equipoise.steering;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.Intervention;
import java.util.Collections;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.SortedSet;
import java.util.TreeSet;

/**
 * A choice of early exits that is made before the model is known: outputs of blocks, counted from 0, and the input
 * embeddings. {@link #toString} gives the text that {@link #parse} reads.
 */
public sealed interface Exits {
    /**
     * The exits meant in a model.
     *
     * @param depth its number of blocks, at least 1
     * @return never empty, ascending, unmodifiable; {@link Intervention#EMBEDDING} is the input
     * @throws BadInputException if there is none there
     */
    SortedSet<Integer> resolve(int depth);

    /**
     * Reads {@code "low"}, {@code "high"}, {@code "embedding"}, what {@link Layers#parse} reads, or the last after
     * {@code "embedding,"}.
     *
     * @param where the key it was given for, for messages
     * @throws BadInputException if it is none of these
     */
    static Exits parse(final String text, final String where) {
        for (final Bucket bucket : Bucket.values()) {
            if (text.equals(bucket.toString())) {
                return bucket;
            }
        }
        final String prefix = Chosen.INPUT + ",";
        if (text.equals(Chosen.INPUT)) {
            return new Chosen(true, Optional.empty());
        }
        return text.startsWith(prefix)
                ? new Chosen(true, Optional.of(Layers.parse(text.substring(prefix.length()), where)))
                : of(Layers.parse(text, where));
    }

    /** Outputs of blocks. */
    static Exits of(final Layers blocks) {
        return new Chosen(false, Optional.of(blocks));
    }

    /**
     * DoLa's buckets: of the exits 0 (the input), 1, 2, ... (after so many blocks) the even ones below half of the
     * depth and below 20, or from half of it on and among the last 20. These are the official lists: 0 to 14 and 16 to
     * 30 of 32 blocks, 0 to 18 and 20 to 38 of 40, 0 to 18 and 40 to 58 of 60, 0 to 18 and 60 to 78 of 80.
     */
    enum Bucket implements Exits {
        /** The lowest ones. */
        LOW,
        /** The highest ones. */
        HIGH;

        private static final int MOST = 20;

        @Override
        public SortedSet<Integer> resolve(final int depth) {
            final SortedSet<Integer> exits = new TreeSet<>();
            for (int exit = 0; exit < depth; exit += 2) {
                final boolean lower = 2 * exit < depth;
                if (this == LOW ? lower && exit < MOST : !lower && exit >= depth - MOST) {
                    exits.add(exit - 1);
                }
            }
            if (exits.isEmpty()) {
                throw new BadInputException(
                        "no exit in the " + this + " half of a model of " + depth + " layers",
                        "layers " + this,
                        "name the exits, or use a deeper model");
            }
            return Collections.unmodifiableSortedSet(exits);
        }

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /**
     * Exits by name.
     *
     * @param embedding whether the input embeddings are one
     * @param blocks whose outputs are
     */
    record Chosen(boolean embedding, Optional<Layers> blocks) implements Exits {
        private static final String INPUT = "embedding";

        public Chosen {
            Objects.requireNonNull(blocks);
            if (!embedding && blocks.isEmpty()) {
                throw new BadInputException("no exit", "layers", "name blocks, or the embedding");
            }
        }

        @Override
        public SortedSet<Integer> resolve(final int depth) {
            final SortedSet<Integer> exits = new TreeSet<>();
            blocks.ifPresent(chosen -> exits.addAll(chosen.resolve(depth)));
            if (embedding) {
                exits.add(Intervention.EMBEDDING);
            }
            return Collections.unmodifiableSortedSet(exits);
        }

        @Override
        public String toString() {
            return (embedding ? INPUT : "") + blocks.map(chosen -> (embedding ? "," : "") + chosen).orElse("");
        }
    }
}
