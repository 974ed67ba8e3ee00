package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.Range;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Keep;
import dev.equipoise.runtime.intervention.Phase;
import dev.equipoise.runtime.intervention.Scope;
import java.util.Arrays;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.IntStream;

/**
 * Which tokens of a span a branch does not see, chosen by how much attention the prompt's last token pays them on the
 * request as it is. The choice is made when the prompt has been read; {@link Refresh} says whether it stays for all
 * generated tokens, and {@link #isPerToken} whether each of those is chosen for as the first one is.
 */
public sealed interface TokenChoice {
    /** Allowed numbers of blocks and tokens. */
    Range COUNT = Range.of(1, 10_000);
    /** Allowed shares. */
    Range SHARE = Range.of(0, 1);
    /** Allowed multiples of a standard deviation. */
    Range DEVIATIONS = Range.of(-100, 100);

    /** The name in strategy files. */
    String by();

    /** The modalities that the prompt must have. */
    Set<Modality> needs();

    /** The modalities whose tokens it may take away. */
    Set<Modality> spans();

    /**
     * The blocks whose attention it looks at.
     *
     * @param depth number of blocks of the model
     * @throws BadInputException when the model has not enough of them
     */
    SortedSet<Integer> looksAt(int depth);

    /**
     * The columns that are taken away, perhaps none.
     *
     * @param seen the blocks of {@link #looksAt}, in order
     */
    SortedSet<Integer> taken(PromptAttention seen);

    /**
     * Which of these lose something, where the branch's own attention says so in each head by itself: those to which it
     * pays more than this; 0 for choices that are made without it.
     *
     * @param seen as for {@link #taken}
     */
    default double above(final PromptAttention seen) {
        return 0;
    }

    /**
     * What takes the columns away.
     *
     * @param taken the columns, at least one; empty while they are not known: all of the spans
     * @param depth number of blocks of the model
     */
    List<Intervention> interventions(Optional<SortedSet<Integer>> taken, int depth);

    /**
     * Whether it is made for each generated token anew by the attention that its row came with, on the request as it
     * is, and the branch then reads prompt and tokens so far under that choice alone: {@link
     * dev.equipoise.runtime.Rechoice}. Nothing is chosen before the answer then.
     */
    default boolean isPerToken() {
        return false;
    }

    /** The choice in words. */
    String words();

    /** Who chooses for the generated tokens. */
    enum Refresh {
        /**
         * Each token anew: {@link LeastAttended} by the attention of the last one that was read, on the branch, in the
         * decode that reads it, for that one alone; {@link Dominated} by its attention on the request as it is, for the
         * prompt and all tokens.
         */
        STEP,
        /** Nobody: what the prompt's last token chose stays. */
        REQUEST;

