package dev.equipoise.runtime.template;

import dev.equipoise.runtime.Modality;
import java.util.Objects;

/** One piece of a rendered prompt, tokenised on its own. */
public sealed interface Piece {
    /**
     * The template's text.
     *
     * @param text never empty; special tokens in it are meant as such
     */
    record Template(String text) implements Piece {
        public Template {
            Objects.requireNonNull(text);
        }
    }

    /**
     * The user's text.
     *
     * @param text never empty; must not be parsed for special tokens
     * @param modality what it is to the model
     */
    record User(String text, Modality modality) implements Piece {
        public User {
            Objects.requireNonNull(text);
            Objects.requireNonNull(modality);
        }
    }

    /**
     * The place of a picture or a sound. The marks that a model wants around it are libmtmd's, not the template's.
     *
     * @param modality {@link Modality#IMAGE} or {@link Modality#AUDIO}
     * @param index which of the prompt's media, as in {@link Content.Media}
     */
    record Media(Modality modality, int index) implements Piece {
        public Media {
            Objects.requireNonNull(modality);
        }
    }
}
