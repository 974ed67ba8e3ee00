package dev.equipoise.runtime.template;

import dev.equipoise.runtime.template.jinja.JinjaException;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The marks that stand for the user's contents in one rendering, and the cut that puts the contents back. */
final class Marks {
    // A white space that templates do not write: gone from around a mark when the template trimmed its content.
    private static final char PROBE = '\u2003';
    private static final SecureRandom RANDOM = new SecureRandom();
    private static final int SECRET_LETTERS = 27;

    private final String secret;
    private final List<Content> contents = new ArrayList<>();
    // Whether mark i is the first or last of the text that was handed to the template.
    private final List<Boolean> opens = new ArrayList<>();
    private final List<Boolean> closes = new ArrayList<>();

    Marks() {
        // 27 letters of 26 hold 126 bits: no text that came in can hold a mark.
        final StringBuilder letters = new StringBuilder();
        RANDOM.ints(SECRET_LETTERS, 'a', 'z' + 1).forEach(letters::appendCodePoint);
        secret = letters.toString();
    }

    private String mark(final int index) {
        return secret + index + "z";
    }

    /** One text for a run of contents. */
    String text(final List<Message.Segment> segments) {
        if (segments.isEmpty()) {
            return "";
        }
        final StringBuilder text = new StringBuilder().append(PROBE);
        for (int i = 0; i < segments.size(); i++) {
            text.append(mark(contents.size())).append(segments.get(i).after());
            contents.add(segments.get(i).content());
            opens.add(i == 0);
            closes.add(i == segments.size() - 1);
        }
        return text.append(PROBE).toString();
    }

    /** A list of text parts, one for each content. */
    List<Object> list(final Message message) {
        final List<Object> parts = new ArrayList<>();
        for (final Message.Segment segment : message.segments()) {
            final Map<String, Object> part = new LinkedHashMap<>();
            part.put("type", "text");
            part.put("text", text(List.of(segment)));
            parts.add(part);
        }
        return parts;
    }

    /** The rendered text as pieces. */
    List<Piece> cut(final String rendered) {
        final List<String> between = between(rendered);
        final String[] words = new String[contents.size()];
        for (int i = 0; i < words.length; i++) {
            words[i] = contents.get(i) instanceof Content.Words text ? text.text() : null;
        }
        for (int i = 0; i < words.length; i++) {
            if (opens.get(i)) {
                final String before = between.get(i);
                if (before.endsWith(String.valueOf(PROBE))) {
                    between.set(i, before.substring(0, before.length() - 1));
                } else {
                    strip(words, i, 1);
                }
            }
            if (closes.get(i)) {
                final String after = between.get(i + 1);
                if (after.startsWith(String.valueOf(PROBE))) {
                    between.set(i + 1, after.substring(1));
                } else {
                    strip(words, i, -1);
                }
            }
        }
        final List<Piece> pieces = new ArrayList<>();
        for (int i = 0; i <= words.length; i++) {
            final String text = between.get(i);
            if (text.indexOf(PROBE) >= 0) {
                throw new JinjaException("it takes a content apart", 0);
            }
            if (!text.isEmpty()) {
                pieces.add(new Piece.Template(text));
            }
            if (i < words.length) {
                add(pieces, contents.get(i), words[i]);
            }
        }
        return List.copyOf(pieces);
    }

    private static void add(final List<Piece> pieces, final Content content, final String words) {
        if (content instanceof Content.Media media) {
            pieces.add(new Piece.Media(media.modality(), media.index()));
        } else if (!words.isEmpty()) {
            pieces.add(new Piece.User(words, content.modality()));
        }
    }

    /** The text before, between and after the marks: one more than there are contents. */
    private List<String> between(final String rendered) {
        final List<String> between = new ArrayList<>();
        int from = 0;
        for (int i = 0; i < contents.size(); i++) {
            final String mark = mark(i);
            final int at = rendered.indexOf(mark);
            final String what = contents.get(i).modality().label() + " content";
            if (at < 0) {
                throw new JinjaException("it leaves out the " + what, 0);
            }
            if (at < from) {
                throw new JinjaException("it moves the " + what + " before what precedes it", 0);
            }
            if (rendered.indexOf(mark, at + mark.length()) >= 0) {
                throw new JinjaException("it repeats the " + what, 0);
            }
            between.add(rendered.substring(from, at));
            from = at + mark.length();
        }
        between.add(rendered.substring(from));
        if (between.stream().anyMatch(text -> text.contains(secret))) {
            throw new JinjaException("it takes a content apart", 0);
        }
        return between;
    }

    /** Strips the words of the text that starts (direction 1) or ends (-1) at mark {@code i}, as a trim would. */
    private void strip(final String[] words, final int i, final int direction) {
        final List<Boolean> end = direction > 0 ? closes : opens;
        for (int at = i; words[at] != null; at += direction) {
            words[at] = direction > 0 ? words[at].stripLeading() : words[at].stripTrailing();
            if (!words[at].isEmpty() || end.get(at)) {
                return;
            }
        }
    }

    /** The contents as they are, one after another. */
    static List<Piece> unmarked(final List<Message> messages) {
        final List<Piece> pieces = new ArrayList<>();
        for (final Message message : messages) {
            for (final Message.Segment segment : message.segments()) {
                add(pieces, segment.content(), segment.content() instanceof Content.Words words ? words.text() : null);
            }
        }
        return List.copyOf(pieces);
    }
}
