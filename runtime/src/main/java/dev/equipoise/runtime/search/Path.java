package dev.equipoise.runtime.search;

import dev.equipoise.runtime.TokenLogProbabilities;

/** An answer as far as it goes, or the prompt alone, each token behind what stands before it. Equal by identity. */
public final class Path {
    private final Path parent;
    private final int token;
    private final int length;
    // What was read, as long as it is needed; null before.
    private float[] row;
    private Trust trust;
    private TokenLogProbabilities competition;

    private Path(final Path parent, final int token, final int length) {
        this.parent = parent;
        this.token = token;
        this.length = length;
    }

    /** The prompt alone. */
    static Path prompt() {
        final Path prompt = new Path(null, -1, 0);
        prompt.trust = Trust.NONE;
        return prompt;
    }

    Path with(final int next) {
        return new Path(this, next, length + 1);
    }

    /** What stands before its last token; null of the prompt. */
    public Path parent() {
        return parent;
    }

    /** Its last token; -1 of the prompt. */
    public int token() {
        return token;
    }

    /** Its tokens. */
    public int length() {
        return length;
    }

    /** Its first tokens, so many of them. */
    public Path head(final int tokens) {
        Path head = this;
        while (head.length > tokens) {
            head = head.parent;
        }
        return head;
    }

    /** What its last token competed with; null if nobody asked, and of the prompt. */
    public TokenLogProbabilities competition() {
        return competition;
    }

    void report(final TokenLogProbabilities what) {
        competition = what;
    }

    float[] row() {
        return row;
    }

    Trust trust() {
        return trust;
    }

    void read(final float[] logits, final Trust found) {
        row = logits;
        trust = found;
    }

    /** What it builds on stays, and the prompt's row: the search may come back. */
    void forgetRow() {
        row = parent == null ? row : null;
    }
}
