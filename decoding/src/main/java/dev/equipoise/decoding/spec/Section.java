package dev.equipoise.decoding.spec;

import dev.equipoise.kernels.error.BadInputException;
import java.math.BigInteger;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.ObjectNode;

/**
 * One object of a document, read key by key. Every key that is asked for counts as known; {@link #end} refuses the
 * rest.
 */
public final class Section {
    private final ObjectNode object;
    private final String path;
    private final String origin;
    private final Set<String> known = new TreeSet<>();

    Section(final ObjectNode object, final String path, final String origin) {
        this.object = object;
        this.path = path;
        this.origin = origin;
    }

    /** Where {@code key} stands: file and JSON path. */
    public String where(final String key) {
        return origin + " " + path + "." + key;
    }

    /** Whether {@code key} is given. */
    public boolean has(final String key) {
        known.add(key);
        return object.has(key);
    }

    /** Whether {@code key} is given; asking does not make it known. */
    public boolean mentions(final String key) {
        return object.has(key);
    }

    private Optional<JsonNode> node(final String key) {
        return has(key) ? Optional.of(object.get(key)) : Optional.empty();
    }

    /** The object at {@code key}, if given. */
    public Optional<Section> section(final String key) {
        return node(key).map(node -> {
            if (node instanceof ObjectNode inner) {
                return new Section(inner, path + "." + key, origin);
            }
            throw wrongType(key, node, "an object");
        });
    }

    /** The objects in the array at {@code key}; none if it is not given. */
    public List<Section> sections(final String key) {
        final List<Section> sections = new ArrayList<>();
        for (final JsonNode node : array(key)) {
            final String at = key + "[" + sections.size() + "]";
            if (!(node instanceof ObjectNode inner)) {
                throw wrongType(at, node, "an object");
            }
            sections.add(new Section(inner, path + "." + at, origin));
        }
        return sections;
    }

    /** The texts in the array at {@code key}, each one of {@code choices}; a text alone counts as an array of one. */
    public Optional<List<String>> choices(final String key, final List<String> choices) {
        final Optional<List<String>> found = someOf(key, choices);
        if (found.isPresent() && found.get().isEmpty()) {
            throw new BadInputException(key + " is empty", where(key), "name at least one, or leave the key out");
        }
        return found;
    }

    /** As {@link #choices}, but the array may be empty. */
    public Optional<List<String>> someOf(final String key, final List<String> choices) {
        if (node(key).map(JsonNode::isString).orElse(false)) {
            return choice(key, choices).map(List::of);
        }
        if (!has(key)) {
            return Optional.empty();
        }
        final List<String> found = new ArrayList<>();
        for (final JsonNode node : array(key)) {
            final String at = key + "[" + found.size() + "]";
            if (!node.isString()) {
                throw wrongType(at, node, "a text");
            }
            found.add(requireChoice(at, node.stringValue(), choices));
        }
        return Optional.of(found);
    }

    private Iterable<JsonNode> array(final String key) {
        return node(key).map(node -> {
            if (node instanceof ArrayNode array) {
                return (Iterable<JsonNode>) array;
            }
            throw wrongType(key, node, "an array");
        }).orElse(List.of());
    }

    /** The lists of whole numbers in the array at {@code key}; none if it is not given. */
    public List<List<Integer>> integerLists(final String key, final Range range) {
        final List<List<Integer>> lists = new ArrayList<>();
        for (final JsonNode node : array(key)) {
            final String at = key + "[" + lists.size() + "]";
            if (!(node instanceof ArrayNode inner)) {
                throw wrongType(at, node, "an array");
            }
            final List<Integer> list = new ArrayList<>();
            for (final JsonNode item : inner) {
                if (!item.isIntegralNumber()) {
                    throw wrongType(at, item, "a whole number");
                }
                list.add((int) inRange(at, item.doubleValue(), range));
            }
            lists.add(list);
        }
        return lists;
    }

    /** The keys that are given, all of which count as known. */
    public List<String> keys() {
        final List<String> keys = List.copyOf(object.propertyNames());
        known.addAll(keys);
        return keys;
    }

    /** Whether {@code key} is given as a text. */
    public boolean isText(final String key) {
        return node(key).map(JsonNode::isString).orElse(false);
    }

