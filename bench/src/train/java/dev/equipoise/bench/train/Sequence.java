package dev.equipoise.bench.train;

import dev.equipoise.bench.testbed.Picture;
import dev.equipoise.bench.testbed.Vocabulary;
import java.util.ArrayList;
import java.util.List;

/**
 * Token ids with places for media, and the questions at the end.
 *
 * @param tokens token ids; {@link #PICTURE_PLACE} and {@link #SOUND_PLACE} minus k for the k-th token of the medium
 * @param prefix number of tokens before the first question
 * @param starts where each question starts
 * @param answers answer token of each question, which is also the second-last token of its stretch (the last is none)
 * @param patches the picture as patches, [PATCHES, PATCH_VALUES], or null
 * @param sound sound features, [SOUND_TOKENS, EAR_FEATURES], or null
 */
record Sequence(int[] tokens, int prefix, int[] starts, int[] answers, float[] patches, float[] sound) {
    static final int PICTURE_PLACE = -1;
    static final int SOUND_PLACE = -1001;

    static Builder builder(final Vocabulary vocabulary) {
        return new Builder(vocabulary);
    }

    /** Where question {@code q} ends, its answer included, exclusive. */
    int end(final int q) {
        return q + 1 < starts.length ? starts[q + 1] : tokens.length;
    }

    /** Collects the parts in their order. */
    static final class Builder {
        private final Vocabulary vocabulary;
        private final List<Integer> tokens = new ArrayList<>();
        private final List<Integer> starts = new ArrayList<>();
        private final List<Integer> answers = new ArrayList<>();
        private float[] patches;
        private float[] sound;

        private Builder(final Vocabulary vocabulary) {
            this.vocabulary = vocabulary;
            tokens.add(vocabulary.bos());
        }

        void text(final String text) {
            for (final int id : vocabulary.encode(text)) {
                tokens.add(id);
            }
        }

        void picture(final byte[] pixels) {
            patches = patches(pixels);
            for (int i = 0; i < ModelShape.PATCHES; i++) {
                tokens.add(PICTURE_PLACE - i);
            }
        }

        void sound(final float[] features) {
            sound = features;
            for (int i = 0; i < ModelShape.SOUND_TOKENS; i++) {
                tokens.add(SOUND_PLACE - i);
            }
        }

        void question(final String text, final String answer) {
            starts.add(tokens.size());
            text(text);
            final int token = vocabulary.answer(answer);
            tokens.add(token);
            answers.add(token);
        }

        Sequence build() {
            return new Sequence(ints(tokens), starts.getFirst(), ints(starts), ints(answers), patches, sound);
        }

        private static int[] ints(final List<Integer> list) {
            return list.stream().mapToInt(Integer::intValue).toArray();
        }
    }

    /** Pixels as the vision encoder sees them: -1 to 1, patch by patch, each channel, row, column. */
    private static float[] patches(final byte[] pixels) {
        final int edge = ModelShape.PATCH;
        final int perRow = Picture.SIZE / edge;
        final float[] patches = new float[ModelShape.PATCHES * ModelShape.PATCH_VALUES];
        int out = 0;
        for (int patch = 0; patch < ModelShape.PATCHES; patch++) {
            for (int c = 0; c < 3; c++) {
                for (int y = 0; y < edge; y++) {
                    for (int x = 0; x < edge; x++) {
                        final int row = patch / perRow * edge + y;
                        final int column = patch % perRow * edge + x;
                        final int value = pixels[(row * Picture.SIZE + column) * 3 + c] & 255;
                        patches[out++] = (value / 255f - 0.5f) / 0.5f;
                    }
                }
            }
        }
        return patches;
    }
}
