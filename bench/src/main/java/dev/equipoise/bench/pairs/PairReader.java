package dev.equipoise.bench.pairs;

import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Audio;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.steering.vector.PromptPair;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;

/**
 * Reads pair files: UTF-8, one JSON object a line, blank lines ignored, unknown keys refused.
 *
 * <pre>{@code
 * {"image": "a.png", "prompt": "Which colour?", "positive": {"system": "Look."}, "negative": {"system": "Read."}}
 * }</pre>
 *
 * <p>{@code positive} and {@code negative} each take {@code system}, {@code context}, {@code image}, {@code audio},
 * {@code prompt} and {@code answer}; what stands beside them holds for both sides unless a side says otherwise. Every
 * side needs a {@code prompt} in the end. Media paths are relative to the file; the parts of a prompt are laid out in
 * the order in which the keys are named here. {@code answer} is how the model's turn begins, behind everything that the
 * chat template puts before it: a letter to choose, a caption.
 *
 * <p>It lives here and not beside {@link PromptPair} because nothing else in steering reads JSON: who builds pairs in
 * code should not get a parser with them.
 */
public final class PairReader {
    private static final String PROMPT = "prompt";

    private final Path file;
    private final List<PromptPair> pairs = new ArrayList<>();
    // Pairs of one file tend to share their media; read once, they are held once.
    private final Map<Path, Image> images = new HashMap<>();
    private final Map<Path, Audio> sounds = new HashMap<>();

    private PairReader(final Path file) {
        this.file = file;
    }

    /**
     * Reads every pair of a file, and the pictures and sounds that it names.
     *
     * @return at least one pair, in the order of the lines
     * @throws BadInputException if the file cannot be read or holds no pair; or naming line and key of what is wrong
     */
    public static List<PromptPair> read(final Path file) {
        final PairReader reader = new PairReader(file);
        JsonLines.read(file, reader::line);
        if (reader.pairs.isEmpty()) {
            throw new BadInputException("pair file holds no pair", file.toString(), "write one JSON object a line");
        }
        return List.copyOf(reader.pairs);
    }

    private void line(final Section shared, final String origin) {
        try {
            pairs.add(new PromptPair(side(shared, "positive"), side(shared, "negative")));
        } catch (final BadInputException e) {
            // Prompts do not know that they come from a file.
            throw e.where().startsWith(origin)
                    ? e : new BadInputException(e.what(), origin + ", " + e.where(), e.remedy(), e);
        }
        shared.end();
    }

    private Prompt side(final Section shared, final String name) {
        final Section side = shared.section(name).orElseThrow(() -> new BadInputException(
                name + " is missing", shared.where(name), "give each line a positive and a negative side"));
        final Prompt.Builder prompt = Prompt.builder();
        words(side, shared, "system").ifPresent(prompt::system);
        words(side, shared, "context").ifPresent(prompt::context);
        media(side, shared, "image", images, Image::read).ifPresent(prompt::image);
        media(side, shared, "audio", sounds, Audio::read).ifPresent(prompt::audio);
        prompt.text(words(side, shared, PROMPT).orElseThrow(() -> new BadInputException(
                PROMPT + " is missing", side.where(PROMPT), "write one here, or beside the two sides for both")));
        final Optional<String> answer = words(side, shared, "answer");
        side.end();
        return answer.map(prompt.build()::answered).orElseGet(prompt::build);
    }

    private static Optional<String> words(final Section side, final Section shared, final String key) {
        // Asked in any case, so that the shared key counts as known.
        final Optional<String> both = shared.text(key);
        return side.text(key).or(() -> both);
    }

    private <T> Optional<T> media(
            final Section side,
            final Section shared,
            final String key,
            final Map<Path, T> read,
            final Function<Path, T> reader) {
        final String where = (side.has(key) ? side : shared).where(key);
        return words(side, shared, key).map(name -> {
            try {
                return read.computeIfAbsent(file.toAbsolutePath().resolveSibling(name), reader);
            } catch (final InvalidPathException e) {
                throw new BadInputException("no path: " + name, where, "name a file beside the pair file", e);
            } catch (final BadInputException e) {
                throw new BadInputException(e.what() + " (" + e.where() + ")", where, e.remedy(), e);
            }
        });
    }
}