        /** The name in strategy files. */
        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /**
     * All but the tokens that are least attended to are hidden, from a block on; the block before it is the one that is
     * looked at (SID, arXiv 2408.02032).
     *
     * @param span whose tokens
     * @param keep how many stay; all, if there are fewer
     * @param share how many stay, as a share of the span's tokens, rounded up; then {@code keep} is of no consequence
     * @param layer the first block in which the others are hidden, at least 1
     * @param refresh who chooses for the generated tokens
     */
    record LeastAttended(Modality span, int keep, OptionalDouble share, int layer, Refresh refresh)
            implements TokenChoice {
        /** Strategy files call it so. */
        public static final String BY = "least-attended";

        public LeastAttended {
            requireSpan(span);
            Objects.requireNonNull(refresh);
            COUNT.require("tokens.keep", keep);
            COUNT.require("tokens.layer", layer);
            share.ifPresent(value -> SHARE.require("tokens.share", value));
            keep = share.isPresent() ? 1 : keep;
        }

        @Override
        public String by() {
            return BY;
        }

        @Override
        public Set<Modality> needs() {
            return EnumSet.of(span);
        }

        @Override
        public Set<Modality> spans() {
            return EnumSet.of(span);
        }

        @Override
        public SortedSet<Integer> looksAt(final int depth) {
            if (layer >= depth) {
                throw new BadInputException(
                        "a layer that the model does not have",
                        "tokens.layer " + layer + " of 0.." + (depth - 1),
                        "choose layers below " + depth);
            }
            return new TreeSet<>(Set.of(layer - 1));
        }

        @Override
        public SortedSet<Integer> taken(final PromptAttention seen) {
            final float[] weights = seen.rows().getFirst();
            final List<Integer> byWeight = seen.columns(EnumSet.of(span)).stream()
                    .sorted(Comparator.comparingDouble((Integer column) -> weights[column]))
                    .toList();
            return new TreeSet<>(byWeight.subList(kept().in(byWeight.size()), byWeight.size()));
        }

        private Keep kept() {
            return new Keep(keep, share);
        }

        @Override
        public List<Intervention> interventions(final Optional<SortedSet<Integer>> taken, final int depth) {
            final String name = "tokens:" + BY;
            final SortedSet<Integer> hidden = blocks(layer, depth);
            return switch (refresh) {
                case REQUEST -> List.of(new Intervention.Hide(name, spans(), taken, hidden));
                case STEP -> List.of(
                        new Intervention.Hide(
                                name, spans(), taken, hidden, Scope.all().during(EnumSet.of(Phase.PROMPT))),
                        new Intervention.HideAttended(
                                name + ":" + refresh.label(),
                                spans(),
                                kept(),
                                layer - 1,
                                hidden,
                                Scope.all().during(EnumSet.of(Phase.GENERATED))));
            };
        }

        @Override
        public String words() {
            final String kept = share.isPresent() ? "a share of " + share.getAsDouble() : String.valueOf(keep);
            return "of the " + span.label() + " tokens, " + kept + " that get least attention in block " + (layer - 1)
                    + " stay; the others are hidden from block " + layer + " on"
                    + (refresh == Refresh.STEP ? "; each generated token chooses for itself" : "");
        }
    }

    /**
     * All but blind tokens are zeroed in the input: those stay whose attention, the mean of the blocks that look at the
     * span most, reaches its mean plus so many standard deviations (AvisC, arXiv 2405.17820).
     *
     * @param span whose tokens
     * @param gamma share of all blocks' attention to the span that the fewest blocks are to reach, 0..1
     * @param lambda standard deviations (with n - 1) above the mean
     */
    record Blind(Modality span, double gamma, double lambda) implements TokenChoice {
        /** Strategy files call it so. */
        public static final String BY = "blind";

        public Blind {
            requireSpan(span);
            gamma = SHARE.require("tokens.gamma", gamma);
            lambda = DEVIATIONS.require("tokens.lambda", lambda);
        }

        @Override
        public String by() {
            return BY;
        }

        @Override
        public Set<Modality> needs() {
            return EnumSet.of(span);
        }

        @Override
        public Set<Modality> spans() {
            return EnumSet.of(span);
        }

        @Override
        public SortedSet<Integer> looksAt(final int depth) {
            return blocks(0, depth);
        }

        @Override
        public SortedSet<Integer> taken(final PromptAttention seen) {
            final List<Integer> columns = List.copyOf(seen.columns(EnumSet.of(span)));
            final double[] mean = seen.mean(seen.lookingMost(EnumSet.of(span), gamma));
            final double[] scores = columns.stream().mapToDouble(column -> mean[column]).toArray();
            final double average = Arrays.stream(scores).average().orElse(0);
            final double squares = Arrays.stream(scores).map(score -> (score - average) * (score - average)).sum();
            // One token has no spread.
            final double deviation = scores.length < 2 ? 0 : Math.sqrt(squares / (scores.length - 1));
            final SortedSet<Integer> taken = new TreeSet<>();
            for (int i = 0; i < scores.length; i++) {
                if (scores[i] < average + lambda * deviation) {
                    taken.add(columns.get(i));
                }
            }
            return taken;
        }

