package dev.equipoise.bench.cli;

import dev.equipoise.decoding.Strategy;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.FileErrors;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.Sampling;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import picocli.CommandLine.Option;

/** How tokens are drawn and when to stop; what is given overrides the strategy's sampling. */
final class SamplingMixin {
    @Option(
            names = "--max-tokens",
            paramLabel = "N",
            description = "Generate at most so many tokens (default: " + Limits.DEFAULT_MAX_TOKENS + ").")
    private int maxTokens = Limits.DEFAULT_MAX_TOKENS;

    @Option(names = "--stop", paramLabel = "TEXT", description = "End before this text; may be repeated.")
    private List<String> stop = List.of();

    @Option(names = "--temperature", paramLabel = "X", description = "0 takes the best token.")
    private Double temperature;

    @Option(names = "--top-k", paramLabel = "N", description = "Keep the best N tokens; 0 keeps all.")
    private Integer topK;

    @Option(names = "--top-p", paramLabel = "X", description = "Keep the smallest set with this mass.")
    private Double topP;

    @Option(names = "--min-p", paramLabel = "X", description = "Drop below this share of the best probability.")
    private Double minP;

    @Option(names = "--repeat-penalty", paramLabel = "X", description = "Divide the logits of recent tokens.")
    private Double repeatPenalty;

    @Option(
            names = "--frequency-penalty",
            paramLabel = "X",
            description = "Take this from the logits of recent tokens for each time they occur.")
    private Double frequencyPenalty;

    @Option(
            names = "--presence-penalty",
            paramLabel = "X",
            description = "Take this from the logits of recent tokens once.")
    private Double presencePenalty;

    @Option(names = "--seed", paramLabel = "N", description = "Seed of the draw, and of noise without its own.")
    private Long seed;

    @Option(names = "--grammar", paramLabel = "FILE", description = "GBNF grammar that the answer must follow.")
    private Path grammar;

    /** When to stop. */
    Limits limits() {
        return UsageException.of(() -> new Limits(maxTokens, stop));
    }

    /** The strategy with what is given here. */
    Strategy applyTo(final Strategy strategy) {
        final Sampling own = strategy.sampling();
        final Optional<String> rules = grammar == null ? own.grammar() : Optional.of(text(grammar));
        return strategy.withSampling(UsageException.of(() -> new Sampling(
                temperature == null ? own.temperature() : temperature,
                topK == null ? own.topK() : topK,
                topP == null ? own.topP() : topP,
                minP == null ? own.minP() : minP,
                repeatPenalty == null ? own.repeatPenalty() : repeatPenalty,
                own.repeatWindow(),
                frequencyPenalty == null ? own.frequencyPenalty() : frequencyPenalty,
                presencePenalty == null ? own.presencePenalty() : presencePenalty,
                seed == null ? own.seed() : seed,
                rules,
                own.bias())));
    }

    private static String text(final Path file) {
        final ByteBuffer bytes = ByteBuffer.wrap(FileErrors.read(file, "name a GBNF file"));
        try {
            final String rules = StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
            if (rules.isBlank()) {
                throw new BadInputException("empty grammar", file.toString(), "write a GBNF rule called root");
            }
            return rules;
        } catch (final CharacterCodingException e) {
            throw new BadInputException("grammar that is not valid UTF-8", file.toString(), "save it as UTF-8", e);
        }
    }
}
