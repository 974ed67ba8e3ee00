package dev.equipoise.runtime.template;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.template.jinja.Jinja;
import dev.equipoise.runtime.template.jinja.JinjaException;
import java.time.Clock;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;

/**
 * Lays a conversation out as a model was trained to read it.
 *
 * <p>A template sees unguessable marks instead of the user's content; the rendered text is cut at the marks. A template
 * may take contents as one text or as a list of {@code {type, text}} parts, whichever it passes on whole. One that has
 * no system role gets the system words at the start of the first user turn, an empty line after them. White space that
 * it trims off its contents is trimmed off the user's words. Media are handed to it as text, since libmtmd writes the
 * marks round a picture itself.
 *
 * <p>Immutable and safe for use from several threads.
 */
public final class ChatTemplate {
    private final Optional<Jinja> template;
    private final String bos;
    private final String eos;
    private final Clock clock;

    private ChatTemplate(final Optional<Jinja> template, final String bos, final String eos, final Clock clock) {
        this.template = template;
        this.bos = Objects.requireNonNull(bos);
        this.eos = Objects.requireNonNull(eos);
        this.clock = clock;
    }

    /**
     * A model's template.
     *
     * @param jinjaSource as the model file has it
     * @param bos text of the token that begins a sequence, empty if there is none; the template may write it
     * @param eos text of the token that ends one, empty if there is none
     * @throws BadInputException naming the line that cannot be read
     */
    public static ChatTemplate of(final String jinjaSource, final String bos, final String eos) {
        return of(jinjaSource, bos, eos, Clock.systemDefaultZone());
    }

    static ChatTemplate of(final String jinjaSource, final String bos, final String eos, final Clock clock) {
        try {
            return new ChatTemplate(Optional.of(Jinja.parse(jinjaSource)), bos, eos, clock);
        } catch (final JinjaException e) {
            throw refused(e);
        }
    }

    /** No template: the contents of the turns follow one another. */
    public static ChatTemplate none() {
        return new ChatTemplate(Optional.empty(), "", "", Clock.systemDefaultZone());
    }

    /**
     * The conversation as pieces, ending where the assistant is to speak.
     *
     * @throws BadInputException when the template fails, or leaves out, repeats or reorders a content
     */
    public List<Piece> render(final List<Turn> turns) {
        final List<Message> messages =
                turns.stream().map(turn -> Message.of(turn.role(), turn.contents())).toList();
        if (template.isEmpty()) {
            return Marks.unmarked(messages);
        }
        final List<List<Message>> layouts = new ArrayList<>(List.of(messages));
        Message.folded(messages).ifPresent(layouts::add);
        JinjaException first = null;
        for (final List<Message> layout : layouts) {
            for (final boolean asList : new boolean[] {false, true}) {
                try {
                    return render(layout, asList);
                } catch (final JinjaException e) {
                    first = first == null ? e : first;
                }
            }
        }
        throw refused(first);
    }

    private List<Piece> render(final List<Message> messages, final boolean asList) {
        final Marks marks = new Marks();
        final List<Object> marked = new ArrayList<>();
        for (final Message message : messages) {
            final Map<String, Object> entry = new LinkedHashMap<>();
            entry.put("role", message.role());
            entry.put("content", asList ? marks.list(message) : marks.text(message.segments()));
            marked.add(entry);
        }
        final Map<String, Object> variables = new LinkedHashMap<>();
        variables.put("messages", marked);
        variables.put("bos_token", bos);
        variables.put("eos_token", eos);
        variables.put("add_generation_prompt", true);
        return marks.cut(template.orElseThrow().render(variables, clock));
    }

    private static BadInputException refused(final JinjaException e) {
        return new BadInputException(
                "the model's chat template refuses: " + e.getMessage(),
                e.line() > 0 ? "chat template, line " + e.line() : "chat template",
                "ask in a form that the template takes, or use a model file with a sound template",
                e);
    }
}
