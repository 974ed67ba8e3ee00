package dev.equipoise.decoding;

import dev.equipoise.runtime.Modality;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.stream.IntStream;

/** Ways of wording a request that have a name. The wordings are ours; the papers' were not seen. */
enum PromptMethod {
    /** First lists the facts in media, then reasons over them as text (Compose and Fuse, arXiv 2509.23744). */
    RECOGNISE_THEN_REASON,
    /** Warns that sources may conflict (after DCD, arXiv 2410.03659). */
    REMINDER,
    /** Shows the answers that media alone and words alone give, and asks to choose (after DCD). */
    ANSWER_PROMPT,
    /** Asks to check the picture first (after MMMC, arXiv 2507.07151). */
    CHECK_FIRST,
    /** Says which source counts. */
    MODALITY_INSTRUCTION,
    /** Asks for several answers with probabilities and draws one (Verbalized Sampling, arXiv 2510.01171). */
    VERBALISED_SAMPLING;

    /** How answers are asked for that are written down with their probabilities. */
    enum Variant {
        /** All at once. */
        STANDARD,
        /** All at once, after some reasoning. */
        COT,
        /** In batches, each asked for in the next turn of one conversation. */
        MULTI;

        /** The name in strategy files. */
        String label() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /**
     * What answers are asked for.
     *
     * @param responses how many, in each batch
     * @param below only answers less likely than this, 0..1; empty: any
     * @param batches how many, 1 unless the variant has several
     * @param maxTokens most tokens of each batch but the last
     */
    record Verbalising(Variant variant, int responses, OptionalDouble below, int batches, int maxTokens) {
        /** Where nothing is written down. */
        static final Verbalising NONE = new Verbalising(Variant.STANDARD, 0, OptionalDouble.empty(), 1, 0);

        private String ask() {
            return "Give " + responses + " possible answers, each with its probability, its empirical likelihood from "
                    + "0 to 1" + (below.isPresent() ? " and below " + below.getAsDouble() : "") + ", as JSON: {"
                    + (variant == Variant.COT ? "\"reasoning\": \"...\", " : "")
                    + "\"responses\": [{\"text\": \"...\", \"probability\": "
                    + (below.isPresent() ? below.getAsDouble() / 2 : 0.5) + "}]}";
        }

        // What asks for a batch, the first of number 1.
        private String batch(final int number) {
            return number == 1 ? "{question}\n" + ask() : "Give " + responses + " further answers in the same form.";
        }

        // Which batch the model has just given when it is asked for that one.
        private Optional<String> before(final int number) {
            return number == 1 ? Optional.empty() : Optional.of(name(number - 1));
        }

        private static String name(final int number) {
            return "batch_" + number;
        }
    }

    private static final int FACT_TOKENS = 128;
    private static final int ANSWER_TOKENS = 32;
    private static final Set<Modality> MEDIA = EnumSet.of(Modality.IMAGE, Modality.AUDIO);

    /** The name in strategy files. */
    String label() {
        return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    static List<String> labels() {
        return Arrays.stream(values()).map(PromptMethod::label).toList();
    }

    static PromptMethod labelled(final String label) {
        return valueOf(label.toUpperCase(Locale.ROOT).replace('-', '_'));
    }

    boolean takesModality() {
        return this == MODALITY_INSTRUCTION;
    }

    /** What is asked before. */
    List<Pass> passes(final Verbalising verbalising) {
        return switch (this) {
            case VERBALISED_SAMPLING -> IntStream.range(1, verbalising.batches())
                    .<Pass>mapToObj(number -> new Pass.Generate(
                            Verbalising.name(number),
                            verbalising.batch(number),
                            Set.of(),
                            verbalising.maxTokens(),
                            verbalising.before(number)))
                    .toList();
            case RECOGNISE_THEN_REASON -> List.of(new Pass.Generate(
                    "facts",
                    "List the facts that the picture and the sound contain.",
                    Set.of(Modality.CONTEXT),
                    FACT_TOKENS));
            case ANSWER_PROMPT -> List.of(
                    new Pass.Generate("perceived", "{question}", Set.of(Modality.CONTEXT), ANSWER_TOKENS),
                    new Pass.Generate("told", "{question}", MEDIA, ANSWER_TOKENS));
            default -> List.of();
        };
    }

    /**
     * The wording.
     *
     * @param modality the source that counts, where that is asked
     * @param verbalising which answers are written down, where that is asked
     */
    Prompting prompting(final Modality modality, final Verbalising verbalising) {
        return switch (this) {
            case RECOGNISE_THEN_REASON -> new Prompting(
                    MEDIA,
                    Optional.empty(),
                    Optional.of("What was recognised: {facts}\nReason over it.\n{question}"),
                    0);
            case REMINDER -> text("What you see or hear and what you know or were told may contradict each other. "
                    + "Mind that before you answer.\n{question}");
            case ANSWER_PROMPT -> text("{question}\nFrom what is seen and heard the answer would be: {perceived}\n"
                    + "From what is known and told it would be: {told}\nWhich one is right?");
            case CHECK_FIRST -> text("First check whether the picture shows what the question mentions.\n{question}");
            case MODALITY_INSTRUCTION -> text("Answer from the " + Variation.thing(modality) + " alone.\n{question}");
            case VERBALISED_SAMPLING -> new Prompting(
                    Set.of(),
                    Optional.empty(),
                    Optional.of(verbalising.batch(verbalising.batches())),
                    verbalising.responses(),
                    IntStream.range(1, verbalising.batches()).mapToObj(Verbalising::name).toList(),
                    verbalising.before(verbalising.batches()));
        };
    }

    private static Prompting text(final String words) {
        return new Prompting(Set.of(), Optional.empty(), Optional.of(words), 0);
    }
}
