package dev.equipoise.bench.demo;

import dev.equipoise.bench.testbed.ConflictWorld;
import dev.equipoise.bench.testbed.Item;
import dev.equipoise.bench.testbed.Phrasebook;
import dev.equipoise.bench.testbed.Split;
import dev.equipoise.bench.testbed.WorldItem;
import dev.equipoise.kernels.error.BadInputException;
import java.util.AbstractList;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Predicate;

/**
 * The unseen items of a seed, each made when it is looked at: a file of any length is written in the memory of one
 * item. Immutable.
 */
public final class GeneratedItems extends AbstractList<WorldItem> {
    /** Most items of one seed. */
    public static final int MAX_ITEMS = 1_000_000;

    private final Phrasebook phrases = new Phrasebook(Split.HELD_OUT);
    private final long seed;
    private final int size;

    /**
     * @param size 1..{@value #MAX_ITEMS}
     */
    public GeneratedItems(final long seed, final int size) {
        if (size < 1 || size > MAX_ITEMS) {
            throw new BadInputException("number of items out of range", String.valueOf(size), "choose 1.." + MAX_ITEMS);
        }
        this.seed = seed;
        this.size = size;
    }

    /**
     * The first items of a seed that are wanted.
     *
     * @param count 1..{@value #MAX_ITEMS}
     * @param wanted by what comes round again with {@link ConflictWorld#PERIOD}
     * @throws BadInputException if no item is wanted, or a million items hold fewer
     */
    public static List<WorldItem> where(final long seed, final int count, final Predicate<Item> wanted) {
        final GeneratedItems all = new GeneratedItems(seed, MAX_ITEMS);
        final int size = new GeneratedItems(seed, count).size;
        final List<WorldItem> found = new ArrayList<>();
        for (int i = 0; found.size() < size && i < MAX_ITEMS && (i < ConflictWorld.PERIOD || !found.isEmpty()); i++) {
            final WorldItem made = all.get(i);
            if (wanted.test(made.item())) {
                found.add(made);
            }
        }
        if (found.isEmpty()) {
            throw new BadInputException(
                    "no item is all of that", "condition, group and what it is about", "ask for fewer of them at once");
        }
        if (found.size() < size) {
            throw new BadInputException(
                    "not so many items of that kind", found.size() + " of " + size, "ask for fewer, or another group");
        }
        return found;
    }

    @Override
    public WorldItem get(final int index) {
        return ConflictWorld.item(seed, Objects.checkIndex(index, size), phrases);
    }

    @Override
    public int size() {
        return size;
    }
}
