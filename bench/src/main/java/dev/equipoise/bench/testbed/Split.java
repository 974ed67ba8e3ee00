package dev.equipoise.bench.testbed;

import java.util.Locale;

/**
 * Which sentences of the language may be used. Every question and every note belongs to exactly one of the two parts,
 * by a hash of its wording without case: the model was trained on the one and is measured on the other.
 */
public enum Split {
    /** Four sentences in five. */
    TRAINING,
    /** The fifth. */
    HELD_OUT;

    private static final int PARTS = 5;
    private static final int SALT = 10;

    /** Whether a whole question or a whole note, instructions apart, belongs to this part. */
    public boolean holds(final String sentence) {
        // Spread the bits: String.hashCode alone hardly changes its low digits with the last letters. The salt is one
        // that leaves every value at least one question and one note in either part.
        final int hash = (sentence.toLowerCase(Locale.ROOT).hashCode() + SALT) * 0x9E3779B9;
        return (Integer.remainderUnsigned(hash ^ hash >>> 15, PARTS) == 0) == (this == HELD_OUT);
    }
}
