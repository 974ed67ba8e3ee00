package dev.equipoise.bench.demo;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.bench.testbed.Condition;
import dev.equipoise.bench.testbed.ConflictWorld;
import dev.equipoise.bench.testbed.Item;
import dev.equipoise.bench.testbed.WorldItem;
import dev.equipoise.decoding.Strategies;
import dev.equipoise.kernels.error.BadInputException;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;

/** What the demo asks, and how answers are read. */
class DemoTest {
    @Test
    void theItemIsAConflictAboutThePicture() {
        for (long seed = 0; seed < 5; seed++) {
            final Item item = Demo.item(seed);
            assertEquals(Condition.CONFLICT, item.condition());
            assertEquals(item.answer(), item.answerImage().orElseThrow());
            assertNotEquals(item.answer(), item.answerContext().orElseThrow());
            assertTrue(item.image().isPresent() && item.audio().isPresent() && item.context().isPresent());
            assertEquals(item, Demo.item(seed));
        }
    }

    @Test
    void plainComesFirstAndEveryPresetOnce() {
        final List<String> names = Demo.strategies().stream().map(strategy -> strategy.name()).toList();
        assertEquals("plain", names.getFirst());
        assertEquals(names.size(), names.stream().distinct().count());
        assertEquals(
                Strategies.names().stream()
                        .filter(name -> !List.of("greedy", "zero-scale").contains(name))
                        .toList(),
                names.subList(1, names.size() - 1));
        assertEquals("look-closer", names.getLast());
    }

    @Test
    void answersFollowWhoeverGivesThem() {
        final Item item = Demo.item(1);
        assertEquals(Follows.IMAGE, Follows.of(item, " " + item.answer().toUpperCase(Locale.ROOT) + "."));
        assertEquals(Follows.CONTEXT, Follows.of(item, item.answerContext().orElseThrow()));
        assertEquals(Follows.OTHER, Follows.of(item, "a giraffe"));
        assertEquals(Follows.OTHER, Follows.of(item, ""));
    }

    @Test
    void generatedItemsAreTheWorldsOwn() {
        final List<Item> lazy = new GeneratedItems(3, 20).stream().map(WorldItem::item).toList();
        assertEquals(ConflictWorld.generate(3, 20).stream().map(WorldItem::item).toList(), lazy);
        assertThrows(BadInputException.class, () -> new GeneratedItems(3, 0));
        assertThrows(BadInputException.class, () -> new GeneratedItems(3, GeneratedItems.MAX_ITEMS + 1));
        assertThrows(IndexOutOfBoundsException.class, () -> new GeneratedItems(3, 20).get(20));
    }
}
