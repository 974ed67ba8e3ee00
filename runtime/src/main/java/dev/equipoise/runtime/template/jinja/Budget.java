package dev.equipoise.runtime.template.jinja;

/** What a rendering may still do: a template from a hostile file must not run for ever or fill the heap. */
final class Budget {
    /** Largest number of evaluated nodes plus characters and list entries made in one rendering. */
    static final long LIMIT = 50_000_000;

    private long spent;

    /** Pays before the work is done; {@code amount} is one per node, character or entry. */
    void charge(final long amount) {
        spent += amount;
        if (amount < 0 || spent > LIMIT) {
            throw new Fault("the template does more work than is allowed");
        }
    }
}
