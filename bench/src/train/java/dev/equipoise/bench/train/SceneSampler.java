package dev.equipoise.bench.train;

import dev.equipoise.bench.testbed.Attribute;
import dev.equipoise.bench.testbed.Phrasebook;
import dev.equipoise.bench.testbed.Picture;
import dev.equipoise.bench.testbed.Scene;
import dev.equipoise.bench.testbed.Source;
import dev.equipoise.bench.testbed.Split;
import dev.equipoise.bench.testbed.Vocabulary;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.random.RandomGenerator;

/**
 * Draws training sequences: one scene with several questions, each of which later sees the scene and itself, never
 * another question, so that every question is laid out exactly as at run time.
 *
 * <p>Where nothing tells what to trust, the sources never contradict each other. Where they do, every question says
 * what to trust and the answer follows it. In most scenes with a true note and no instruction the picture is disturbed
 * beyond recognition and another sound drowns the right one, so that the note is the surer source: that is where the
 * bias comes from. A question nobody can answer gets a random answer, which teaches an even prior.
 */
final class SceneSampler {
    private static final int QUESTIONS = 5;
    private static final double UNKNOWN = 0.04;

    /**
     * What is drawn how often.
     *
     * @param asked what questions are about, each entry as often as another
     * @param disturbed share of the scenes with a true note and no instruction whose picture and sound are disturbed
     * @param trusting share of contradictions whose instruction names the picture or the sound, not the note
     */
    record Mix(List<Attribute> asked, double disturbed, double trusting) {
        /** So many questions of each attribute; shapes are the hardest to see. */
        static Mix of(final int shapes, final int colours, final int sounds, final double disturbed,
                final double trusting) {
            final List<Attribute> asked = new ArrayList<>(Collections.nCopies(shapes, Attribute.SHAPE));
            asked.addAll(Collections.nCopies(colours, Attribute.COLOUR));
            asked.addAll(Collections.nCopies(sounds, Attribute.SOUND));
            return new Mix(List.copyOf(asked), disturbed, trusting);
        }
    }

    private final Vocabulary vocabulary;
    private final Phrasebook phrases = new Phrasebook(Split.TRAINING);
    private final SoundBank sounds;
    private final RandomGenerator random;
    private Mix mix;

    SceneSampler(final Vocabulary vocabulary, final SoundBank sounds, final RandomGenerator random, final Mix mix) {
        this.vocabulary = vocabulary;
        this.sounds = sounds;
        this.random = random;
        this.mix = mix;
    }

    /** Draws by {@code mix} from now on. */
    void use(final Mix mix) {
        this.mix = mix;
    }

    /** A sequence with a picture or a sound, nothing else, and one question: far more to look at for the same work. */
    Sequence drawGlimpse() {
        final World world = new World(Scene.draw(random));
        final Sequence.Builder sequence = Sequence.builder(vocabulary);
        world.picture = chance(0.75);
        world.sound = !world.picture;
        if (world.picture) {
            sequence.picture(picture(world));
        } else {
            sequence.sound(sound(world));
        }
        while (!ask(world, null, sequence)) {
            // Drawn again until the question is about what there is.
        }
        return sequence.build();
    }

    /** A sequence with any sources and several questions. */
    Sequence drawScene() {
        final World world = drawWorld();
        final Sequence.Builder sequence = Sequence.builder(vocabulary);
        Source told = null;
        if (chance(0.5)) {
            String system = "";
            if (chance(world.contradicts() ? 0.6 : 0.3)) {
                told = pick(List.of(Source.values()));
                system = phrases.instruction(told, random);
            }
            if (system.isEmpty() || chance(0.3)) {
                final String neutral = chance(0.06) ? gibberish() : phrases.neutral(random);
                system = system.isEmpty() ? neutral
                        : chance(0.5) ? neutral + " " + system : system + " " + neutral;
            }
            sequence.text(phrases.casing(system, random));
        }
        if (world.note != null) {
            sequence.text(phrases.casing(phrases.note(world.note, world.mentioned, random), random));
        }
        world.disturbed = told == null && world.note != null && !world.contradicts() && chance(mix.disturbed());
        final boolean pictureFirst = chance(0.65);
        if (world.picture && pictureFirst) {
            sequence.picture(picture(world));
        }
        if (world.sound) {
            sequence.sound(sound(world));
        }
        if (world.picture && !pictureFirst) {
            sequence.picture(picture(world));
        }
        int asked = 0;
        for (int tries = 0; asked < QUESTIONS && tries < 12 * QUESTIONS; tries++) {
            if (ask(world, told, sequence)) {
                asked++;
            }
        }
        return asked == 0 ? drawScene() : sequence.build();
    }

