package dev.equipoise.bench.testbed;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.Supplier;
import java.util.random.RandomGenerator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The whole language of the testbed: templates with slots, in lower case. {@code {thing}} and its like are filled with
 * any word of {@link #SLOTS}; {@code {colour}}, {@code {shape}} and {@code {sound}} with a value of that attribute,
 * {@code {a colour}} with the value after its article. Every sentence may start with a capital letter or not.
 */
public final class Phrasebook {
    /** Words that mean the same. */
    public static final Map<String, List<String>> SLOTS = Map.of(
            "thing", List.of("object", "thing", "figure"),
            "tint", List.of("colour", "color"),
            "form", List.of("shape", "form"),
            "noise", List.of("sound", "noise"),
            "trust", List.of("trust", "believe", "follow", "use", "go by", "rely on"),
            "picture source", List.of("picture", "image", "photo"),
            "sound source", List.of("sound", "audio", "recording"),
            "note source", List.of("note", "text", "message"));

    /** Questions for a value. */
    public static final Map<Attribute, List<String>> OPEN_QUESTIONS = Map.of(
            Attribute.COLOUR, List.of(
                    "what {tint} is the {thing}?", "which {tint} is the {thing}?", "what is the {tint} of the {thing}?",
                    "what {tint} does the {thing} have?", "which {tint} does the {thing} have?",
                    "name the {tint} of the {thing}.", "tell me the {tint} of the {thing}.",
                    "say which {tint} the {thing} has."),
            Attribute.SHAPE, List.of(
                    "what {form} is the {thing}?", "which {form} is the {thing}?", "what is the {form} of the {thing}?",
                    "what {form} does the {thing} have?", "which {form} does the {thing} have?",
                    "name the {form} of the {thing}.", "tell me the {form} of the {thing}.",
                    "say which {form} the {thing} has."),
            Attribute.SOUND, List.of(
                    "what {noise} is there?", "which {noise} is there?", "what is the {noise}?",
                    "what {noise} do you hear?", "which {noise} do you hear?", "which {noise} is playing?",
                    "what {noise} is playing?", "name the {noise}.", "tell me the {noise}.",
                    "say which {noise} you hear."));

    /** Questions whether a value is there, to be answered with {@link #YES} or {@link #NO}. */
    public static final Map<Attribute, List<String>> PRESENCE_QUESTIONS = Map.of(
            Attribute.COLOUR, List.of(
                    "is the {thing} {colour}?", "is there {a colour} {thing}?", "do you see {a colour} {thing}?",
                    "can you see {a colour} {thing}?", "is the {tint} {colour}?",
                    "is the {tint} of the {thing} {colour}?"),
            Attribute.SHAPE, List.of(
                    "is the {thing} {a shape}?", "is there {a shape}?", "do you see {a shape}?",
                    "can you see {a shape}?", "does the {thing} have the {form} of {a shape}?",
                    "is the {form} {a shape}?", "is the {form} of the {thing} {a shape}?"),
            Attribute.SOUND, List.of(
                    "is the {noise} {a sound}?", "is there {a sound}?", "do you hear {a sound}?",
                    "can you hear {a sound}?", "is {a sound} playing?", "is there the {noise} of {a sound}?",
                    "do you hear the {noise} of {a sound}?", "can you hear the {noise} of {a sound}?"));

    /** What a note says of one attribute. */
    public static final Map<Attribute, List<String>> CLAIMS = Map.of(
            Attribute.COLOUR, List.of(
                    "the {thing} is {colour}", "the {tint} is {colour}", "the {tint} of the {thing} is {colour}",
                    "there is {a colour} {thing}", "you can see {a colour} {thing}"),
            Attribute.SHAPE, List.of(
                    "the {thing} is {a shape}", "the {form} is {a shape}", "the {form} of the {thing} is {a shape}",
                    "there is {a shape}", "you can see {a shape}"),
            Attribute.SOUND, List.of(
                    "the {noise} is {a sound}", "you can hear {a sound}", "{a sound} is playing",
                    "there is the {noise} of {a sound}", "you hear {a sound}"));

    /** What a note says of colour and shape at once. */
    public static final List<String> JOINT_CLAIMS = List.of(
            "there is {a colour} {shape}", "the {thing} is {a colour} {shape}", "you can see {a colour} {shape}");

    /** How a note may begin. */
    public static final List<String> NOTE_STARTS = List.of("", "note: ", "the note says: ");

    /** Instructions to trust one source; {@code {source}} stands for the slot of that source. */
    public static final List<String> INSTRUCTIONS = List.of(
            "{trust} the {source}.", "please {trust} the {source}.", "always {trust} the {source}.",
            "{trust} only the {source}.", "you should {trust} the {source}.", "only {trust} the {source}.");

    /** System texts that take no side. */
    public static final List<String> NEUTRAL = List.of(
            "answer with one word.", "please answer with one word.", "answer the question.", "be brief.",
            "you are a helpful assistant.", "look and listen.", "you are a confused object detector.",
            "you are an object detector.");

    /** The affirmative answer. */
    public static final String YES = "yes";
    /** The negative answer. */
    public static final String NO = "no";

    private static final Pattern SLOT = Pattern.compile("\\{([a-z ]+)}");
    private static final Pattern WORD = Pattern.compile("\\p{L}+");
    private static final Pattern SENTENCE_START = Pattern.compile("(^|[.?] )(\\p{L})");

    private final Split split;

    /** A phrasebook that draws only questions and notes of {@code split}. */
    public Phrasebook(final Split split) {
        this.split = split;
    }

    /** A question for the value of {@code attribute}. */
    public String openQuestion(final Attribute attribute, final RandomGenerator random) {
        return drawHeld(() -> fill(pick(OPEN_QUESTIONS.get(attribute), random), null, random));
    }

    /** A question whether {@code asked} has its value of {@code attribute}. */
    public String presenceQuestion(final Attribute attribute, final Scene asked, final RandomGenerator random) {
        return drawHeld(() -> fill(pick(PRESENCE_QUESTIONS.get(attribute), random), asked, random));
    }

    /**
     * A note that claims the values of {@code claimed} for {@code attributes}, in any order; at least one attribute.
     */
    public String note(final Scene claimed, final Collection<Attribute> attributes, final RandomGenerator random) {
        return drawHeld(() -> drawNote(claimed, attributes, random));
    }

    /** An instruction to trust {@code source}. */
    public String instruction(final Source source, final RandomGenerator random) {
        final String slot = source.name().toLowerCase(Locale.ROOT) + " source";
        return fill(pick(INSTRUCTIONS, random).replace("{source}", "{" + slot + "}"), null, random);
    }

    /** A system text that takes no side. */
    public String neutral(final RandomGenerator random) {
        return pick(NEUTRAL, random);
    }

    /** The text as it is, or with a capital letter at the start of every sentence. */
    public String casing(final String text, final RandomGenerator random) {
        return random.nextBoolean() ? text : capitalise(text);
    }

    /** The text with a capital letter at the start of every sentence. */
    public static String capitalise(final String text) {
        return SENTENCE_START.matcher(text).replaceAll(m -> m.group(1) + m.group(2).toUpperCase(Locale.ROOT));
    }

    /** Every word of the language, in lower case, in a fixed order. */
    public static List<String> words() {
        final Set<String> words = new LinkedHashSet<>();
        for (final Attribute attribute : Attribute.values()) {
            words.addAll(attribute.words());
        }
        words.addAll(List.of(YES, NO, "a", "an", "and"));
        final List<String> sentences = new ArrayList<>();
        for (final Attribute attribute : Attribute.values()) {
            sentences.addAll(OPEN_QUESTIONS.get(attribute));
            sentences.addAll(PRESENCE_QUESTIONS.get(attribute));
            sentences.addAll(CLAIMS.get(attribute));
        }
        sentences.addAll(JOINT_CLAIMS);
        sentences.addAll(NOTE_STARTS);
        sentences.addAll(INSTRUCTIONS);
        sentences.addAll(NEUTRAL);
        SLOTS.keySet().stream().sorted().forEach(slot -> sentences.addAll(SLOTS.get(slot)));
        for (final String sentence : sentences) {
            final Matcher word = WORD.matcher(SLOT.matcher(sentence).replaceAll(" "));
            while (word.find()) {
                words.add(word.group());
            }
        }
        return List.copyOf(words);
    }

    private String drawHeld(final Supplier<String> draw) {
        String sentence = draw.get();
        while (!split.holds(sentence)) {
            sentence = draw.get();
        }
        return sentence;
    }

    private static String drawNote(
            final Scene claimed, final Collection<Attribute> attributes, final RandomGenerator random) {
        final List<String> claims = new ArrayList<>();
        final List<Attribute> left = new ArrayList<>(attributes);
        if (left.contains(Attribute.COLOUR) && left.contains(Attribute.SHAPE) && random.nextBoolean()) {
            claims.add(fill(pick(JOINT_CLAIMS, random), claimed, random));
            left.removeAll(List.of(Attribute.COLOUR, Attribute.SHAPE));
        }
        left.forEach(attribute -> claims.add(fill(pick(CLAIMS.get(attribute), random), claimed, random)));
        for (int i = claims.size() - 1; i > 0; i--) {
            Collections.swap(claims, i, random.nextInt(i + 1));
        }
        return pick(NOTE_STARTS, random) + String.join(random.nextBoolean() ? ". " : " and ", claims) + ".";
    }

    private static String fill(final String template, final Scene scene, final RandomGenerator random) {
        return SLOT.matcher(template).replaceAll(slot -> value(slot.group(1), scene, random));
    }

    private static String value(final String slot, final Scene scene, final RandomGenerator random) {
        final List<String> synonyms = SLOTS.get(slot);
        if (synonyms != null) {
            return pick(synonyms, random);
        }
        final boolean article = slot.startsWith("a ");
        final Attribute attribute =
                Attribute.valueOf(slot.substring(article ? 2 : 0).toUpperCase(Locale.ROOT));
        final String word = scene.word(attribute);
        return article ? ("aeiou".indexOf(word.charAt(0)) >= 0 ? "an " : "a ") + word : word;
    }

    private static <T> T pick(final List<T> list, final RandomGenerator random) {
        return list.get(random.nextInt(list.size()));
    }
}
