package dev.equipoise.runtime.template.jinja;

import java.util.ArrayList;
import java.util.List;

/** Python's string operations. Indices count UTF-16 units, which differ from Python's only outside the basic plane. */
final class Strings {
    private Strings() {}

    static boolean isSpace(final char c) {
        return Character.isWhitespace(c) || Character.isSpaceChar(c) || c == '\u0085';
    }

    /** Without {@code characters} (null: white space) at the chosen ends. */
    static String strip(final String text, final String characters, final boolean left, final boolean right) {
        int from = 0;
        int to = text.length();
        while (left && from < to && strippable(text.charAt(from), characters)) {
            from++;
        }
        while (right && to > from && strippable(text.charAt(to - 1), characters)) {
            to--;
        }
        return text.substring(from, to);
    }

    private static boolean strippable(final char c, final String characters) {
        return characters == null ? isSpace(c) : characters.indexOf(c) >= 0;
    }

    /** Cut at {@code separator} (null: runs of white space), at most {@code limit} times (negative: always). */
    static List<Object> split(final String text, final String separator, final long limit) {
        final List<Object> parts = new ArrayList<>();
        if (separator == null) {
            int from = run(text, 0, true);
            while (from < text.length()) {
                final int end = parts.size() == limit ? text.length() : run(text, from, false);
                parts.add(text.substring(from, end));
                from = run(text, end, true);
            }
            return parts;
        }
        requireSeparator(separator);
        int from = 0;
        for (int at = text.indexOf(separator); at >= 0 && parts.size() != limit; at = text.indexOf(separator, from)) {
            parts.add(text.substring(from, at));
            from = at + separator.length();
        }
        parts.add(text.substring(from));
        return parts;
    }

    /** Where the run of white space (or of anything else) that starts at {@code from} ends. */
    private static int run(final String text, final int from, final boolean space) {
        int end = from;
        while (end < text.length() && isSpace(text.charAt(end)) == space) {
            end++;
        }
        return end;
    }

    /** Cut at {@code separator} from the right, at most {@code limit} times (negative: always). */
    static List<Object> splitRight(final String text, final String separator, final long limit) {
        requireSeparator(separator);
        final List<Object> parts = new ArrayList<>();
        int to = text.length();
        while (parts.size() != limit && to >= separator.length()) {
            final int at = text.lastIndexOf(separator, to - separator.length());
            if (at < 0) {
                break;
            }
            parts.addFirst(text.substring(at + separator.length(), to));
            to = at;
        }
        parts.addFirst(text.substring(0, to));
        return parts;
    }

    private static void requireSeparator(final String separator) {
        if (separator.isEmpty()) {
            throw new Fault("empty separator");
        }
    }

    /** The text with the first {@code limit} (negative: all) occurrences of {@code from} replaced. */
    static String replace(
            final String text, final String from, final String to, final long limit, final Budget budget) {
        // The result is paid for before it is built: replacing in a long text by a long text multiplies their lengths.
        budget.charge(text.length());
        final StringBuilder result = new StringBuilder();
        int rest = 0;
        long count = 0;
        while (count != limit) {
            final int at = from.isEmpty() ? rest + (count == 0 ? 0 : 1) : text.indexOf(from, rest);
            if (at < 0 || at > text.length()) {
                break;
            }
            budget.charge(to.length() + 1L);
            result.append(text, rest, at).append(to);
            rest = at + from.length();
            count++;
        }
        return result.append(text.substring(rest)).toString();
    }

    static String capitalize(final String text) {
        return text.isEmpty()
                ? text
                : text.substring(0, 1).toUpperCase(java.util.Locale.ROOT)
                        + text.substring(1).toLowerCase(java.util.Locale.ROOT);
    }

    static String title(final String text) {
        final StringBuilder result = new StringBuilder(text.length());
        boolean inWord = false;
        for (int i = 0; i < text.length(); i++) {
            final char c = text.charAt(i);
            result.append(inWord ? Character.toLowerCase(c) : Character.toTitleCase(c));
            inWord = Character.isLetter(c);
        }
        return result.toString();
    }

    static long count(final String text, final String part) {
        requireSeparator(part);
        long count = 0;
        for (int at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length())) {
            count++;
        }
        return count;
    }

    static String repeat(final String text, final long times, final Budget budget) {
        final long count = Math.max(0, Math.min(times, Budget.LIMIT));
        budget.charge(text.length() * count);
        return text.repeat((int) count);
    }
}