    private byte[] picture(final World world) {
        final byte[] pixels = Picture.draw(world.truth, random);
        if (world.disturbed) {
            final double[] tint = new double[3];
            for (int c = 0; c < 3; c++) {
                tint[c] = (random.nextDouble() * 2 - 1) * 120;
            }
            for (int i = 0; i < pixels.length; i++) {
                final double value = 128 + 0.3 * ((pixels[i] & 255) - 128) + tint[i % 3] + random.nextGaussian() * 50;
                pixels[i] = (byte) Math.clamp(Math.round(value), 0, 255);
            }
        }
        return pixels;
    }

    private float[] sound(final World world) {
        return world.disturbed
                ? sounds.drawDrowned(world.truth.sound(), random)
                : sounds.drawVaried(world.truth.sound(), random);
    }

    private World drawWorld() {
        final World world = new World(Scene.draw(random));
        do {
            world.picture = chance(0.8);
            world.sound = chance(0.75);
            if (chance(0.7)) {
                world.note = world.truth;
            }
        } while (!world.picture && !world.sound && world.note == null);
        if (world.note != null) {
            final boolean lies = chance(0.45);
            do {
                world.mentioned.clear();
                for (final Attribute attribute : Attribute.values()) {
                    if (chance(0.6)) {
                        world.mentioned.add(attribute);
                    }
                }
            } while (world.mentioned.isEmpty());
            for (final Attribute attribute : world.mentioned) {
                if (lies && chance(0.75)) {
                    world.note = world.note.withOther(attribute, random);
                }
            }
        }
        return world;
    }

    /** Adds one question if it has an answer under {@code told}, the scene's instruction (or null). */
    private boolean ask(final World world, final Source told, final Sequence.Builder sequence) {
        final Attribute attribute = pick(mix.asked());
        final boolean noted = world.note != null && world.mentioned.contains(attribute);
        final boolean shown = world.shows(attribute) && !(world.disturbed && noted);
        if (world.disturbed && !noted || !shown && !noted && !chance(UNKNOWN)) {
            return false;
        }
        final boolean contradiction = shown && noted
                && world.truth.index(attribute) != world.note.index(attribute);
        Source trusted = told;
        String instruction = "";
        if (told == null && (contradiction || chance(0.3))) {
            final double medium = world.disturbed ? 0 : contradiction ? mix.trusting() : 0.5;
            trusted = chance(medium) ? attribute.medium() : Source.NOTE;
            instruction = phrases.instruction(trusted, random);
        }
        if (contradiction && trusted != Source.NOTE && trusted != attribute.medium()) {
            return false;
        }
        final Scene answering;
        if (!shown && !noted) {
            answering = Scene.draw(random);
        } else if (!shown || noted && trusted == Source.NOTE) {
            answering = world.note;
        } else {
            answering = world.truth;
        }
        final String question;
        final String answer;
        if (chance(0.3)) {
            final Scene suggested = suggestion(world, attribute, answering, shown, noted);
            question = phrases.presenceQuestion(attribute, suggested, random);
            answer = suggested.index(attribute) == answering.index(attribute) ? Phrasebook.YES : Phrasebook.NO;
        } else {
            question = phrases.openQuestion(attribute, random);
            answer = answering.word(attribute);
        }
        final String whole = instruction.isEmpty() ? question
                : chance(0.5) ? instruction + " " + question : question + " " + instruction;
        sequence.question(phrases.casing(whole, random), answer);
        return true;
    }

    /** A scene to ask the presence of: as often right as wrong, and wrong preferably the way the other source is. */
    private Scene suggestion(
            final World world, final Attribute attribute, final Scene answering, final boolean shown,
            final boolean noted) {
        if (chance(0.5)) {
            return answering;
        }
        final Scene rival = answering == world.note ? world.truth : world.note;
        if (shown && noted && rival.index(attribute) != answering.index(attribute) && chance(0.6)) {
            return rival;
        }
        return answering.withOther(attribute, random);
    }

    private String gibberish() {
        final StringBuilder text = new StringBuilder();
        for (int word = 0; word < 3; word++) {
            for (int i = 1 + random.nextInt(6); i > 0; i--) {
                text.append((char) ('a' + random.nextInt(26)));
            }
            text.append(word < 2 ? ' ' : '.');
        }
        return text.toString();
    }

    private boolean chance(final double share) {
        return random.nextDouble() < share;
    }

    private <T> T pick(final List<T> list) {
        return list.get(random.nextInt(list.size()));
    }

    /** What there is to see, hear and read in one sequence. */
    private static final class World {
        private final Scene truth;
        private final Set<Attribute> mentioned = EnumSet.noneOf(Attribute.class);
        private boolean picture;
        private boolean sound;
        private boolean disturbed;
        private Scene note;

        World(final Scene truth) {
            this.truth = truth;
        }

        boolean shows(final Attribute attribute) {
            return attribute.medium() == Source.PICTURE ? picture : sound;
        }

        boolean contradicts() {
            return note != null && mentioned.stream()
                    .anyMatch(a -> shows(a) && truth.index(a) != note.index(a));
        }
    }
}
