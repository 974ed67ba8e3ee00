package dev.equipoise.runtime.template;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A turn as it is handed to a template.
 *
 * @param segments its contents, each with the template text that follows it
 */
record Message(String role, List<Segment> segments) {
    /** One content and the text after it, which is not the user's. */
    record Segment(Content content, String after) {}

    static Message of(final String role, final List<Content> contents) {
        return new Message(
                role, contents.stream().map(content -> new Segment(content, "")).toList());
    }

    /** The conversation with its leading system turn moved into the first user turn, if it has both. */
    static Optional<List<Message>> folded(final List<Message> messages) {
        if (messages.size() < 2
                || !messages.get(0).role().equals("system")
                || !messages.get(1).role().equals("user")
                || messages.get(0).segments().isEmpty()) {
            return Optional.empty();
        }
        final List<Segment> segments = new ArrayList<>(messages.get(0).segments());
        segments.addLast(new Segment(segments.removeLast().content(), "\n\n"));
        segments.addAll(messages.get(1).segments());
        final List<Message> folded = new ArrayList<>(List.of(new Message("user", segments)));
        folded.addAll(messages.subList(2, messages.size()));
        return Optional.of(folded);
    }
}
