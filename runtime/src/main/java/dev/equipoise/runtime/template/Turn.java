package dev.equipoise.runtime.template;

import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Part;
import dev.equipoise.runtime.Prompt;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/**
 * One turn of a conversation.
 *
 * @param role {@code system}, {@code user} or {@code assistant}
 * @param contents its parts in order; nothing is put between them
 */
public record Turn(String role, List<Content> contents) {
    public Turn {
        Objects.requireNonNull(role);
        contents = List.copyOf(contents);
    }

    /** A prompt as a conversation: its system parts as the system turn, the rest as one user turn. */
    public static List<Turn> conversation(final Prompt prompt) {
        final List<Content> system = new ArrayList<>();
        final List<Content> user = new ArrayList<>();
        int media = 0;
        for (final Part part : prompt.parts()) {
            final Content content = part instanceof Part.Words words
                    ? new Content.Words(words.modality(), words.text())
                    : new Content.Media(part.modality(), media++);
            (content.modality() == Modality.SYSTEM ? system : user).add(content);
        }
        return system.isEmpty()
                ? List.of(new Turn("user", user))
                : List.of(new Turn("system", system), new Turn("user", user));
    }
}
