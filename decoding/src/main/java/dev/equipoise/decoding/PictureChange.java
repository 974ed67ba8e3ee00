package dev.equipoise.decoding;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Part;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.picture.Box;
import dev.equipoise.runtime.picture.Pixels;
import dev.equipoise.runtime.picture.Transformation;
import dev.equipoise.runtime.picture.TransformationKind;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** What a branch's pictures are before a model's own preprocessing, instead of what the request has. */
public sealed interface PictureChange {
    /** Whether a picture may have another size after it. */
    boolean resizes();

    /** Whether it depends on the request's seed. */
    boolean isSeededByRequest();

    /** What it is about, in words. */
    String words();

    /** What names it in explanations. */
    String label();

    /**
     * A prompt with its pictures changed.
     *
     * @param prompt has a picture
     * @param where whose branch, for messages
     * @param seed seed of a draw that has none of its own
     * @throws BadInputException when a picture cannot be decoded, or the change does not fit it, or would change
     *     nothing that it was asked to
     */
    Prompt apply(Prompt prompt, String where, long seed);

    /**
     * One of some transformations for each picture, drawn with its numbers (RITUAL, arXiv 2405.17821). A picture that
     * it leaves as it is, being its own mirror image, is no error: nobody chose it.
     *
     * @param from what is drawn from, each as likely as any other; not empty
     * @param seed of the draws; picture number k has the seed + k; empty takes the request's
     */
    record Drawn(Set<TransformationKind> from, Optional<Long> seed) implements PictureChange {
        public Drawn {
            if (from.isEmpty()) {
                throw new BadInputException(
                        "a draw from no transformations", "contrast.branches, picture.draw", "name at least one");
            }
            from = Collections.unmodifiableSet(EnumSet.copyOf(from));
            Objects.requireNonNull(seed);
        }

        /** Whether there is anything to draw. */
        boolean isDrawn() {
            return from.size() > 1 || from.iterator().next().isDrawn();
        }

        @Override
        public boolean resizes() {
            return from.stream().anyMatch(TransformationKind::resizes);
        }

        @Override
        public boolean isSeededByRequest() {
            return isDrawn() && seed.isEmpty();
        }

        @Override
        public String words() {
            final String names =
                    from.stream().map(TransformationKind::label).collect(Collectors.joining(", "));
            return from.size() == 1 ? names + " of each picture" : "one of " + names + ", drawn for each picture";
        }

        @Override
        public String label() {
            return "drawn";
        }

        @Override
        public Prompt apply(final Prompt prompt, final String where, final long requestSeed) {
            final List<Part> changed = new ArrayList<>();
            long next = seed.orElse(requestSeed);
            for (final Part part : prompt.parts()) {
                if (part instanceof Part.Picture picture) {
                    final Pixels pixels = picture.image().pixels();
                    final Transformation drawn = draw(next++, pixels);
                    changed.add(picture.showing(picture.image().transformed(pixels, drawn)));
                } else {
                    changed.add(part);
                }
            }
            return new Prompt(changed, prompt.answer());
        }

        /** What a seed draws for a picture. */
        Transformation draw(final long drawn, final Pixels pixels) {
            final SplittableRandom random = new SplittableRandom(drawn);
            return List.copyOf(new TreeSet<>(from))
                    .get(random.nextInt(from.size()))
                    .draw(random, pixels.width(), pixels.height());
        }
    }

    /**
     * Black boxes (Contrastive Region Guidance, arXiv 2403.02325).
     *
     * @param boxes where, in the pixels of the file; not empty
     * @param medium number of the picture among pictures and sounds, from 0; empty: of each picture
     */
    record Blackout(List<Box> boxes, OptionalInt medium) implements PictureChange {
        public Blackout {
            if (boxes.isEmpty()) {
                throw new BadInputException(
                        "a blackout of nothing", "contrast.branches, picture.blackout", "give at least one box");
            }
            boxes = List.copyOf(boxes);
            Objects.requireNonNull(medium);
        }

