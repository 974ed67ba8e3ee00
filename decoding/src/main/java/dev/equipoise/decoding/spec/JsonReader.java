package dev.equipoise.decoding.spec;

import dev.equipoise.kernels.error.BadInputException;
import java.math.BigInteger;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.exc.StreamConstraintsException;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.node.ArrayNode;
import tools.jackson.databind.node.JsonNodeFactory;
import tools.jackson.databind.node.ObjectNode;

/** Reads one JSON object within limits; a key given twice is an error, as is anything after the object. */
public final class JsonReader {
    /** Largest document, in UTF-16 units. */
    public static final int MAX_LENGTH = 1 << 20;

    // What some editors put before UTF-8; the standard lets readers overlook it.
    private static final String MARK = "\uFEFF";
    private static final int MAX_DEPTH = 16;
    private static final int MAX_NUMBER_LENGTH = 64;
    private static final int MAX_NAME_LENGTH = 256;
    private static final JsonFactory FACTORY = JsonFactory.builder()
            .streamReadConstraints(StreamReadConstraints.builder()
                    .maxNestingDepth(MAX_DEPTH)
                    .maxDocumentLength(MAX_LENGTH)
                    .maxStringLength(MAX_LENGTH)
                    .maxNumberLength(MAX_NUMBER_LENGTH)
                    .maxNameLength(MAX_NAME_LENGTH)
                    .build())
            .build();

    private final String origin;
    private final JsonParser parser;

    private JsonReader(final String origin, final JsonParser parser) {
        this.origin = origin;
        this.parser = parser;
    }

    /**
     * The document's object.
     *
     * @param json the text
     * @param origin the file or argument it came from, for messages
     * @throws BadInputException naming line and column of a syntax error, or the path of a doubled key
     */
    public static Section read(final String json, final String origin) {
        if (json.length() > MAX_LENGTH) {
            throw new BadInputException(
                    "JSON document too long", origin, "keep it below " + MAX_LENGTH + " characters");
        }
        try (JsonParser parser = FACTORY.createParser(ObjectReadContext.empty(), unmarked(json))) {
            return new JsonReader(origin, parser).document();
        } catch (final StreamConstraintsException e) {
            throw fault("JSON beyond the limits (" + words(e) + ")", origin, e);
        } catch (final JacksonException e) {
            throw fault("not JSON (" + words(e) + ")", origin, e);
        }
    }

    /** The text without a byte order mark before it. */
    public static String unmarked(final String text) {
        return text.startsWith(MARK) ? text.substring(MARK.length()) : text;
    }

    /** What is wrong, without the name that Jackson would give the text that it reads. */
    public static String words(final JacksonException e) {
        return e.getOriginalMessage().replaceAll(" ?\\((start marker )?at \\[Source: [^\\]]*\\]\\)", "");
    }

    private static BadInputException fault(final String what, final String origin, final JacksonException e) {
        final var at = e.getLocation();
        final String where;
        if (at == null) {
            where = origin;
        } else {
            // The line of a JSONL file is a document of its own: its origin says which one it is.
            where = origin + (at.getLineNr() > 1 ? " line " + at.getLineNr() : "") + " column " + at.getColumnNr();
        }
        return new BadInputException(what, where, "give one JSON object", e);
    }

    private Section document() {
        if (parser.nextToken() != JsonToken.START_OBJECT) {
            throw new BadInputException("not a JSON object", origin + " $", "begin with {");
        }
        final ObjectNode root = object("$");
        if (parser.nextToken() != null) {
            throw new BadInputException("text after the JSON object", origin + " $", "remove it");
        }
        return new Section(root, "$", origin);
    }

    private ObjectNode object(final String path) {
        final ObjectNode object = JsonNodeFactory.instance.objectNode();
        while (parser.nextToken() != JsonToken.END_OBJECT) {
            final String key = parser.currentName();
            final String inside = path + "." + key;
            if (object.has(key)) {
                throw new BadInputException("key given twice", origin + " " + inside, "keep one of them");
            }
            parser.nextToken();
            object.set(key, value(inside));
        }
        return object;
    }

    private ArrayNode array(final String path) {
        final ArrayNode array = JsonNodeFactory.instance.arrayNode();
        while (parser.nextToken() != JsonToken.END_ARRAY) {
            array.add(value(path + "[" + array.size() + "]"));
        }
        return array;
    }

    private JsonNode value(final String path) {
        final JsonNodeFactory nodes = JsonNodeFactory.instance;
        return switch (parser.currentToken()) {
            case START_OBJECT -> object(path);
            case START_ARRAY -> array(path);
            case VALUE_STRING -> nodes.stringNode(parser.getString());
            case VALUE_NUMBER_INT -> nodes.numberNode(new BigInteger(parser.getString()));
            case VALUE_NUMBER_FLOAT -> nodes.numberNode(Double.parseDouble(parser.getString()));
            case VALUE_TRUE -> nodes.booleanNode(true);
            case VALUE_FALSE -> nodes.booleanNode(false);
            default -> nodes.nullNode();
        };
    }
}
