package dev.equipoise.decoding;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Texts with names in braces, such as {@code {question}}. Other braces are text. */
final class Template {
    /** The user's own words. */
    static final String QUESTION = "question";

    private static final Pattern NAME = Pattern.compile("\\{([A-Za-z_][A-Za-z0-9_]*)}");

    private Template() {}

    /** The names in a text. */
    static Set<String> names(final String text) {
        final Set<String> names = new TreeSet<>();
        final Matcher matcher = NAME.matcher(text);
        while (matcher.find()) {
            names.add(matcher.group(1));
        }
        return names;
    }

    /** The text with values in place of the names that {@code values} has. A value is not looked into again. */
    static String fill(final String text, final Map<String, String> values) {
        return NAME.matcher(text)
                .replaceAll(found -> Matcher.quoteReplacement(values.getOrDefault(found.group(1), found.group())));
    }

    /**
     * Refuses names that nothing gives a value.
     *
     * @param known what is given a value, beside the question
     */
    static void require(final String text, final Set<String> known, final String where) {
        for (final String name : names(text)) {
            if (!name.equals(QUESTION) && !known.contains(name)) {
                throw new BadInputException(
                        "unknown name {" + name + "}",
                        where,
                        "write {question}" + (known.isEmpty() ? "" : ", {" + String.join("}, {", known) + "}")
                                + ", or a pass of that name in \"prepare\"");
            }
        }
    }
}
