package dev.equipoise.runtime.search;

import java.util.Arrays;
import java.util.BitSet;

/**
 * How much an answer builds on each of its tokens.
 *
 * @param products for each token, of the scaled weights that it and all tokens after it lay on it
 * @param onSpan weight of the last token on the span of the prompt that is meant, 0..1
 */
record Trust(double[] products, double onSpan) {
    /** Of no answer yet. */
    static final Trust NONE = new Trust(new double[0], 0);

    private static final double LARGEST_HALF = 65504;

    /**
     * That of an answer with one more token.
     *
     * @param heads the token's attention in the last block, {@code [heads][columns]} of prompt and answer, itself last
     * @param span columns of the prompt that are meant
     * @param scale of the weights
     */
    Trust behind(final float[][] heads, final BitSet span, final double scale) {
        final int columns = heads[0].length;
        final double[] row = new double[columns];
        double sum = 0;
        double meant = 0;
        for (int column = 0; column < columns; column++) {
            for (final float[] head : heads) {
                row[column] = Math.max(row[column], head[column]);
            }
            sum += row[column];
            meant += span.get(column) ? row[column] : 0;
        }
        final double[] longer = Arrays.copyOf(products, products.length + 1);
        longer[products.length] = 1;
        final int prompt = columns - longer.length;
        for (int token = 0; token < longer.length; token++) {
            longer[token] *= scale * row[prompt + token] / sum;
        }
        return new Trust(longer, meant / sum);
    }

    /** The first token with the largest score. */
    int place(final double factor) {
        int place = 0;
        for (int token = 1; token < products.length; token++) {
            place = score(token, factor) > score(place, factor) ? token : place;
        }
        return place;
    }

    /**
     * A product times a factor, in half precision and no larger than that goes. The official code stores it so, which
     * makes small products equal and the first of them the place.
     */
    double score(final int token, final double factor) {
        final double score = Math.min(LARGEST_HALF, factor * products[token]);
        return Float.float16ToFloat(Float.floatToFloat16((float) score));
    }
}
