package dev.equipoise.bench.cli;

import java.io.PrintWriter;
import java.math.BigInteger;
import java.util.List;
import java.util.function.BiConsumer;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.StreamWriteFeature;
import tools.jackson.core.json.JsonFactory;

/** Writes the one JSON document of a command, as it goes: a row of logits needs no tree. */
final class JsonDocument {
    private static final JsonFactory FACTORY =
            JsonFactory.builder().disable(StreamWriteFeature.AUTO_CLOSE_TARGET).build();

    private final JsonGenerator json;

    private JsonDocument(final JsonGenerator json) {
        this.json = json;
    }

    /** Writes an object and a line break. */
    static void print(final PrintWriter out, final Content content) {
        try (JsonGenerator generator = FACTORY.createGenerator(ObjectWriteContext.empty(), out)) {
            generator.writeStartObject();
            content.write(new JsonDocument(generator));
            generator.writeEndObject();
        }
        out.println();
        out.flush();
    }

    /** What stands in an object. */
    @FunctionalInterface
    interface Content {
        /** Writes the keys of one object. */
        void write(JsonDocument json);
    }

    JsonDocument put(final String key, final String text) {
        if (text == null) {
            json.writeNullProperty(key);
        } else {
            json.writeStringProperty(key, text);
        }
        return this;
    }

    JsonDocument put(final String key, final long number) {
        json.writeNumberProperty(key, number);
        return this;
    }

    JsonDocument put(final String key, final boolean flag) {
        json.writeBooleanProperty(key, flag);
        return this;
    }

    /** JSON has no word for what is not finite: null. */
    JsonDocument put(final String key, final double number) {
        json.writeName(key);
        number(number);
        return this;
    }

    JsonDocument put(final String key, final List<Integer> numbers) {
        json.writeArrayPropertyStart(key);
        numbers.forEach(json::writeNumber);
        json.writeEndArray();
        return this;
    }

    JsonDocument put(final String key, final int[] numbers) {
        json.writeArrayPropertyStart(key);
        for (final int number : numbers) {
            json.writeNumber(number);
        }
        json.writeEndArray();
        return this;
    }

    JsonDocument put(final String key, final long[] numbers) {
        json.writeArrayPropertyStart(key);
        for (final long number : numbers) {
            json.writeNumber(number);
        }
        json.writeEndArray();
        return this;
    }

    JsonDocument put(final String key, final float[] numbers) {
        json.writeArrayPropertyStart(key);
        for (final float number : numbers) {
            if (Float.isFinite(number)) {
                json.writeNumber(number);
            } else {
                json.writeNull();
            }
        }
        json.writeEndArray();
        return this;
    }

    JsonDocument put(final String key, final double... numbers) {
        json.writeArrayPropertyStart(key);
        for (final double number : numbers) {
            number(number);
        }
        json.writeEndArray();
        return this;
    }

    JsonDocument object(final String key, final Content content) {
        json.writeObjectPropertyStart(key);
        content.write(this);
        json.writeEndObject();
        return this;
    }

    /** An array of objects, one for each value. */
    <T> JsonDocument objects(final String key, final Iterable<T> values, final BiConsumer<JsonDocument, T> content) {
        json.writeArrayPropertyStart(key);
        for (final T value : values) {
            json.writeStartObject();
            content.accept(this, value);
            json.writeEndObject();
        }
        json.writeEndArray();
        return this;
    }

    /** A value of plain Java: text, number, truth value, or a list of them. */
    JsonDocument putPlain(final String key, final Object plain) {
        json.writeName(key);
        value(plain);
        return this;
    }

    private void value(final Object plain) {
        switch (plain) {
            case String text -> json.writeString(text);
            case Boolean flag -> json.writeBoolean(flag);
            case Double real -> number(real);
            case Long whole -> json.writeNumber(whole);
            case BigInteger whole -> json.writeNumber(whole);
            case List<?> list -> {
                json.writeStartArray();
                list.forEach(this::value);
                json.writeEndArray();
            }
            default -> throw new IllegalArgumentException("no plain value: " + plain.getClass());
        }
    }

    private void number(final double number) {
        if (Double.isFinite(number)) {
            json.writeNumber(number);
        } else {
            json.writeNull();
        }
    }
}
