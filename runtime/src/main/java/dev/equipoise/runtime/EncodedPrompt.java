package dev.equipoise.runtime;

import dev.equipoise.runtime.ffm.EncoderHandle;
import dev.equipoise.runtime.intervention.Intervention;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;

/**
 * A prompt as the model reads it: one column per token or embedding row, with its position and modality. Two prompts
 * share KV cells as far as their columns are the same.
 */
final class EncodedPrompt {
    private final int[] tokens;
    private final int[] positions;
    private final Modality[] modalities;
    // The medium a column belongs to and the row within it; null and 0 for tokens.
    private final EncoderHandle.Chunk[] chunks;
    private final int[] rows;
    // Which picture or sound a column is part of, in the order of the prompt; -1 for words.
    private final int[] media;
    // Columns that a branch hides in some layers.
    private final boolean[] hidden;
    // Tokens generated behind it that are told apart, which interventions may name as columns counting on.
    private final int generated;
    private final int instructionEnd;
    private final int answerStart;

    private EncodedPrompt(final Builder from) {
        final int n = from.size;
        tokens = Arrays.copyOf(from.tokens, n);
        positions = Arrays.copyOf(from.positions, n);
        modalities = Arrays.copyOf(from.modalities, n);
        chunks = Arrays.copyOf(from.chunks, n);
        rows = Arrays.copyOf(from.rows, n);
        media = Arrays.copyOf(from.media, n);
        hidden = new boolean[n];
        generated = 0;
        instructionEnd = from.instructionEnd;
        answerStart = from.answerStart < 0 ? n : from.answerStart;
    }

    private EncodedPrompt(final EncodedPrompt from, final int n, final int generated, final boolean[] hidden) {
        tokens = Arrays.copyOf(from.tokens, n);
        positions = Arrays.copyOf(from.positions, n);
        modalities = Arrays.copyOf(from.modalities, n);
        chunks = Arrays.copyOf(from.chunks, n);
        rows = Arrays.copyOf(from.rows, n);
        media = Arrays.copyOf(from.media, n);
        this.hidden = Arrays.copyOf(hidden, n + generated);
        this.generated = generated;
        instructionEnd = Math.min(n, from.instructionEnd);
        answerStart = Math.min(n, from.answerStart);
    }

    /** Columns. */
    int size() {
        return tokens.length;
    }

    /** Columns, and behind them generated tokens that are told apart. */
    int known() {
        return tokens.length + generated;
    }

    /** The token of a column, -1 for an embedding row. */
    int token(final int column) {
        return tokens[column];
    }

    /** Token ids, -1 for embedding rows. */
    int[] tokens() {
        return tokens.clone();
    }

    /** The time position of a column; that of a medium's first row for all of its rows under M-RoPE. */
    int position(final int column) {
        return positions[column];
    }

    /** What a column is to the model. */
    Modality modality(final int column) {
        return column < size() ? modalities[column] : Modality.TEXT;
    }

    /** How many columns are of one of these. */
    int count(final Set<Modality> of) {
        return (int) Arrays.stream(modalities).filter(of::contains).count();
    }

    /** The number of the picture or sound that a column is part of, -1 for words. */
    int medium(final int column) {
        return media[column];
    }

    /** The first column behind what the user gave; {@link #size} when nothing is there. */
    int instructionEnd() {
        return instructionEnd;
    }

    /** The first column of the answer, as far as the prompt begins it; {@link #size} when it does not. */
    int answerStart() {
        return answerStart;
    }

    /** The medium a column belongs to, null for a token. */
    EncoderHandle.Chunk chunk(final int column) {
        return chunks[column];
    }

    /** Which row of its medium a column is. */
    int row(final int column) {
        return rows[column];
    }

    /** The first {@code columns} columns as a prompt of their own. */
    EncodedPrompt head(final int columns) {
        return new EncodedPrompt(this, columns, 0, hidden);
    }

    /** The same prompt as a branch with these interventions has it, which may hide some of its columns. */
    EncodedPrompt as(final List<Intervention> interventions) {
        final boolean[] found = HiddenColumns.of(interventions, this);
        return found.length == 0 ? this : new EncodedPrompt(this, size(), generated, found);
    }

    /** The same prompt, of which nothing is hidden, with so many tokens generated behind it that are told apart. */
    EncodedPrompt behind(final int tokens) {
        return new EncodedPrompt(this, size(), tokens, new boolean[0]);
    }