        @Override
        public boolean resizes() {
            return false;
        }

        @Override
        public boolean isSeededByRequest() {
            return false;
        }

        @Override
        public String words() {
            return new Transformation.Blackout(boxes).words();
        }

        @Override
        public String label() {
            return "blackout";
        }

        /**
         * The one list of boxes that hold the same pixels: bands of rows, and in each of them what is black, left to
         * right; a band differs from the one above it.
         */
        List<Box> region() {
            final List<Integer> rows = boxes.stream()
                    .flatMap(box -> Stream.of(box.top(), box.bottom()))
                    .distinct()
                    .sorted()
                    .toList();
            final List<Box> region = new ArrayList<>();
            List<Box> above = List.of();
            for (int i = 0; i + 1 < rows.size(); i++) {
                final List<Box> band = band(rows.get(i), rows.get(i + 1));
                if (!above.isEmpty() && above.getFirst().bottom() == rows.get(i) && sameColumns(above, band)) {
                    final int top = above.getFirst().top();
                    final int bottom = rows.get(i + 1);
                    region.subList(region.size() - above.size(), region.size()).clear();
                    above = band.stream().map(box -> new Box(box.left(), top, box.right(), bottom)).toList();
                } else {
                    above = band;
                }
                region.addAll(above);
            }
            return region;
        }

        private List<Box> band(final int top, final int bottom) {
            final List<Box> band = new ArrayList<>();
            boxes.stream()
                    .filter(box -> box.top() <= top && bottom <= box.bottom())
                    .sorted((one, other) -> Integer.compare(one.left(), other.left()))
                    .forEach(box -> {
                        if (!band.isEmpty() && box.left() <= band.getLast().right()) {
                            final Box last = band.removeLast();
                            band.add(new Box(last.left(), top, Math.max(last.right(), box.right()), bottom));
                        } else {
                            band.add(new Box(box.left(), top, box.right(), bottom));
                        }
                    });
            return band;
        }

        private static boolean sameColumns(final List<Box> one, final List<Box> other) {
            return columns(one).equals(columns(other));
        }

        private static List<Integer> columns(final List<Box> band) {
            return band.stream().flatMap(box -> Stream.of(box.left(), box.right())).toList();
        }

        @Override
        public Prompt apply(final Prompt prompt, final String where, final long requestSeed) {
            final List<Part> changed = new ArrayList<>();
            int number = 0;
            boolean found = false;
            for (final Part part : prompt.parts()) {
                final boolean meant = medium.isEmpty() || medium.getAsInt() == number;
                if (part instanceof Part.Picture picture && meant) {
                    changed.add(picture.showing(blackened(picture.image(), where)));
                    found = true;
                } else {
                    changed.add(part);
                }
                number += part.isMedium() ? 1 : 0;
            }
            if (!found) {
                throw new BadInputException(
                        "nothing to black out: medium " + medium.orElse(0) + " of the prompt is no picture",
                        where + ", picture.media",
                        "number pictures and sounds from 0, or leave media out");
            }
            return new Prompt(changed, prompt.answer());
        }

        private Image blackened(final Image image, final String where) {
            final Pixels pixels = image.pixels();
            for (final Box box : boxes) {
                if (box.right() > pixels.width() || box.bottom() > pixels.height()) {
                    throw new BadInputException(
                            "a box that reaches out of the picture",
                            where + ", box " + box + " of " + image.name(),
                            "keep within its " + pixels.width() + " x " + pixels.height() + " pixels");
                }
            }
            final Transformation black = new Transformation.Blackout(boxes);
            if (black.apply(pixels).equals(pixels)) {
                throw new BadInputException(
                        "nothing to contrast: the picture is black where it is to be blacked out",
                        where + ", " + image.name(),
                        "give boxes that hold something");
            }
            return image.transformed(pixels, black);
        }
    }
}
