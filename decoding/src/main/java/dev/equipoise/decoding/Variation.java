package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.Range;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Compression;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Part;
import dev.equipoise.runtime.PixelNoise;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.steering.edit.Edit;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/**
 * How a branch differs from the base. Applied in the order of the components: first parts are left out, then pictures
 * are changed and, preprocessed, noised, then steered in the encoder, then compressed, then words are replaced; silence
 * and other edits act while the branch is decoded, after the edits of all branches.
 *
 * @param without modalities that the branch lacks; the prompt must have each of them
 * @param only of pictures, sounds and notes those that the branch keeps; the prompt must have another one
 * @param picture what pictures become before they are preprocessed
 * @param noise diffusion of every picture
 * @param words texts in place of those of the modality; added where the prompt has none
 * @param silence modalities whose input embeddings are zero; the branch must have each of them
 * @param edits what acts inside the network on this branch alone
 * @param tokens which tokens the branch does not see; its columns must be the base's, so that nothing is left out and
 *     no words are replaced
 * @param compression what is left out of the branch's pictures, in place of what the strategy leaves out of all
 */
public record Variation(
        Set<Modality> without,
        Optional<Set<Modality>> only,
        Optional<PictureChange> picture,
        Optional<Noise> noise,
        Map<Modality, String> words,
        Set<Modality> silence,
        List<Edit> edits,
        Optional<TokenChoice> tokens,
        Optional<Compression> compression) {
    /** What {@code only} chooses from: what is handed over as evidence. */
    public static final Set<Modality> EVIDENCE =
            Collections.unmodifiableSet(EnumSet.of(Modality.IMAGE, Modality.AUDIO, Modality.CONTEXT));
    /** No difference. */
    public static final Variation NONE =
            new Variation(Set.of(), Optional.empty(), Optional.empty(), Map.of(), Set.of(), List.of());

    /**
     * Noise on pictures.
     *
     * @param step step of the diffusion schedule, 0..999
     * @param seed empty takes the request's
     */
    public record Noise(int step, Optional<Long> seed) {
        /** Allowed steps. */
        public static final Range STEP = Range.of(0, PixelNoise.MAX_STEP);

        public Noise {
            STEP.require("noise.step", step);
            Objects.requireNonNull(seed);
        }
    }

    public Variation {
        Objects.requireNonNull(compression);
        without = copy(without);
        only = only.map(Variation::copy);
        Objects.requireNonNull(picture);
        Objects.requireNonNull(noise);
        words = words.isEmpty() ? Map.of() : Collections.unmodifiableMap(new EnumMap<>(words));
        silence = copy(silence);
        edits = List.copyOf(edits);
        Objects.requireNonNull(tokens);
        if (tokens.isPresent() && !(without.isEmpty() && only.isEmpty() && words.isEmpty() && compression.isEmpty())) {
            throw new BadInputException(
                    "a choice of tokens on a branch that reads another prompt",
                    "contrast.branches",
                    "leave nothing out and replace no words beside tokens");
        }
        if (tokens.isPresent() && picture.filter(PictureChange::resizes).isPresent()) {
            throw new BadInputException(
                    "a choice of tokens on a branch whose pictures may have another size",
                    "contrast.branches",
                    "leave crop out of what is drawn, or tokens");
        }
        if (words.containsKey(Modality.IMAGE) || words.containsKey(Modality.AUDIO)) {
            throw new BadInputException(
                    "words in place of a medium", "contrast.branches", "leave it out and add a note");
        }
        if (only.isPresent() && !EVIDENCE.containsAll(only.get())) {
            throw new BadInputException(
                    "only chooses among image, audio and context", "contrast.branches", "use without");
        }
    }

    /** A branch that sees all its tokens, and all of its pictures. */
    public Variation(
            final Set<Modality> without,
            final Optional<Set<Modality>> only,
            final Optional<Noise> noise,
            final Map<Modality, String> words,
            final Set<Modality> silence,
            final List<Edit> edits) {
        this(
                without, only, Optional.empty(), noise, words, silence, edits, Optional.empty(), Optional.empty());
    }

    static Set<Modality> copy(final Set<Modality> modalities) {
        return modalities.isEmpty() ? Set.of() : Collections.unmodifiableSet(EnumSet.copyOf(modalities));
    }

    /** A branch that lacks one modality. */
    static Variation lacking(final Modality modality) {
        return new Variation(
                EnumSet.of(modality), Optional.empty(), Optional.empty(), Map.of(), Set.of(), List.of());
    }

    /** A branch with other words. */
    static Variation saying(final Modality modality, final String words) {
        return new Variation(
                Set.of(), Optional.empty(), Optional.empty(), Map.of(modality, words), Set.of(), List.of());
    }

    /** A branch with noised pictures. */
    static Variation noised(final Noise noise) {
        return new Variation(
                Set.of(), Optional.empty(), Optional.of(noise), Map.of(), Set.of(), List.of());
    }

    /** This variation without edits that change nothing. */
    Variation resolved() {
        return withEdits(edits.stream().filter(edit -> !edit.isIdle()).toList());
    }

    /** This variation with other edits. */
    Variation withEdits(final List<Edit> others) {
        return new Variation(without, only, picture, noise, words, silence, others, tokens, compression);
    }

    /**
     * What the branch reads.
     *
     * @param where whose branch, for messages
     * @param seed seed of a noise, or of a draw, that has none of its own
     * @param found texts of passes, by name
     * @throws BadInputException when that is what the base reads, although it was to differ
     */
    Prompt apply(final Prompt base, final String where, final long seed, final Map<String, String> found) {
        Prompt prompt = base;
        for (final Modality modality : left(base, where)) {
            requirePart(modality, prompt, where);
            prompt = prompt.without(modality);
            if (prompt.parts().isEmpty()) {
                throw new BadInputException(
                        "the branch without " + modality.label() + " has nothing to read", where, "add a question");
            }
        }
        if (picture.isPresent()) {
            requirePart(Modality.IMAGE, prompt, where);
            prompt = picture.get().apply(prompt, where, seed);
        }
        if (noise.isPresent()) {
            requirePart(Modality.IMAGE, prompt, where);
            prompt = prompt.withPixelNoise(new PixelNoise(noise.get().step(), noise.get().seed().orElse(seed)));
        }
        if (compression.isPresent()) {
            requirePart(Modality.IMAGE, prompt, where);
            prompt = prompt.withCompression(compression.get());
        }
        prompt = Lowering.steered(prompt, edits, where);
        for (final Map.Entry<Modality, String> entry : words.entrySet()) {
            prompt = say(prompt, entry.getKey(), fill(entry.getValue(), base, found)).answered(base.answer());
        }
        for (final Modality modality : silence) {
            requirePart(modality, prompt, where);
        }
        for (final Modality modality : tokens.map(TokenChoice::needs).orElse(Set.of())) {
            requirePart(modality, prompt, where);
        }
        if (prompt.equals(base) && picture.isEmpty() && silence.isEmpty() && edits.isEmpty() && tokens.isEmpty()) {
            throw new BadInputException(
                    "nothing to contrast: the disturbed instruction is the prompt's own",
                    where,
                    "give another instruction or another system text");
        }
        return prompt;
    }

    private Set<Modality> left(final Prompt base, final String where) {
        final Set<Modality> left = EnumSet.noneOf(Modality.class);
        left.addAll(without);
        if (only.isPresent()) {
            final Set<Modality> other = EnumSet.copyOf(EVIDENCE);
            other.removeAll(only.get());
            other.retainAll(base.modalities());
            if (other.isEmpty()) {
                throw new BadInputException(
                        "nothing to contrast: the prompt has nothing else than the branch keeps",
                        where,
                        "add a picture, a sound or a note, or choose a strategy that needs none");
            }
            left.addAll(other);
        }
        return left;
    }

    private static void requirePart(final Modality modality, final Prompt prompt, final String where) {
        if (!prompt.modalities().contains(modality)) {
            throw new BadInputException(
                    "nothing to contrast: the prompt has no " + thing(modality),
                    where,
                    "add a " + thing(modality) + ", or choose a strategy that needs none");
        }
    }

    static String thing(final Modality modality) {
        return switch (modality) {
            case SYSTEM -> "system text";
            case TEXT -> "text";
            case IMAGE -> "picture";
            case AUDIO -> "sound";
            case CONTEXT -> "note";
        };
    }

    /** A text with the question of {@code request}, and what passes found, filled in. */
    static String fill(final String text, final Prompt request, final Map<String, String> found) {
        final Map<String, String> values = new HashMap<>(found);
        values.put(Template.QUESTION, Pass.question(request));
        return Template.fill(text, values);
    }

    /**
     * A prompt with other words of a modality: where the first of them stood; without any, a system text first, a note
     * before the media, the user's words last. Blank words leave the modality out. The user's words are those of the
     * last turn. An answer that was begun to others is yet to begin.
     */
    static Prompt say(final Prompt prompt, final Modality modality, final String text) {
        final int earlier = modality == Modality.TEXT ? prompt.earlier() : 0;
        if (earlier > 0) {
            final List<Part> turns = new ArrayList<>(prompt.parts().subList(0, earlier));
            final Prompt last = new Prompt(prompt.parts().subList(earlier, prompt.parts().size()));
            turns.addAll(say(last, modality, text).parts());
            return new Prompt(turns);
        }
        final List<Part> parts = new ArrayList<>(prompt.without(modality).parts());
        if (text.isBlank()) {
            return new Prompt(parts);
        }
        int place = 0;
        while (place < prompt.parts().size()
                && !(prompt.modalities().contains(modality)
                        ? prompt.parts().get(place).modality() == modality
                        : comesAfter(prompt.parts().get(place).modality(), modality))) {
            place++;
        }
        parts.add(place, new Part.Words(modality, text));
        return new Prompt(parts);
    }

    private static boolean comesAfter(final Modality other, final Modality modality) {
        return switch (modality) {
            case SYSTEM -> true;
            case CONTEXT -> other != Modality.SYSTEM;
            default -> false;
        };
    }
}