    /** Whether {@code key} is given and true. */
    public boolean flag(final String key) {
        return node(key).map(node -> {
            if (!node.isBoolean()) {
                throw wrongType(key, node, "true or false");
            }
            return node.booleanValue();
        }).orElse(false);
    }

    /** The text at {@code key}, if given; never empty. */
    public Optional<String> text(final String key) {
        return node(key).map(node -> {
            if (!node.isString()) {
                throw wrongType(key, node, "a text");
            }
            if (node.stringValue().isBlank()) {
                throw new BadInputException(key + " is empty", where(key), "write something, or leave the key out");
            }
            return node.stringValue();
        });
    }

    /**
     * The list at {@code key}, if given: a text with commas as it stands, or an array of texts and whole numbers, with
     * commas between them.
     */
    public Optional<String> list(final String key) {
        if (!(node(key).orElse(null) instanceof ArrayNode array)) {
            return node(key).filter(JsonNode::isIntegralNumber).map(JsonNode::asString).or(() -> text(key));
        }
        final List<String> items = new ArrayList<>();
        for (final JsonNode node : array) {
            if (!node.isString() && !node.isIntegralNumber()) {
                throw wrongType(key + "[" + items.size() + "]", node, "a whole number or a text");
            }
            items.add(node.asString());
        }
        if (items.isEmpty()) {
            throw new BadInputException(key + " is empty", where(key), "name at least one, or leave the key out");
        }
        return Optional.of(String.join(",", items));
    }

    /** The text at {@code key}, which must be one of {@code choices}, if given. */
    public Optional<String> choice(final String key, final List<String> choices) {
        return text(key).map(text -> requireChoice(key, text, choices));
    }

    private String requireChoice(final String key, final String text, final List<String> choices) {
        if (!choices.contains(text)) {
            throw new BadInputException(
                    "unknown " + key + " \"" + text + "\"", where(key), "choose " + String.join(", ", choices));
        }
        return text;
    }

    /** The number at {@code key}, or {@code otherwise}. */
    public double number(final String key, final Range range, final double otherwise) {
        return node(key).map(node -> {
            if (!node.isNumber()) {
                throw wrongType(key, node, "a number");
            }
            return inRange(key, node.doubleValue(), range);
        }).orElse(otherwise);
    }

    /** The whole number at {@code key}, or {@code otherwise}. */
    public int integer(final String key, final Range range, final int otherwise) {
        return whole(key)
                .map(value -> (int) inRange(key, value.doubleValue(), range))
                .orElse(otherwise);
    }

    /** The 64-bit number at {@code key}, if given. */
    public Optional<Long> seed(final String key) {
        return whole(key).map(value -> {
            if (value.bitLength() >= Long.SIZE) {
                throw new BadInputException(key + " out of range", where(key), "choose a 64-bit whole number");
            }
            return value.longValue();
        });
    }

    private Optional<BigInteger> whole(final String key) {
        return node(key).map(node -> {
            if (!node.isIntegralNumber()) {
                throw wrongType(key, node, "a whole number");
            }
            return node.bigIntegerValue();
        });
    }

    private double inRange(final String key, final double value, final Range range) {
        if (!range.holds(value)) {
            throw new BadInputException(key + " out of range", where(key), range.remedy());
        }
        return value;
    }

    private BadInputException wrongType(final String key, final JsonNode node, final String wanted) {
        final String found = node.getNodeType().toString().toLowerCase(java.util.Locale.ROOT);
        return new BadInputException(key + " is not " + wanted, where(key), "give " + wanted + " instead of " + found);
    }

    /** Refuses {@code key} if it is given: it is part of the format but not of this version. */
    public void notYet(final String key) {
        if (has(key)) {
            throw new BadInputException(
                    key + " is not supported in this version", where(key), "leave it out, or use a newer Equipoise");
        }
        known.remove(key);
    }

    /** Refuses what nobody asked for. */
    public void end() {
        for (final String key : object.propertyNames()) {
            if (!known.contains(key)) {
                throw new BadInputException(
                        "unknown key \"" + key + "\"", where(key), "remove it, or use one of: "
                                + String.join(", ", known));
            }
        }
    }
}
