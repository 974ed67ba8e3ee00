package dev.equipoise.steering;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.SortedSet;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.IntRange;

class LayersPropertyTest {
    @Property(tries = 300)
    void sharesAreTheBlocksThatLieWithinThem(
            @ForAll @IntRange(min = 0, max = 100) final int a,
            @ForAll @IntRange(min = 0, max = 100) final int b,
            @ForAll @IntRange(min = 1, max = 128) final int depth) {
        final int from = Math.min(a, b);
        final int to = Math.max(a, b);
        final SortedSet<Integer> layers = Layers.parse(from + "%-" + to + "%", "layers").resolve(depth);
        assertTrue(layers.first() >= 0 && layers.last() < depth);
        for (int block = 0; from < to && block < depth; block++) {
            // Block n reaches from n/depth to (n + 1)/depth of the way; in whole numbers, times 100 depth.
            final boolean within = 100 * block < to * depth && 100 * (block + 1) > from * depth;
            assertEquals(within, layers.contains(block), layers + " of " + depth);
        }
    }
}
