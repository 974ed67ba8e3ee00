package dev.equipoise.decoding;

import java.util.Locale;

/** How an answer is found among options that come with the question, where that is not by combining rows. */
public enum OptionRule {
    /**
     * Dynamic contrastive decoding (arXiv 2410.03659): the options are read twice, from the media and from words; where
     * the readings differ, each is weighed by its confidence and the less confident one is subtracted.
     */
    DCD;

    /** The name in strategy files. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
