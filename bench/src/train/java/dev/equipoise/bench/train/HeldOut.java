package dev.equipoise.bench.train;

import ai.djl.ndarray.NDManager;
import dev.equipoise.bench.testbed.Attribute;
import dev.equipoise.bench.testbed.ConflictWorld;
import dev.equipoise.bench.testbed.Item;
import dev.equipoise.bench.testbed.PromptLayout;
import dev.equipoise.bench.testbed.PromptLayout.Piece;
import dev.equipoise.bench.testbed.Vocabulary;
import dev.equipoise.bench.testbed.WorldItem;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import tools.jackson.databind.node.ObjectNode;

/** Generated items of sentences, pictures and clips that training does not use, and what the model answers. */
final class HeldOut {
    private static final int BATCH = 64;

    private final Vocabulary vocabulary;
    private final List<WorldItem> items;
    private final List<Sequence> sequences = new ArrayList<>();

    HeldOut(final Vocabulary vocabulary, final SoundBank sounds, final long seed, final int count) {
        this.vocabulary = vocabulary;
        this.items = ConflictWorld.generate(seed, count);
        final SplittableRandom random = new SplittableRandom(seed);
        items.forEach(item -> sequences.add(sequence(item, sounds, random)));
    }

    /** Share of right answers and of answers that follow the note, by condition, group and medium asked. */
    Map<String, Score> measure(final OmniNet net, final NDManager manager) {
        final Map<String, Score> scores = new TreeMap<>();
        for (int from = 0; from < sequences.size(); from += BATCH) {
            final int end = Math.min(from + BATCH, sequences.size());
            final Batch batch = new Batch(sequences.subList(from, end), vocabulary);
            try (NDManager scope = manager.newSubManager()) {
                final long[] best = net.logits(batch, scope).argMax(1).toLongArray();
                for (int i = from; i < end; i++) {
                    final Item item = items.get(i).item();
                    final int reply = (int) best[i - from];
                    final boolean right = reply == vocabulary.answer(item.answer())
                            && best[batch.questions + i - from] == vocabulary.eos();
                    final boolean note = item.answerContext().isPresent()
                            && reply == vocabulary.answer(item.answerContext().get());
                    scores.computeIfAbsent(key(item), k -> new Score()).add(right, note);
                }
            }
        }
        return scores;
    }

    private static String key(final Item item) {
        final String asked = item.yesNo() ? "yes/no"
                : item.options().equals(Attribute.COLOUR.words()) ? "colour"
                : item.options().equals(Attribute.SHAPE.words()) ? "shape" : "sound";
        return item.condition().label() + "/" + item.group().orElse("") + "/" + asked;
    }

    private Sequence sequence(final WorldItem world, final SoundBank sounds, final SplittableRandom random) {
        final Sequence.Builder sequence = Sequence.builder(vocabulary);
        for (final Piece piece : PromptLayout.pieces(world.item())) {
            switch (piece) {
                case Piece.SystemWords(String text) -> sequence.text(text);
                case Piece.Note(String text) -> sequence.text(text);
                case Piece.Picture() -> sequence.picture(world.pixels().orElseThrow());
                case Piece.Sound() -> sequence.sound(sounds.draw(world.truth().sound(), random));
                case Piece.Question(String text) ->
                        sequence.question(text, world.item().answer());
            }
        }
        return sequence.build();
    }

    /** Counts of one kind of item. */
    static final class Score {
        private int count;
        private int right;
        private int note;

        private void add(final boolean answeredRight, final boolean followedNote) {
            count++;
            right += answeredRight ? 1 : 0;
            note += followedNote ? 1 : 0;
        }

        /** Adds these counts to a JSON object. */
        void addTo(final ObjectNode node) {
            node.put("n", count).put("right", right).put("follows_note", note);
        }

        @Override
        public String toString() {
            return String.format(
                    Locale.ROOT, "right %.3f note %.3f n %d", (double) right / count, (double) note / count, count);
        }
    }
}
