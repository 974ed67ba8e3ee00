package dev.equipoise.bench.testbed;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.EnumSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.random.RandomGenerator;

/**
 * Generates items of the conflict world: a picture of one coloured figure, a sound, a note that agrees, contradicts or
 * is not there, and a question.
 *
 * <p>Item i of a seed depends on the seed and i alone (a {@link SplittableRandom} of their mixture), so the same seed
 * gives identical items, a longer run starts with the shorter one, and items can be made in any order. Kinds of item
 * and attributes asked for take turns. Thread-safe.
 */
public final class ConflictWorld {
    /**
     * Items after which condition, group and which sources answer the question come round again: kinds, attributes, and
     * the two that a picture alone is asked for take turns.
     */
    public static final int PERIOD = 60;

    private static final double EXTRA_CLAIM = 0.5;

    /** What an item may be; the turn of an item's kind is its number modulo the number of kinds. */
    private enum Kind {
        CONSISTENT(Condition.CONSISTENT, "plain"),
        CONFLICT_PLAIN(Condition.CONFLICT, "no-instruction"),
        IMAGE_ONLY(Condition.IMAGE_ONLY, "plain"),
        AUDIO_ONLY(Condition.AUDIO_ONLY, "plain"),
        TEXT_ONLY(Condition.TEXT_ONLY, "plain"),
        CONFLICT_TRUST_MEDIUM(Condition.CONFLICT, "trust-"),
        CONFLICT_TRUST_NOTE(Condition.CONFLICT, "trust-note"),
        ABSENT(Condition.ABSENT, "no-note"),
        PRESENT(Condition.CONSISTENT, "presence"),
        ABSENT_MISLED(Condition.ABSENT, "misleading-note");

        private final Condition condition;
        private final String group;

        Kind(final Condition condition, final String group) {
            this.condition = condition;
            this.group = group;
        }
    }

    private ConflictWorld() {
    }

    /** The groups that items of some conditions may be of, in the order of their kinds. */
    public static List<String> groups(final Collection<Condition> conditions) {
        final Set<String> groups = new LinkedHashSet<>();
        for (final Kind kind : Kind.values()) {
            for (final Attribute attribute : Attribute.values()) {
                if (conditions.contains(kind.condition)) {
                    groups.add(group(kind, attribute));
                }
            }
        }
        return List.copyOf(groups);
    }

    private static String group(final Kind kind, final Attribute attribute) {
        return kind == Kind.CONFLICT_TRUST_MEDIUM
                ? kind.group + attribute.medium().name().toLowerCase(Locale.ROOT)
                : kind.group;
    }

    /** {@code count} items in sentences that the testbed model was not trained on. */
    public static List<WorldItem> generate(final long seed, final int count) {
        return generate(seed, count, Split.HELD_OUT);
    }

