package dev.equipoise.steering;

import dev.equipoise.kernels.error.BadInputException;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * A choice of layers that is made before the model is known. Layer n is block n, counted from 0; both ends of a range
 * belong to it. {@link #toString} gives the text that {@link #parse} reads.
 */
public sealed interface Layers {
    /**
     * The layers meant in a model.
     *
     * @param depth its number of blocks, at least 1
     * @return never empty, ascending, unmodifiable
     * @throws BadInputException if a layer does not exist there
     */
    SortedSet<Integer> resolve(int depth);

    /** Every layer. */
    static Layers all() {
        return new All();
    }

    /** Every layer below the last two. */
    static Layers allButLastTwo() {
        return new AllButLastTwo();
    }

    /**
     * Reads {@code "all"}, {@code "all-but-last"}, {@code "all-but-last-two"}, {@code "3"}, {@code "8-16"}, {@code
     * "1-13/2"} (every second one), {@code "28%-47%"}, or several numbers and ranges of numbers with commas between
     * them.
     *
     * @param text the choice
     * @param where the option or key it was given for, for messages
     * @throws BadInputException if it is none of these
     */
    static Layers parse(final String text, final String where) {
        if (text.equals("all")) {
            return all();
        }
        if (text.equals(AllButLast.TEXT)) {
            return new AllButLast();
        }
        if (text.equals(AllButLastTwo.TEXT)) {
            return allButLastTwo();
        }
        try {
            if (Several.TEXT.matcher(text).matches()) {
                final List<Layers> parts = Arrays.stream(text.split(",")).map(Layers::blocks).toList();
                return parts.size() == 1 ? parts.getFirst() : new Several(parts);
            }
            final Matcher share = Share.TEXT.matcher(text);
            if (share.matches()) {
                return new Share(new BigDecimal(share.group(1)), new BigDecimal(share.group(2)));
            }
        } catch (final BadInputException e) {
            throw new BadInputException(e.what(), where + " \"" + text + "\"", e.remedy(), e);
        }
        throw new BadInputException(
                "no choice of layers",
                where + " \"" + text + "\"",
                "write all, all-but-last, all-but-last-two, 3, 8-16, 1-13/2, 0,2,4 or 28%-47%");
    }

    private static Layers blocks(final String text) {
        final Matcher parts = Blocks.TEXT.matcher(text);
        parts.matches();
        final int first = Integer.parseInt(parts.group(1));
        final int last = parts.group(2) == null ? first : Integer.parseInt(parts.group(2));
        final int step = parts.group(3) == null ? 1 : Integer.parseInt(parts.group(3));
        return step == 1 ? new Blocks(first, last) : new Stepped(new Blocks(first, last), step);
    }

    /** Every layer. */
    record All() implements Layers {
        @Override
        public SortedSet<Integer> resolve(final int depth) {
            return new Blocks(0, depth - 1).resolve(depth);
        }

        @Override
        public String toString() {
            return "all";
        }
    }

    /** Every layer below the last, as methods take them that leave the last one to itself. */
    record AllButLast() implements Layers {
        private static final String TEXT = "all-but-last";

        @Override
        public SortedSet<Integer> resolve(final int depth) {
            if (depth < 2) {
                throw new BadInputException(
                        "no layer below the last in a model of " + depth, "layers " + this, "use a deeper model");
            }
            return new Blocks(0, depth - 2).resolve(depth);
        }

        @Override
        public String toString() {
            return TEXT;
        }
    }

    /** Every layer below the last two, where OutRo's code looks for sinks. */
    record AllButLastTwo() implements Layers {
        private static final String TEXT = "all-but-last-two";

        @Override
        public SortedSet<Integer> resolve(final int depth) {
            if (depth < 3) {
                throw new BadInputException(
                        "no layer below the last two in a model of " + depth, "layers " + this, "use a deeper model");
            }
            return new Blocks(0, depth - 3).resolve(depth);
        }

        @Override
        public String toString() {
            return TEXT;
        }
    }

    /**
     * Layers by number.
     *
     * @param first the lowest, at least 0
     * @param last the highest, at least {@code first}, below {@value #MOST}
     */
    record Blocks(int first, int last) implements Layers {
        /** More layers than any model has: a short text could name so many that there is no room for their list. */
        static final int MOST = 10_000;

        // Nine digits always fit an int.
        private static final String RANGE = "(\\d{1,9})(?:-(\\d{1,9})(?:/(\\d{1,9}))?)?";
        private static final Pattern TEXT = Pattern.compile(RANGE);

        public Blocks {
            if (first < 0 || last < first) {
                throw new BadInputException(
                        "layers out of order", first + "-" + last, "count from 0, the lower layer first");
            }
            if (last >= MOST) {
                throw new BadInputException(
                        "more layers than any model has", first + "-" + last, "keep below " + MOST);
            }
        }

        @Override
        public SortedSet<Integer> resolve(final int depth) {
            if (last >= depth) {
                throw new BadInputException(
                        "no layer " + last + " in a model of " + depth + " layers",
                        "layers " + this,
                        "choose among 0-" + (depth - 1) + ", or a share of the depth such as 28%-47%");
            }
            return IntStream.rangeClosed(first, last)
                    .boxed()
                    .collect(Collectors.collectingAndThen(
                            Collectors.toCollection(TreeSet::new), Collections::unmodifiableSortedSet));
        }

        @Override
        public String toString() {
            return first == last ? String.valueOf(first) : first + "-" + last;
        }
    }

    /**
     * Some layers of a range, at equal distances from its first.
     *
     * @param range all of them
     * @param step the distance, at least 1
     */
    record Stepped(Blocks range, int step) implements Layers {
        public Stepped {
            Objects.requireNonNull(range);
            if (step < 1) {
                throw new BadInputException("layers at no distance", range + "/" + step, "choose a step of at least 1");
            }
        }

        @Override
        public SortedSet<Integer> resolve(final int depth) {
            return range.resolve(depth).stream()
                    .filter(layer -> (layer - range.first()) % step == 0)
                    .collect(Collectors.collectingAndThen(
                            Collectors.toCollection(TreeSet::new), Collections::unmodifiableSortedSet));
        }

        @Override
        public String toString() {
            return range.first() + "-" + range.last() + "/" + step;
        }
    }

    /**
     * Several choices by number, in any order, some perhaps of the same layers.
     *
     * @param parts {@link Blocks} and {@link Stepped}, at least one
     */
    record Several(List<Layers> parts) implements Layers {
        private static final Pattern TEXT = Pattern.compile(Blocks.RANGE + "(?:," + Blocks.RANGE + ")*");

        public Several {
            parts = List.copyOf(parts);
            final boolean listed = parts.stream().allMatch(part -> part instanceof Blocks || part instanceof Stepped);
            if (parts.isEmpty() || !listed) {
                throw new BadInputException("no list of layers", parts.toString(), "list numbers and ranges of them");
            }
        }

        @Override
        public SortedSet<Integer> resolve(final int depth) {
            final SortedSet<Integer> all = new TreeSet<>();
            parts.forEach(part -> all.addAll(part.resolve(depth)));
            return Collections.unmodifiableSortedSet(all);
        }

        @Override
        public String toString() {
            return parts.stream().map(Object::toString).collect(Collectors.joining(","));
        }
    }

    /**
     * Layers by shares of the depth L, for the same place in models of any depth: from block {@code floor(from L)} to
     * block {@code ceil(to L) - 1}, hence every block of which some part lies between the two; at least one.
     *
     * @param from percent, 0..100
     * @param to percent, {@code from}..100
     */
    record Share(BigDecimal from, BigDecimal to) implements Layers {
        private static final BigDecimal WHOLE = BigDecimal.valueOf(100);
        private static final String PERCENT = "(\\d{1,3}(?:\\.\\d{1,6})?)%";
        private static final Pattern TEXT = Pattern.compile(PERCENT + "-" + PERCENT);

        public Share {
            // 28% and 28.0% are one choice.
            from = from.stripTrailingZeros();
            to = to.stripTrailingZeros();
            if (from.signum() < 0 || to.compareTo(from) < 0 || to.compareTo(WHOLE) > 0) {
                throw new BadInputException(
                        "shares of the depth out of range",
                        from.toPlainString() + "%-" + to.toPlainString() + "%",
                        "choose within 0%-100%, the lower share first");
            }
        }

        @Override
        public SortedSet<Integer> resolve(final int depth) {
            final int first = Math.min(block(from, depth, RoundingMode.FLOOR), depth - 1);
            final int last = Math.max(block(to, depth, RoundingMode.CEILING) - 1, first);
            return new Blocks(first, last).resolve(depth);
        }

        // In decimals: as a double, 28 % of 25 layers is more than 7.
        private static int block(final BigDecimal percent, final int depth, final RoundingMode mode) {
            return percent.multiply(BigDecimal.valueOf(depth)).movePointLeft(2).setScale(0, mode).intValueExact();
        }

        @Override
        public String toString() {
            return from.toPlainString() + "%-" + to.toPlainString() + "%";
        }
    }
}
