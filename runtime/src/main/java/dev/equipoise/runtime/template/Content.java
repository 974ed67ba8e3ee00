package dev.equipoise.runtime.template;

import dev.equipoise.runtime.Modality;
import java.util.Objects;

/** One part of a turn. */
public sealed interface Content {
    /** What the part is to the model. */
    Modality modality();

    /**
     * Words.
     *
     * @param modality {@link Modality#SYSTEM}, {@link Modality#TEXT} or {@link Modality#CONTEXT}
     * @param text what was written, as it is
     */
    record Words(Modality modality, String text) implements Content {
        public Words {
            Objects.requireNonNull(text);
            if (modality == Modality.IMAGE || modality == Modality.AUDIO) {
                throw new IllegalArgumentException("words cannot be " + modality);
            }
        }
    }

    /**
     * The place of a picture or a sound.
     *
     * @param modality {@link Modality#IMAGE} or {@link Modality#AUDIO}
     * @param index which of the prompt's media, pictures and sounds counted together from 0
     */
    record Media(Modality modality, int index) implements Content {
        public Media {
            if (modality != Modality.IMAGE && modality != Modality.AUDIO) {
                throw new IllegalArgumentException("media cannot be " + modality);
            }
        }
    }
}
