package dev.equipoise.runtime.template.jinja;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/** The methods of strings, dicts and lists that templates may call; none changes its object. */
final class Methods {
    private Methods() {}

    /** The method {@code name} bound to {@code object}, if there is one. */
    static Optional<Function> find(final Object object, final String name, final Budget budget) {
        final Method method = switch (object) {
            case String text -> ofString(text, name, budget);
            case Map<?, ?> map -> ofDict(map, name, budget);
            case List<?> list -> ofList(list, name, budget);
            case null, default -> null;
        };
        return Optional.ofNullable(method)
                .map(found -> (positional, named) -> found.call(new Arguments(positional, named)));
    }

    @FunctionalInterface
    private interface Method {
        Object call(Arguments arguments);
    }

    private static Method ofString(final String text, final String name, final Budget budget) {
        budget.charge(1);
        return switch (name) {
            case "strip" -> a -> Strings.strip(text, a.text(0, "chars"), true, true);
            case "lstrip" -> a -> Strings.strip(text, a.text(0, "chars"), true, false);
            case "rstrip" -> a -> Strings.strip(text, a.text(0, "chars"), false, true);
            case "upper" -> a -> charged(text, budget).toUpperCase(Locale.ROOT);
            case "lower" -> a -> charged(text, budget).toLowerCase(Locale.ROOT);
            case "title" -> a -> Strings.title(charged(text, budget));
            case "capitalize" -> a -> Strings.capitalize(charged(text, budget));
            case "startswith" -> a -> affix(a, text::startsWith);
            case "endswith" -> a -> affix(a, text::endsWith);
            case "removeprefix" -> a -> {
                final String prefix = Values.string(a.require(0, "prefix"));
                return text.startsWith(prefix) ? text.substring(prefix.length()) : text;
            };
            case "removesuffix" -> a -> {
                final String suffix = Values.string(a.require(0, "suffix"));
                return text.endsWith(suffix) ? text.substring(0, text.length() - suffix.length()) : text;
            };
            case "split" -> a -> Strings.split(charged(text, budget), a.text(0, "sep"), a.whole(1, "maxsplit", -1));
            case "rsplit" -> a -> Strings.splitRight(
                    charged(text, budget), Values.string(a.require(0, "sep")), a.whole(1, "maxsplit", -1));
            case "splitlines" -> a -> new ArrayList<Object>(charged(text, budget).lines().toList());
            case "replace" -> a -> Strings.replace(
                    text, Values.string(a.require(0, "old")), Values.string(a.require(1, "new")),
                    a.whole(2, "count", -1), budget);
            case "find" -> a -> (long) text.indexOf(Values.string(a.require(0, "sub")));
            case "rfind" -> a -> (long) text.lastIndexOf(Values.string(a.require(0, "sub")));
            case "count" -> a -> Strings.count(charged(text, budget), Values.string(a.require(0, "sub")));
            case "join" -> a -> Filters.join(Values.items(a.require(0, "items"), budget), text, budget);
            case "format" -> a -> format(text, a, budget);
            case "isdigit" -> a -> !text.isEmpty() && text.chars().allMatch(Character::isDigit);
            case "isalpha" -> a -> !text.isEmpty() && text.chars().allMatch(Character::isLetter);
            case "isalnum" -> a -> !text.isEmpty() && text.chars().allMatch(Character::isLetterOrDigit);
            case "isspace" -> a -> !text.isEmpty() && text.chars().allMatch(c -> Strings.isSpace((char) c));
            case "isupper" -> a -> !text.toUpperCase(Locale.ROOT).equals(text.toLowerCase(Locale.ROOT))
                    && text.equals(text.toUpperCase(Locale.ROOT));
            case "islower" -> a -> !text.toUpperCase(Locale.ROOT).equals(text.toLowerCase(Locale.ROOT))
                    && text.equals(text.toLowerCase(Locale.ROOT));
            default -> null;
        };
    }

    private static String charged(final String text, final Budget budget) {
        budget.charge(text.length());
        return text;
    }

    /** Python's {@code str.format} with fields {@code {}}, {@code {0}} and {@code {name}}. */
    private static String format(final String text, final Arguments a, final Budget budget) {
        final StringBuilder out = new StringBuilder();
        int automatic = 0;
        for (int i = 0; i < text.length(); i++) {
            final char c = text.charAt(i);
            budget.charge(1);
            if ((c == '{' || c == '}') && i + 1 < text.length() && text.charAt(i + 1) == c) {
                out.append(c);
                i++;
            } else if (c == '{') {
                final int end = text.indexOf('}', i);
                if (end < 0) {
                    throw new Fault("format field without end");
                }
                final String field = text.substring(i + 1, end);
                final boolean placed = field.chars().allMatch(Character::isDigit) && field.length() < 4;
                final int place = !placed ? Integer.MAX_VALUE
                        : field.isEmpty() ? automatic++ : Integer.parseInt(field);
                final String value = Values.text(a.require(place, field), budget);
                budget.charge(value.length());
                out.append(value);
                i = end;
            } else {
                out.append(c);
            }
        }
        return out.toString();
    }

    private static Object affix(final Arguments arguments, final java.util.function.Predicate<String> test) {
        return arguments.require(0, "affix") instanceof List<?> several
                ? several.stream().anyMatch(one -> test.test(Values.string(one)))
                : test.test(Values.string(arguments.require(0, "affix")));
    }

    private static Method ofDict(final Map<?, ?> map, final String name, final Budget budget) {
        budget.charge(1);
        return switch (name) {
            case "get" -> a -> Values.contains(map, a.require(0, "key"), budget)
                    ? map.get(a.require(0, "key")) : a.get(1, "default", null);
            case "items" -> a -> pairs(map, budget);
            case "keys" -> a -> Values.items(map, budget);
            case "values" -> a -> {
                budget.charge(map.size());
                return new ArrayList<Object>(map.values());
            };
            default -> null;
        };
    }

    static List<Object> pairs(final Map<?, ?> map, final Budget budget) {
        budget.charge(3L * map.size());
        final List<Object> pairs = new ArrayList<>();
        map.forEach((key, value) -> {
            final List<Object> pair = new ArrayList<>(2);
            pair.add(key);
            pair.add(value);
            pairs.add(pair);
        });
        return pairs;
    }

    private static Method ofList(final List<?> list, final String name, final Budget budget) {
        budget.charge(1);
        return switch (name) {
            case "index" -> a -> position(list, a.require(0, "value"), budget);
            case "count" -> a -> list.stream()
                    .filter(item -> Values.equal(item, a.require(0, "value"), budget))
                    .count();
            default -> null;
        };
    }

    private static Object position(final List<?> list, final Object wanted, final Budget budget) {
        for (int i = 0; i < list.size(); i++) {
            if (Values.equal(list.get(i), wanted, budget)) {
                return (long) i;
            }
        }
        throw new Fault("the list has no such entry");
    }
}