    /** {@code count} items in sentences of {@code split}. */
    public static List<WorldItem> generate(final long seed, final int count, final Split split) {
        final Phrasebook phrases = new Phrasebook(split);
        final List<WorldItem> items = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            items.add(item(seed, i, phrases));
        }
        return items;
    }

    /** Item number {@code index} of {@code seed}, in sentences of {@code phrases}. */
    public static WorldItem item(final long seed, final int index, final Phrasebook phrases) {
        // One split decorrelates neighbouring numbers; the odd factor keeps (seed, index) pairs apart.
        final RandomGenerator random = new SplittableRandom(seed * 0x9E3779B97F4A7C15L + index).split();
        final Kind[] kinds = Kind.values();
        final Kind kind = kinds[index % kinds.length];
        final Attribute attribute = askedAttribute(kind, index / kinds.length);
        return new Draft(kind, attribute, phrases, random).item(String.format(Locale.ROOT, "%d-%06d", seed, index));
    }

    private static Attribute askedAttribute(final Kind kind, final int turn) {
        return switch (kind) {
            case IMAGE_ONLY -> turn % 2 == 0 ? Attribute.COLOUR : Attribute.SHAPE;
            case AUDIO_ONLY -> Attribute.SOUND;
            default -> Attribute.values()[turn % Attribute.values().length];
        };
    }

    /** One item in the making. */
    private static final class Draft {
        private final Kind kind;
        private final Attribute attribute;
        private final Phrasebook phrases;
        private final RandomGenerator random;
        private final Scene truth;
        private final Optional<Scene> note;

        Draft(final Kind kind, final Attribute attribute, final Phrasebook phrases, final RandomGenerator random) {
            this.kind = kind;
            this.attribute = attribute;
            this.phrases = phrases;
            this.random = random;
            truth = Scene.draw(random);
            note = switch (kind) {
                case IMAGE_ONLY, AUDIO_ONLY, ABSENT -> Optional.empty();
                case CONSISTENT, PRESENT, TEXT_ONLY -> Optional.of(truth);
                case CONFLICT_PLAIN, CONFLICT_TRUST_MEDIUM, CONFLICT_TRUST_NOTE, ABSENT_MISLED ->
                        Optional.of(truth.withOther(attribute, random));
            };
        }

        WorldItem item(final String id) {
            final boolean picture = kind != Kind.AUDIO_ONLY && kind != Kind.TEXT_ONLY;
            final boolean sound = kind != Kind.IMAGE_ONLY && kind != Kind.TEXT_ONLY;
            final Optional<String> context = note.map(this::write);
            final Optional<Scene> suggested = suggested();
            final Optional<String> instruction = trusted().map(s -> phrases.instruction(s, random));
            final int place = random.nextInt(3);
            final String asked = suggested.isPresent()
                    ? phrases.presenceQuestion(attribute, suggested.get(), random)
                    : phrases.openQuestion(attribute, random);
            final String question = phrases.casing(place(asked, instruction, place), random);
            final boolean inPicture = picture && attribute.medium() == Source.PICTURE;
            final boolean inSound = sound && attribute.medium() == Source.SOUND;
            final Scene right = trusted().equals(Optional.of(Source.NOTE)) ? note.orElseThrow() : truth;
            final Item item = new Item(
                    id,
                    place == 0 ? instruction.map(text -> phrases.casing(text, random)) : Optional.empty(),
                    question,
                    suggested.isPresent() ? List.of(Phrasebook.YES, Phrasebook.NO) : attribute.words(),
                    reply(right, suggested),
                    picture ? Optional.of(Path.of(id + ".png")) : Optional.empty(),
                    sound ? Optional.of(Path.of(id + ".wav")) : Optional.empty(),
                    context,
                    inPicture ? Optional.of(reply(truth, suggested)) : Optional.empty(),
                    inSound ? Optional.of(reply(truth, suggested)) : Optional.empty(),
                    note.map(claimed -> reply(claimed, suggested)),
                    kind.condition,
                    Optional.of(group(kind, attribute)));
            return new WorldItem(item, truth,
                    picture ? Optional.of(Picture.draw(truth, random)) : Optional.empty(),
                    sound ? Optional.of(Sound.play(truth, random)) : Optional.empty());
        }

        /** Whom the item's instruction says to trust, if it gives one. */
        private Optional<Source> trusted() {
            return switch (kind) {
                case CONFLICT_TRUST_MEDIUM -> Optional.of(attribute.medium());
                case CONFLICT_TRUST_NOTE -> Optional.of(Source.NOTE);
                default -> Optional.empty();
            };
        }

        /** The scene a presence question names, or empty where the question is open. */
        private Optional<Scene> suggested() {
            return switch (kind) {
                case PRESENT -> Optional.of(truth);
                case ABSENT -> Optional.of(truth.withOther(attribute, random));
                case ABSENT_MISLED -> note;
                default -> Optional.empty();
            };
        }

        /** The note: what is asked for, and perhaps more, on which it tells the truth. */
        private String write(final Scene claimed) {
            final Set<Attribute> mentioned = EnumSet.of(attribute);
            for (final Attribute other : Attribute.values()) {
                if (random.nextDouble() < EXTRA_CLAIM) {
                    mentioned.add(other);
                }
            }
            return phrases.casing(phrases.note(claimed, mentioned, random), random);
        }

        private String reply(final Scene scene, final Optional<Scene> suggested) {
            return suggested
                    .map(s -> s.index(attribute) == scene.index(attribute) ? Phrasebook.YES : Phrasebook.NO)
                    .orElse(scene.word(attribute));
        }

        private static String place(final String question, final Optional<String> instruction, final int place) {
            return switch (place) {
                case 1 -> instruction.map(text -> text + " " + question).orElse(question);
                case 2 -> instruction.map(text -> question + " " + text).orElse(question);
                default -> question;
            };
        }
    }
}