        @Override
        public List<Intervention> interventions(final Optional<SortedSet<Integer>> taken, final int depth) {
            return List.of(new Intervention.Silence("tokens:" + BY, spans(), taken));
        }

        @Override
        public String words() {
            return "of the " + span.label() + " tokens, those stay whose attention, the mean of the fewest blocks that"
                    + " together hold " + gamma + " of it, reaches mean + " + lambda
                    + " standard deviations; the others are zero in the input";
        }
    }

    /** Which of picture, sound and words loses its most attended tokens, beside the one that dominates. */
    enum Weaker {
        /** The first of the two others, in the order picture, sound, words. */
        FIRST,
        /** The second of them. */
        SECOND,
        /** Both. */
        BOTH;

        /** The name in strategy files. */
        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** What is taken from the tokens that are chosen. */
    enum Mask {
        /** Their keys: no token sees them. */
        COLUMNS,
        /** What attention adds to their own states: they are seen, and see nothing themselves. */
        ROWS,
        /**
         * The same in each head by itself, of the tokens to which the branch's latest token attends in that head most:
         * its own pass chooses, and the base says by how much.
         */
        HEADS;

        /** The name in strategy files. */
        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /**
     * The tokens that get most attention are masked in every block but the last, of the modalities that do not
     * dominate: those with less attention than another (AVCD's masks, arXiv 2505.20862). Picture, sound and
     * words, which are the question, the note and what was generated, are weighed; attention is the mean of all blocks
     * but the last, and of all heads. Of equal ones words dominate before pictures, and those before sounds.
     *
     * @param weaker which of the two weaker modalities
     * @param share of the tokens that are compared, those above this top share are hidden: 0.5 is the median
     * @param within whether a modality's tokens are compared with each other; otherwise with the whole prompt's
     * @param perToken whether a modality's attention is divided by the number of its tokens, as the official code does
     * @param behind whether words are those behind the last picture or sound alone, as in the official code's prompts;
     *     otherwise all but the system text
     * @param mask on columns, as the paper describes it, on rows, or on rows in each head by itself, as its official
     *     code has it: there the threshold is the mean over heads of each head's quantile of the whole prompt
     * @param refresh who chooses for the generated tokens
     */
    record Dominated(
            Weaker weaker,
            double share,
            boolean within,
            boolean perToken,
            boolean behind,
            Mask mask,
            Refresh refresh)
            implements TokenChoice {
        /** Strategy files call it so. */
        public static final String BY = "dominated";

        private static final int WORDS = 2;
        private static final List<Set<Modality>> SIDES = List.of(
                EnumSet.of(Modality.IMAGE),
                EnumSet.of(Modality.AUDIO),
                EnumSet.of(Modality.TEXT, Modality.CONTEXT));

        public Dominated {
            Objects.requireNonNull(weaker);
            Objects.requireNonNull(mask);
            Objects.requireNonNull(refresh);
            share = SHARE.require("tokens.share", share);
            if (mask == Mask.HEADS && (within || refresh != Refresh.STEP)) {
                throw new BadInputException(
                        within ? "a threshold within a modality, for masks by head" : "masks by head that stay",
                        within ? "tokens.within" : "tokens.refresh",
                        "leave it out: the latest token chooses them, by one threshold for all");
            }
        }

        @Override
        public String by() {
            return BY;
        }

        @Override
        public Set<Modality> needs() {
            return EnumSet.of(Modality.IMAGE, Modality.AUDIO);
        }

        @Override
        public Set<Modality> spans() {
            return EnumSet.of(Modality.IMAGE, Modality.AUDIO, Modality.TEXT, Modality.CONTEXT);
        }

        @Override
        public SortedSet<Integer> looksAt(final int depth) {
            if (depth < 2) {
                throw new BadInputException(
                        "a model of one block", "tokens.by " + BY, "take one with more: the last is left alone");
            }
            return blocks(0, depth - 1);
        }

        @Override
        public SortedSet<Integer> taken(final PromptAttention seen) {
            final double[] mean = seen.mean(IntStream.range(0, seen.rows().size()).boxed().toList());
            final List<SortedSet<Integer>> sides =
                    SIDES.stream().map(side -> columns(side, seen)).toList();
            final double[] weights = sides.stream().mapToDouble(columns -> {
                final double sum = columns.stream().mapToDouble(column -> mean[column]).sum();
                return perToken ? sum / Math.max(1, columns.size()) : sum;
            }).toArray();
            int dominant = WORDS;
            for (int side = 0; side < WORDS; side++) {
                dominant = weights[side] > weights[dominant] ? side : dominant;
            }
            final int first = dominant == 0 ? 1 : 0;
            final int second = dominant == WORDS ? 1 : WORDS;
            final SortedSet<Integer> taken = new TreeSet<>();
            for (final int side : switch (weaker) {
                case FIRST -> List.of(first);
                case SECOND -> List.of(second);
                case BOTH -> List.of(first, second);
            }) {
                final Set<Integer> columns = sides.get(side);
                if (mask == Mask.HEADS) {
                    taken.addAll(columns);
                    continue;
                }
                final double threshold = PromptAttention.quantile(
                        within ? columns.stream().mapToDouble(column -> mean[column]).toArray() : mean, 1 - share);
                columns.stream().filter(column -> mean[column] > threshold).forEach(taken::add);
            }
            return taken;
        }

        // Of words behind the media there may be none.
        private SortedSet<Integer> columns(final Set<Modality> side, final PromptAttention seen) {
            final SortedSet<Integer> columns = seen.columns(side);
            return behind && side == SIDES.get(WORDS) ? columns.tailSet(seen.columns(needs()).last()) : columns;
        }

        @Override
        public double above(final PromptAttention seen) {
            return mask == Mask.HEADS ? seen.meanQuantile(1 - share) : 0;
        }

        @Override
        public List<Intervention> interventions(final Optional<SortedSet<Integer>> taken, final int depth) {
            // Where the choice stays and is not known yet: what is weaker in nearly all cases.
            final Set<Modality> span = taken.isPresent() || isPerToken() ? spans() : needs();
            return List.of(switch (mask) {
                case COLUMNS -> new Intervention.Hide("tokens:" + BY, span, taken, blocks(0, depth - 1));
                case ROWS -> new Intervention.Mute("tokens:" + BY, span, taken, blocks(0, depth - 1));
                case HEADS ->
                    new Intervention.MuteAttended("tokens:" + BY, span, taken, 0, blocks(0, depth - 1));
            });
        }

        @Override
        public String words() {
            return (weaker == Weaker.BOTH ? "both of the weaker modalities lose" : "the " + weaker.label()
                            + " of the weaker modalities loses")
                    + (mask == Mask.COLUMNS ? "" : " what attention adds to")
                    + (mask == Mask.HEADS
                            ? ", in each head by itself, the tokens to which that head of the branch's latest token"
                                    + " attends with more than the mean over heads of the base's quantile at "
                                    + (1 - share)
                            : " the tokens with attention in the top " + share + " of "
                                    + (within ? "their own modality" : "the prompt"))
                    + ", in all blocks but the last"
                    + (isPerToken() ? "; chosen anew for each generated token, which count among the words" : "");
        }

        @Override
        public boolean isPerToken() {
            return refresh == Refresh.STEP;
        }
    }

    private static SortedSet<Integer> blocks(final int first, final int end) {
        return new TreeSet<>(IntStream.range(first, end).boxed().toList());
    }

    private static void requireSpan(final Modality span) {
        if (span != Modality.IMAGE && span != Modality.AUDIO) {
            throw new BadInputException("a choice of words", "tokens.span " + span.label(), "choose image or audio");
        }
    }
}
