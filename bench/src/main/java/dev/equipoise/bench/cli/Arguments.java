package dev.equipoise.bench.cli;

import dev.equipoise.kernels.error.BadInputException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The arguments as they were typed. The JVM decodes them by the locale: in the C locale, or one that is not installed,
 * every byte beyond ASCII is lost, and in a UTF-8 locale a broken sequence is replaced in silence. Where the system
 * shows the bytes, they are read as strict UTF-8 instead.
 */
final class Arguments {
    private static final Path RAW = Path.of("/proc/self/cmdline");

    // What the JVM puts in the place of bytes that it cannot decode.
    private static final char LOST = '\uFFFD';

    private Arguments() {}

    /**
     * The arguments of this process.
     *
     * @param decoded what {@code main} was given
     * @throws BadInputException if one is not valid UTF-8
     */
    static String[] ofProcess(final String[] decoded) {
        // Nothing was lost where nothing was replaced.
        if (ascii(decoded)) {
            return decoded;
        }
        final byte[] raw;
        try {
            raw = Files.readAllBytes(RAW);
        } catch (final IOException ignored) {
            // Not Linux: whether the mark of a failed decoding was typed cannot be seen.
            return requireWhole(decoded);
        }
        return restore(decoded, raw);
    }

    /** Refuses arguments of which something may have been lost. */
    static String[] requireWhole(final String[] decoded) {
        for (int i = 0; i < decoded.length; i++) {
            if (decoded[i].indexOf(LOST) >= 0) {
                throw broken(i, decoded, null);
            }
        }
        return decoded;
    }

    /**
     * @param decoded what {@code main} was given
     * @param raw the command line of the process, each argument ended by a zero byte; main's come last
     */
    static String[] restore(final String[] decoded, final byte[] raw) {
        final List<ByteBuffer> words = words(raw);
        if (words.size() < decoded.length) {
            return decoded;
        }
        final List<ByteBuffer> tail = words.subList(words.size() - decoded.length, words.size());
        final String[] restored = new String[decoded.length];
        for (int i = 0; i < restored.length; i++) {
            if (!sameAscii(decoded[i], tail.get(i))) {
                // main was called by other code, with other arguments.
                return decoded;
            }
            restored[i] = strict(tail.get(i), i, restored);
        }
        return restored;
    }

    private static List<ByteBuffer> words(final byte[] raw) {
        final List<ByteBuffer> words = new ArrayList<>();
        int start = 0;
        for (int i = 0; i < raw.length; i++) {
            if (raw[i] == 0) {
                words.add(ByteBuffer.wrap(raw, start, i - start).slice());
                start = i + 1;
            }
        }
        return words;
    }

    private static String strict(final ByteBuffer word, final int index, final String[] before) {
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(word.duplicate()).toString();
        } catch (final CharacterCodingException e) {
            throw broken(index, before, e);
        }
    }

    private static BadInputException broken(final int index, final String[] before, final Exception cause) {
        final boolean value = index > 0 && before[index - 1].startsWith("--");
        return new BadInputException(
                "text that is not valid UTF-8",
                value ? "value of " + before[index - 1] : "argument " + (index + 1),
                "pass it as UTF-8",
                cause);
    }

    private static boolean sameAscii(final String decoded, final ByteBuffer word) {
        final StringBuilder seen = new StringBuilder();
        for (int i = 0; i < word.limit(); i++) {
            if (word.get(i) > 0) {
                seen.append((char) word.get(i));
            }
        }
        final StringBuilder given = new StringBuilder();
        decoded.chars().filter(c -> c < 0x80).forEach(c -> given.append((char) c));
        return seen.compareTo(given) == 0;
    }

    private static boolean ascii(final String[] words) {
        for (final String word : words) {
            if (word.chars().anyMatch(c -> c >= 0x80)) {
                return false;
            }
        }
        return true;
    }
}
