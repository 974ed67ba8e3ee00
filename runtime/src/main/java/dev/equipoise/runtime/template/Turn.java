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

    /**
     * A prompt as a conversation: its system parts as the system turn, the rest as one user turn, or as several with
     * what the model said between them.
     */
    public static List<Turn> conversation(final Prompt prompt) {
        final List<Turn> turns = new ArrayList<>();
        final List<Content> system = new ArrayList<>();
        List<Content> user = new ArrayList<>();
        int media = 0;
        for (final Part part : prompt.parts()) {
            switch (part) {
                case Part.Said said -> {
                    turns.add(new Turn("user", user));
                    turns.add(new Turn("assistant", List.of(new Content.Words(Modality.TEXT, said.text()))));
                    user = new ArrayList<>();
                }
                case Part.Words words -> (words.modality() == Modality.SYSTEM ? system : user)
                        .add(new Content.Words(words.modality(), words.text()));
                default -> user.add(new Content.Media(part.modality(), media++));
            }
        }
        turns.add(new Turn("user", user));
        if (!system.isEmpty()) {
            turns.addFirst(new Turn("system", system));
        }
        return List.copyOf(turns);
    }
}
