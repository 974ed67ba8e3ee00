package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Locale;
import java.util.Objects;

/**
 * Leaves out rows of a picture before the language model reads it: each run of rows that the encoder gives keeps
 * {@code floor(keep n)} of its n, at least one, those of the largest saliency, the earlier of equal ones, in their
 * order. Text dominance was found to fall with the number of tokens that way (arXiv 2508.10552), whose saliency is the
 * attention of CLIP's class token.
 *
 * <p>What follows moves up: positions are renumbered. Under M-RoPE, where a row's position is its place in the picture
 * and gaps are allowed, rows keep theirs and what follows stays.
 *
 * @param keep share of rows that stay, above 0, at most 1
 * @param saliency by what they are chosen
 */
public record Compression(double keep, Saliency saliency) {
    /** By what rows are chosen. */
    public enum Saliency {
        /** L2 norm of the row that the language model is given: there with every encoder. */
        NORM,
        /**
         * Attention in the encoder's last block that runs, the mean of its heads, computed again from the queries and
         * keys that libmtmd shows: what the class token pays, as in the paper, with encoders that have one (CLIP), else
         * the mean of all queries. Where no block runs it is {@link #NORM}, and traces say so. Not there with encoders
         * that merge patches or sample them anew: their rows are not their positions.
         */
        ATTENTION;

        /** The lower-case name used in strategy files. */
        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    // A share that is written in decimals may fall short of the whole number that it means.
    private static final double ROUNDING = 1e-9;

    public Compression {
        Objects.requireNonNull(saliency);
        if (!(keep > 0 && keep <= 1)) {
            throw new BadInputException("share of rows out of range", "keep " + keep, "choose above 0, up to 1");
        }
    }

    /** How many of n rows stay. */
    public int kept(final int n) {
        return Math.max(1, (int) Math.floor(keep * n + ROUNDING));
    }
}
