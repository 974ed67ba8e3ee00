package dev.equipoise.bench.testbed;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * One line of a data file: what a model is asked, and what each source would answer.
 *
 * @param id unique in its file
 * @param system system words
 * @param question the user's words
 * @param options the possible answers; empty when open
 * @param answer the right answer under the item's instruction; without one, what picture or sound show
 * @param image the picture file
 * @param audio the sound file
 * @param context the note
 * @param answerImage what the picture says
 * @param answerAudio what the sound says
 * @param answerContext what the note says
 * @param condition how the sources relate
 * @param group a finer division of the condition, such as the instruction given
 */
public record Item(
        String id,
        Optional<String> system,
        String question,
        List<String> options,
        String answer,
        Optional<Path> image,
        Optional<Path> audio,
        Optional<String> context,
        Optional<String> answerImage,
        Optional<String> answerAudio,
        Optional<String> answerContext,
        Condition condition,
        Optional<String> group) {
    public Item {
        options = List.copyOf(options);
    }

    /** Whether the question is to be answered with yes or no. */
    public boolean yesNo() {
        return answer.equals(Phrasebook.YES) || answer.equals(Phrasebook.NO);
    }
}
