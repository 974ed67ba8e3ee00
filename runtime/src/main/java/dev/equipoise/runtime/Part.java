package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Objects;
import java.util.Optional;

/** One piece of a prompt: words of some modality, a picture or a sound; or what the model said between two of them. */
public sealed interface Part {
    /** The modality that the piece's tokens will carry. */
    Modality modality();

    /** Whether it is a picture or a sound, which an encoder reads. */
    default boolean isMedium() {
        return modality() == Modality.IMAGE || modality() == Modality.AUDIO;
    }

    /**
     * Words.
     *
     * @param modality {@link Modality#SYSTEM}, {@link Modality#TEXT} or {@link Modality#CONTEXT}
     * @param text well-formed Unicode; tokenised on its own, never parsed for special tokens
     */
    record Words(Modality modality, String text) implements Part {
        public Words {
            if (modality == Modality.IMAGE || modality == Modality.AUDIO) {
                throw new IllegalArgumentException("words cannot be " + modality);
            }
            requireWellFormed(modality, text);
        }

        static void requireWellFormed(final Modality modality, final String text) {
            for (int i = 0; i < text.length(); i++) {
                final char c = text.charAt(i);
                final boolean pair = Character.isHighSurrogate(c)
                        && i + 1 < text.length()
                        && Character.isLowSurrogate(text.charAt(i + 1));
                if (pair) {
                    i++;
                } else if (Character.isSurrogate(c) || c == '\0') {
                    throw new BadInputException(
                            "text that is not valid UTF-8",
                            modality.label() + ", character " + i,
                            "pass well-formed Unicode without NUL");
                }
            }
        }
    }

    /**
     * What the model said: its turn of the conversation. The parts before it are the user's turn that it answers, those
     * behind it the user's next one.
     *
     * @param text well-formed Unicode; tokenised on its own, never parsed for special tokens
     */
    record Said(String text) implements Part {
        public Said {
            Words.requireWellFormed(Modality.TEXT, text);
        }

        /** That of all generated tokens. */
        @Override
        public Modality modality() {
            return Modality.TEXT;
        }
    }

    /**
     * A picture.
     *
     * @param image the pixels
     * @param noise diffusion to apply after preprocessing, for contrast branches
     * @param compression what is left out of what the encoder gives
     * @param steering what is turned inside the encoder
     */
    record Picture(
            Image image,
            Optional<PixelNoise> noise,
            Optional<Compression> compression,
            Optional<PictureSteering> steering)
            implements Part {
        public Picture {
            Objects.requireNonNull(image);
            Objects.requireNonNull(noise);
            Objects.requireNonNull(compression);
            Objects.requireNonNull(steering);
        }

        /** A picture whose encoding nothing is turned in. */
        public Picture(
                final Image image, final Optional<PixelNoise> noise, final Optional<Compression> compression) {
            this(image, noise, compression, Optional.empty());
        }

        /** Another image, treated as this one. */
        public Picture showing(final Image other) {
            return new Picture(other, noise, compression, steering);
        }

        /** This picture with all of its rows. */
        Picture whole() {
            return new Picture(image, noise, Optional.empty(), steering);
        }

        /** A picture of which nothing is left out. */
        public Picture(final Image image, final Optional<PixelNoise> noise) {
            this(image, noise, Optional.empty());
        }

        @Override
        public Modality modality() {
            return Modality.IMAGE;
        }
    }

    /**
     * A sound.
     *
     * @param audio the samples
     */
    record Sound(Audio audio) implements Part {
        public Sound {
            Objects.requireNonNull(audio);
        }

        @Override
        public Modality modality() {
            return Modality.AUDIO;
        }
    }
}
