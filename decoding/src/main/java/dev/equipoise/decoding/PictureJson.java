package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.Range;
import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.picture.Box;
import dev.equipoise.runtime.picture.TransformationKind;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import java.util.regex.Pattern;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/** The section {@code picture} of branches, from JSON and back. */
final class PictureJson {
    private static final String DRAW = "draw";
    private static final String BLACKOUT = "blackout";
    private static final String ALL = "all";
    private static final int EDGES = 4;
    // A box in a text, and between two of them.
    private static final Pattern BOX = Pattern.compile("\\s*\\d{1,5}\\s*(,\\s*\\d{1,5}\\s*){3}");
    private static final Range MEDIUM = Range.of(0, 1 << 20);
    private static final Range EDGE = Range.of(0, Image.MAX_SIDE);
    private static final String REMEDY = "give boxes as [left, top, right, bottom], or \"left,top,right,bottom\" with"
            + " semicolons between boxes, in pixels of the picture";

    private PictureJson() {}

    static PictureChange read(final Section section) {
        if (section.has(DRAW) == section.has(BLACKOUT)) {
            throw new BadInputException(
                    "a change of pictures that is " + (section.has(DRAW) ? "two" : "none"),
                    section.where(DRAW),
                    "give either " + DRAW + " or " + BLACKOUT);
        }
        final PictureChange change = section.has(DRAW)
                ? new PictureChange.Drawn(kinds(section), section.seed("seed"))
                : new PictureChange.Blackout(boxes(section), medium(section));
        section.end();
        return change;
    }

    private static Set<TransformationKind> kinds(final Section section) {
        final List<String> choices = new ArrayList<>(
                Arrays.stream(TransformationKind.values()).map(TransformationKind::label).toList());
        choices.add(ALL);
        final Set<TransformationKind> kinds = EnumSet.noneOf(TransformationKind.class);
        for (final String label : section.choices(DRAW, choices).orElseThrow()) {
            kinds.addAll(Arrays.stream(TransformationKind.values())
                    .filter(kind -> label.equals(ALL) || label.equals(kind.label()))
                    .toList());
        }
        return kinds;
    }

    private static OptionalInt medium(final Section section) {
        return section.has("media") ? OptionalInt.of(section.integer("media", MEDIUM, 0)) : OptionalInt.empty();
    }

    private static List<Box> boxes(final Section section) {
        final List<Box> boxes = new ArrayList<>();
        if (section.isText(BLACKOUT)) {
            for (final String box : section.text(BLACKOUT).orElseThrow().split(";", -1)) {
                if (!BOX.matcher(box).matches()) {
                    throw new BadInputException("not a box: \"" + box + "\"", section.where(BLACKOUT), REMEDY);
                }
                boxes.add(box(section, Arrays.stream(box.split(","))
                        .map(edge -> Integer.parseInt(edge.strip()))
                        .toList()));
            }
            return boxes;
        }
        for (final List<Integer> edges : section.integerLists(BLACKOUT, EDGE)) {
            boxes.add(box(section, edges));
        }
        return boxes;
    }

    private static Box box(final Section section, final List<Integer> edges) {
        if (edges.size() != EDGES) {
            throw new BadInputException("a box of " + edges.size() + " numbers", section.where(BLACKOUT), REMEDY);
        }
        return new Box(edges.get(0), edges.get(1), edges.get(2), edges.get(3));
    }

    static void write(final PictureChange change, final ObjectNode node) {
        switch (change) {
            case PictureChange.Drawn drawn -> {
                final ArrayNode from = node.putArray(DRAW);
                drawn.from().forEach(kind -> from.add(kind.label()));
                drawn.seed().ifPresent(seed -> node.put("seed", seed));
            }
            case PictureChange.Blackout black -> {
                final ArrayNode boxes = node.putArray(BLACKOUT);
                black.boxes().forEach(box -> boxes.addArray()
                        .add(box.left()).add(box.top()).add(box.right()).add(box.bottom()));
                black.medium().ifPresent(number -> node.put("media", number));
            }
        }
    }
}