    /** Whether a column is hidden in some layers. */
    boolean isHidden(final int column) {
        return column < hidden.length && hidden[column];
    }

    /** Whether a generated token is hidden in some layers. */
    boolean hidesGenerated() {
        boolean hides = false;
        for (int column = size(); column < hidden.length; column++) {
            hides |= hidden[column];
        }
        return hides;
    }

    /** Leading columns that are the same here and there: what the model reads and what it is called. */
    int commonPrefix(final EncodedPrompt other) {
        final int limit = Math.min(size(), other.size());
        int n = 0;
        while (n < limit
                && tokens[n] == other.tokens[n]
                && chunks[n] == other.chunks[n]
                && rows[n] == other.rows[n]
                && modalities[n] == other.modalities[n]
                && hidden[n] == other.hidden[n]
                && media[n] == other.media[n]) {
            n++;
        }
        return n;
    }

    /** Rows of media that encoders gave and that were left out. */
    EncoderHandle.Dropped dropped() {
        EncoderHandle.Dropped dropped = EncoderHandle.Dropped.NONE;
        for (int column = 0; column < size(); column++) {
            if (chunks[column] != null && rows[column] == 0) {
                dropped = dropped.plus(chunks[column].dropped());
            }
        }
        return dropped;
    }

    /** Sum over its media of the norms of what was turned in their encoding. */
    double turned() {
        double delta = 0;
        for (int column = 0; column < size(); column++) {
            delta += chunks[column] != null && rows[column] == 0 ? chunks[column].delta() : 0;
        }
        return delta;
    }

    /** Runs of one modality, in order, covering every column. */
    List<Span> spans() {
        final List<Span> spans = new ArrayList<>();
        int start = 0;
        for (int i = 1; i <= size(); i++) {
            // Two media side by side are two spans.
            final boolean ends = i == size()
                    || modalities[i] != modalities[start]
                    || chunks[i] != chunks[i - 1] && (chunks[i] != null || chunks[i - 1] != null);
            if (ends) {
                spans.add(new Span(modalities[start], start, i - start));
                start = i;
            }
        }
        return spans;
    }

    /** Collects columns in order. */
    static final class Builder {
        private int[] tokens = new int[64];
        private int[] positions = new int[64];
        private Modality[] modalities = new Modality[64];
        private EncoderHandle.Chunk[] chunks = new EncoderHandle.Chunk[64];
        private int[] rows = new int[64];
        private int[] media = new int[64];
        private int medium;
        private int instructionEnd;
        private int answerStart = -1;
        private int size;
        private int position;

        /** True as long as nothing was added. */
        boolean isEmpty() {
            return size == 0;
        }

        void tokens(final int[] ids, final Modality modality) {
            for (final int id : ids) {
                grow();
                tokens[size] = id;
                positions[size] = position++;
                modalities[size] = modality;
                media[size] = -1;
                size++;
            }
        }

        /** Begins picture or sound number {@code index}; its chunks follow. */
        void medium(final int index) {
            medium = index;
        }

        /** Notes that what is there so far is the user's. */
        void endInstruction() {
            instructionEnd = size;
        }

        /** Notes that what follows is the answer's. */
        void beginAnswer() {
            answerStart = size;
        }

        void chunk(final EncoderHandle.Chunk chunk, final Modality modality) {
            if (chunk.tokens() != null) {
                // Marks that libmtmd writes round a medium: words to the model.
                tokens(chunk.tokens(), Modality.TEXT);
                return;
            }
            for (int row = 0; row < chunk.count(); row++) {
                grow();
                tokens[size] = -1;
                positions[size] = position + chunk.positions()[row];
                modalities[size] = modality;
                chunks[size] = chunk;
                rows[size] = row;
                media[size] = medium;
                size++;
            }
            position += chunk.positionCount();
        }

        EncodedPrompt build() {
            return new EncodedPrompt(this);
        }

        private void grow() {
            if (size == tokens.length) {
                final int capacity = 2 * size;
                tokens = Arrays.copyOf(tokens, capacity);
                positions = Arrays.copyOf(positions, capacity);
                modalities = Arrays.copyOf(modalities, capacity);
                chunks = Arrays.copyOf(chunks, capacity);
                rows = Arrays.copyOf(rows, capacity);
                media = Arrays.copyOf(media, capacity);
            }
        }
    }
}
