package dev.equipoise.bench.train;

import dev.equipoise.bench.testbed.Vocabulary;
import java.util.Arrays;
import java.util.List;

/** Sequences laid side by side, as flat arrays ready for tensors. */
final class Batch {
    final int size;
    final int length;
    final int questions;
    /** Row of the input table [tokens | picture tokens | sound tokens] for every position, [size, length]. */
    final long[] rows;
    /** Rotary position of every token, [size, length]. */
    final int[] positions;
    /** 0 where attention may look, a large negative number where not, [size, 1, length, length]. */
    final float[] mask;
    final float[] patches;
    final float[] sounds;
    /** Flat positions whose next token counts: first every question's end, then every answer. */
    final long[] targetsAt;
    /** The tokens that should come next there. */
    final long[] targets;

    Batch(final List<Sequence> sequences, final Vocabulary vocabulary) {
        size = sequences.size();
        length = sequences.stream().mapToInt(s -> s.tokens().length).max().orElseThrow();
        questions = sequences.stream().mapToInt(s -> s.answers().length).sum();
        rows = new long[size * length];
        positions = new int[size * length];
        mask = new float[size * length * length];
        patches = new float[size * ModelShape.PATCHES * ModelShape.PATCH_VALUES];
        sounds = new float[size * ModelShape.SOUND_TOKENS * ModelShape.EAR_FEATURES];
        targetsAt = new long[2 * questions];
        targets = new long[2 * questions];
        Arrays.fill(mask, -1e9f);
        int question = 0;
        for (int b = 0; b < size; b++) {
            final Sequence sequence = sequences.get(b);
            copy(sequence.patches(), patches, b);
            copy(sequence.sound(), sounds, b);
            fillRows(sequence, b, vocabulary);
            fillMask(sequence, b);
            for (int q = 0; q < sequence.answers().length; q++) {
                final int last = b * length + sequence.end(q) - 1;
                targetsAt[question] = last - 1;
                targets[question] = sequence.answers()[q];
                targetsAt[questions + question] = last;
                targets[questions + question] = vocabulary.eos();
                question++;
            }
        }
    }

    private void copy(final float[] from, final float[] to, final int b) {
        if (from != null) {
            System.arraycopy(from, 0, to, b * (to.length / size), from.length);
        }
    }

    private void fillRows(final Sequence sequence, final int b, final Vocabulary vocabulary) {
        final int words = vocabulary.size();
        for (int t = 0; t < length; t++) {
            final int token = t < sequence.tokens().length ? sequence.tokens()[t] : vocabulary.eos();
            final long row;
            if (token >= 0) {
                row = token;
            } else if (token > Sequence.SOUND_PLACE) {
                row = words + (long) b * ModelShape.PATCHES + (Sequence.PICTURE_PLACE - token);
            } else {
                row = words + (long) size * ModelShape.PATCHES + (long) b * ModelShape.SOUND_TOKENS
                        + (Sequence.SOUND_PLACE - token);
            }
            rows[b * length + t] = row;
        }
    }

    private void fillMask(final Sequence sequence, final int b) {
        int question = -1;
        int start = 0;
        for (int t = 0; t < length; t++) {
            if (question + 1 < sequence.starts().length && t == sequence.starts()[question + 1]) {
                question++;
                start = t;
            }
            final int prefix = Math.min(t + 1, sequence.prefix());
            positions[b * length + t] = question < 0 ? t : sequence.prefix() + t - start;
            final int row = (b * length + t) * length;
            Arrays.fill(mask, row, row + prefix, 0f);
            if (question >= 0) {
                Arrays.fill(mask, row + start, row + t + 1, 0f);
            }
        }
    }
}
