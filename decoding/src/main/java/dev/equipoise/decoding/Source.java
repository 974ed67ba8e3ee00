package dev.equipoise.decoding;

import java.util.Objects;

/**
 * Where a strategy comes from, and how far it may be called that.
 *
 * @param paper the publication, or that there is none
 * @param exact what agrees with it
 * @param unknown what could not be checked, or differs
 * @param defaults where the default values come from
 */
public record Source(String paper, String exact, String unknown, String defaults) {
    public Source {
        Objects.requireNonNull(paper);
        Objects.requireNonNull(exact);
        Objects.requireNonNull(unknown);
        Objects.requireNonNull(defaults);
    }
}
