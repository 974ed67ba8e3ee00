package dev.equipoise.bench.testbed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.Locale;
import java.util.Set;
import java.util.SplittableRandom;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.junit.jupiter.api.Test;

final class PhrasebookTest {
    @Test
    void everyValueCanBeAskedForAndClaimedInBothParts() {
        // A value without a sentence in a part would make the draw go on for ever.
        assertTimeoutPreemptively(Duration.ofMinutes(1), () -> {
            for (final Split split : Split.values()) {
                final Phrasebook phrases = new Phrasebook(split);
                final SplittableRandom random = new SplittableRandom(4);
                for (final Attribute attribute : Attribute.values()) {
                    phrases.openQuestion(attribute, random);
                    for (final Scene scene : scenes()) {
                        phrases.presenceQuestion(attribute, scene, random);
                        phrases.note(scene, EnumSet.of(attribute), random);
                    }
                }
            }
        });
    }

    @Property(tries = 50)
    void partsShareNoSentence(@ForAll final long seed) {
        final Set<String> training = questions(Split.TRAINING, seed);
        assertTrue(training.stream().allMatch(Split.TRAINING::holds));
        training.retainAll(questions(Split.HELD_OUT, seed));
        assertEquals(Set.of(), training);
    }

    @Property(tries = 50)
    void casingDoesNotChangeThePart(@ForAll final long seed) {
        final String note = new Phrasebook(Split.HELD_OUT)
                .note(new Scene(4, 1, 2), EnumSet.allOf(Attribute.class), new SplittableRandom(seed));
        assertTrue(Split.HELD_OUT.holds(Phrasebook.capitalise(note)));
        assertEquals(note, Phrasebook.capitalise(note).toLowerCase(Locale.ROOT));
    }

    @Property(tries = 100)
    void notesNameWhatTheyClaimAndNothingElse(@ForAll final long seed) {
        final SplittableRandom random = new SplittableRandom(seed);
        final Scene scene = Scene.draw(random);
        final Set<Attribute> claimed = EnumSet.of(Attribute.values()[random.nextInt(3)]);
        final String note = " " + new Phrasebook(Split.TRAINING).note(scene, claimed, random).replace(".", " ") + " ";
        for (final Attribute attribute : Attribute.values()) {
            for (final String word : attribute.words()) {
                final boolean named = note.contains(" " + word + " ");
                assertEquals(claimed.contains(attribute) && scene.word(attribute).equals(word), named, note);
            }
        }
    }

    @Test
    void sentencesStartWithCapitals() {
        assertEquals("Trust the note. What is it?", Phrasebook.capitalise("trust the note. what is it?"));
        assertEquals("Note: the thing is red. A bell is playing.",
                Phrasebook.capitalise("note: the thing is red. a bell is playing."));
    }

    @Test
    void everyWordOfTheLanguageIsOneToken() {
        final Vocabulary vocabulary = new Vocabulary();
        final Phrasebook phrases = new Phrasebook(Split.TRAINING);
        final SplittableRandom random = new SplittableRandom(9);
        for (int i = 0; i < 500; i++) {
            final String note = phrases.casing(
                    phrases.note(Scene.draw(random), EnumSet.allOf(Attribute.class), random), random);
            final String instruction = phrases.casing(
                    phrases.instruction(Source.values()[i % 3], random) + " " + phrases.neutral(random), random);
            for (final String text : Set.of(note, instruction)) {
                final int words = text.split(" ").length;
                final int marks = text.replaceAll("[^.:?]", "").length();
                assertEquals(words + marks, vocabulary.encode(text).length, text);
            }
        }
    }

    private static Set<String> questions(final Split split, final long seed) {
        final SplittableRandom random = new SplittableRandom(seed);
        final Phrasebook phrases = new Phrasebook(split);
        final Set<String> questions = new HashSet<>();
        for (int i = 0; i < 30; i++) {
            questions.add(phrases.openQuestion(Attribute.values()[i % 3], random));
            questions.add(phrases.presenceQuestion(Attribute.values()[i % 3], Scene.draw(random), random));
        }
        return questions;
    }

    private static Set<Scene> scenes() {
        final Set<Scene> scenes = new HashSet<>();
        for (int i = 0; i < 8; i++) {
            scenes.add(new Scene(i, i % Attribute.SHAPE.words().size(), i % Attribute.SOUND.words().size()));
        }
        return scenes;
    }
}
