package dev.equipoise.bench.speed;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;

class InterleavingTest {
    @Test
    void overAsManyRoundsAsArmsEachArmStandsAtEachPlaceOnce() {
        final List<String> arms = List.of("a", "b", "c", "d", "e");
        for (int place = 0; place < arms.size(); place++) {
            final Set<String> seen = new HashSet<>();
            for (int round = 7; round < 7 + arms.size(); round++) {
                seen.add(Interleaving.rotated(arms, round).get(place));
            }
            assertEquals(Set.copyOf(arms), seen, "place " + place);
        }
        assertEquals(arms, Interleaving.rotated(arms, 0));
        assertEquals(List.of("b", "c", "d", "e", "a"), Interleaving.rotated(arms, 1));
    }

    @Test
    void pairsTakeTurns() {
        final List<String> arms = List.of("a", "A", "b", "B");
        assertEquals(arms, Interleaving.alternating(arms, 0));
        assertEquals(List.of("B", "b", "A", "a"), Interleaving.alternating(arms, 1));
        assertEquals(arms, Interleaving.alternating(arms, 2));
    }

    @Test
    void oneArmIsARound() {
        assertEquals(List.of("a"), Interleaving.rotated(List.of("a"), 3));
    }
}
