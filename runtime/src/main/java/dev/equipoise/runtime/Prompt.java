package dev.equipoise.runtime;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/**
 * What a model is asked: system words, a note, pictures, sounds and the question, in the order in which they are to be
 * laid out; or a conversation, in which {@link Part.Said} parts the user's turns. A value; the variations that contrast
 * branches need are made from it by {@link #without}, {@link #withSystem} and {@link #withPixelNoise}.
 *
 * @param parts the pieces, system first if there is one
 * @param answer how the answer begins, behind all that the chat template puts before it; empty: it is yet to begin
 */
public record Prompt(List<Part> parts, String answer) {
    public Prompt {
        parts = List.copyOf(parts);
        Objects.requireNonNull(answer);
    }

    /** A prompt whose answer is yet to begin. */
    public Prompt(final List<Part> parts) {
        this(parts, "");
    }

    /** This prompt with the answer begun. */
    public Prompt answered(final String beginning) {
        return new Prompt(parts, beginning);
    }

    /** A builder that lays parts out as the command line does: system, context, media in call order, text. */
    public static Builder builder() {
        return new Builder();
    }

    /** The modalities that have at least one part. */
    public Set<Modality> modalities() {
        final Set<Modality> present = EnumSet.noneOf(Modality.class);
        parts.forEach(part -> present.add(part.modality()));
        return present;
    }

    /** The conversation that goes on with what the model answered to this prompt, and what the user says next. */
    public Prompt then(final String said, final String asked) {
        final List<Part> turns = new ArrayList<>(parts);
        turns.add(new Part.Said(said));
        turns.add(new Part.Words(Modality.TEXT, asked));
        return new Prompt(turns);
    }

    /** How many of the parts, the first, are of turns before the last one of the user's. */
    public int earlier() {
        int earlier = parts.size();
        while (earlier > 0 && !(parts.get(earlier - 1) instanceof Part.Said)) {
            earlier--;
        }
        return earlier;
    }

    /** This prompt as it would be had the parts of {@code modality} never been given. */
    public Prompt without(final Modality modality) {
        return new Prompt(
                parts.stream().filter(part -> part.modality() != modality).toList(), answer);
    }

    /** This prompt with {@code text} as its only system part. */
    public Prompt withSystem(final String text) {
        final List<Part> changed = new ArrayList<>();
        changed.add(new Part.Words(Modality.SYSTEM, text));
        changed.addAll(without(Modality.SYSTEM).parts());
        return new Prompt(changed, answer);
    }

    /**
     * This prompt with every picture diffused. Picture number k gets the seed {@code noise.seed() + k}, so that equal
     * pictures do not share their noise.
     */
    public Prompt withPixelNoise(final PixelNoise noise) {
        final List<Part> changed = new ArrayList<>();
        long seed = noise.seed();
        for (final Part part : parts) {
            if (part instanceof Part.Picture picture) {
                changed.add(new Part.Picture(
                        picture.image(),
                        Optional.of(new PixelNoise(noise.step(), seed++)),
                        picture.compression(),
                        picture.steering()));
            } else {
                changed.add(part);
            }
        }
        return new Prompt(changed, answer);
    }

    /** This prompt with every picture compressed, in place of any compression that it had; keeping all is none. */
    public Prompt withCompression(final Compression compression) {
        final Optional<Compression> effective = Optional.of(compression).filter(it -> it.keep() < 1);
        return new Prompt(parts.stream()
                .map(part -> part instanceof Part.Picture picture
                        ? new Part.Picture(picture.image(), picture.noise(), effective, picture.steering())
                        : part)
                .toList(), answer);
    }

    /** This prompt with every picture's encoding turned, in place of what it was turned by; an amount of 0 is none. */
    public Prompt withPictureSteering(final PictureSteering steering) {
        final Optional<PictureSteering> effective = Optional.of(steering).filter(it -> it.amount() != 0);
        return new Prompt(parts.stream()
                .map(part -> part instanceof Part.Picture picture
                        ? new Part.Picture(picture.image(), picture.noise(), picture.compression(), effective)
                        : part)
                .toList(), answer);
    }

    /** Collects parts; not thread-safe. */
    public static final class Builder {
        private final List<Part> system = new ArrayList<>();
        private final List<Part> context = new ArrayList<>();
        private final List<Part> media = new ArrayList<>();
        private final List<Part> text = new ArrayList<>();

        private Builder() {}

        /** Adds system words. */
        public Builder system(final String words) {
            system.add(new Part.Words(Modality.SYSTEM, words));
            return this;
        }

        /** Adds a note, handed over as evidence. */
        public Builder context(final String words) {
            context.add(new Part.Words(Modality.CONTEXT, words));
            return this;
        }

        /** Adds a picture. */
        public Builder image(final Image image) {
            media.add(new Part.Picture(image, Optional.empty()));
            return this;
        }

        /** Adds a sound. */
        public Builder audio(final Audio audio) {
            media.add(new Part.Sound(audio));
            return this;
        }

        /** Adds the user's words, which come last. */
        public Builder text(final String words) {
            text.add(new Part.Words(Modality.TEXT, words));
            return this;
        }

        /** The prompt. */
        public Prompt build() {
            final List<Part> parts = new ArrayList<>(system);
            parts.addAll(context);
            parts.addAll(media);
            parts.addAll(text);
            return new Prompt(parts);
        }
    }
}
