package dev.equipoise.runtime.oracle;

import dev.equipoise.runtime.Engine;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.NextLogits;
import dev.equipoise.runtime.Part;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.Span;
import dev.equipoise.runtime.oracle.LlamaOracle.Input;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * A prompt as the oracle reads it, column by column.
 *
 * @param inputs what each column takes in: a token, or for media a row that the encoder gives
 * @param whose the modality of each, {@code [columns]}
 * @param medium the number of each one's medium, or -1 for words, {@code [columns]}
 */
public record PromptColumns(List<Input> inputs, Modality[] whose, int[] medium) {
    public PromptColumns {
        inputs = List.copyOf(inputs);
    }

    /**
     * A prompt read with an engine's help.
     *
     * @param engine tokenises the prompt, and its model encodes the media; on its thread
     */
    public static PromptColumns of(final Engine engine, final Prompt prompt) {
        final NextLogits next = engine.logits(Request.plain(prompt));
        final int[] tokens = next.promptTokens();
        final Modality[] whose = new Modality[tokens.length];
        for (final Span span : next.spans()) {
            Arrays.fill(whose, span.start(), span.start() + span.length(), span.modality());
        }
        final int width = engine.model().info().width();
        final List<float[]> rows = new ArrayList<>();
        final List<Integer> numbers = new ArrayList<>();
        int number = 0;
        for (final Part part : prompt.parts()) {
            if (part.isMedium()) {
                final float[] embedded = engine.model().embed(part);
                for (int at = 0; at < embedded.length; at += width) {
                    rows.add(Arrays.copyOfRange(embedded, at, at + width));
                    numbers.add(number);
                }
                number++;
            }
        }
        final List<Input> inputs = new ArrayList<>();
        final int[] medium = new int[tokens.length];
        int row = 0;
        for (int t = 0; t < tokens.length; t++) {
            medium[t] = tokens[t] < 0 ? numbers.get(row) : -1;
            inputs.add(tokens[t] < 0 ? new Input.Embedding(rows.get(row++)) : new Input.Token(tokens[t]));
        }
        if (row != rows.size()) {
            throw new IllegalStateException(rows.size() - row + " rows of media that are not in the prompt");
        }
        return new PromptColumns(inputs, whose, medium);
    }

    /** How many columns it has. */
    public int size() {
        return whose.length;
    }

    /** The modality at a position; behind the prompt, where generated tokens are, text. */
    public Modality whose(final int position) {
        return position < whose.length ? whose[position] : Modality.TEXT;
    }

    /** The number of the medium at a position, or -1. */
    public int medium(final int position) {
        return position < medium.length ? medium[position] : -1;
    }

    /** What its columns take in, and behind them tokens generated so far; a list to add to. */
    public List<Input> inputs(final List<Integer> generated) {
        final List<Input> all = new ArrayList<>(inputs);
        generated.forEach(token -> all.add(new Input.Token(token)));
        return all;
    }
}
