package dev.equipoise.bench.speed;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Audio;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.Prompt;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * Prompts without meaning but of a known length: words of the model's own vocabulary that are one token each, and noise
 * for pictures and sounds. Equal seeds give equal prompts.
 */
final class BenchPrompts {
    private static final Pattern WORD = Pattern.compile(" ?\\p{L}{2,}");
    private static final int WORDS = 64;
    private static final int TRIES = 20_000;
    private static final int PICTURE_SIDE = 224;

    private final Model model;
    private final List<String> words;
    private final int tokens;
    private final long seed;

    private BenchPrompts(final Model model, final List<String> words, final int tokens, final long seed) {
        this.model = model;
        this.words = words;
        this.tokens = tokens;
        this.seed = seed;
    }

    /**
     * Prompts for a model.
     *
     * @param tokens words, at least 2
     * @throws BadInputException if the vocabulary has no words
     */
    static BenchPrompts of(final Model model, final int tokens, final long seed) {
        final Random random = new Random(seed);
        final List<String> words = new ArrayList<>();
        for (int i = 0; i < TRIES && words.size() < WORDS; i++) {
            final String text = model.text(List.of(random.nextInt(model.info().vocabulary())));
            if (WORD.matcher(text).matches()) {
                final String word = " " + text.strip();
                if (model.tokenize(word, false).length == 1 && !words.contains(word)) {
                    words.add(word);
                }
            }
        }
        if (words.size() < 2) {
            throw new BadInputException(
                    "vocabulary without words to make a prompt of",
                    model.file().toString(),
                    "measure with a model whose tokens are words");
        }
        return new BenchPrompts(model, words, tokens, seed);
    }

    /** What {@link #full} consists of. */
    Set<Modality> modalities() {
        final Set<Modality> present = EnumSet.of(Modality.CONTEXT, Modality.TEXT);
        if (model.info().vision()) {
            present.add(Modality.IMAGE);
        }
        if (model.info().audio()) {
            present.add(Modality.AUDIO);
        }
        return present;
    }

    /**
     * A note, a picture and a sound if the model takes them, and a question.
     *
     * @param medium tells media apart: the encodings of a medium that was seen before are not computed again
     */
    Prompt full(final long medium) {
        final Random random = new Random(seed);
        final Prompt.Builder builder = Prompt.builder().context(text(random, tokens / 2));
        final Random noise = new Random(seed ^ medium * 0x9E37_79B9_7F4A_7C15L);
        if (model.info().vision()) {
            final byte[] pixels = new byte[PICTURE_SIDE * PICTURE_SIDE * 3];
            noise.nextBytes(pixels);
            builder.image(Image.rgb(PICTURE_SIDE, PICTURE_SIDE, pixels));
        }
        if (model.info().audio()) {
            final float[] second = new float[model.info().audioSampleRate()];
            for (int i = 0; i < second.length; i++) {
                second[i] = noise.nextFloat() - 0.5f;
            }
            builder.audio(Audio.pcm(second));
        }
        return builder.text(text(random, tokens - tokens / 2)).build();
    }

    /**
     * Words alone.
     *
     * @param ending which word comes last: two endings give two prompts that differ in nothing else
     */
    Prompt words(final int ending) {
        final String last = words.get(ending % words.size());
        return Prompt.builder().text(text(new Random(seed), tokens - 1) + last).build();
    }

    /** Words alone: these, then all of another's. */
    Prompt followedBy(final BenchPrompts other) {
        final String text = text(new Random(seed), tokens) + other.text(new Random(other.seed), other.tokens);
        return Prompt.builder().text(text).build();
    }

    private String text(final Random random, final int count) {
        final StringBuilder text = new StringBuilder();
        for (int i = 0; i < count; i++) {
            text.append(words.get(random.nextInt(words.size())));
        }
        return text.toString();
    }
}
