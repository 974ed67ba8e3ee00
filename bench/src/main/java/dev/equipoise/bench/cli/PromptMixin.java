package dev.equipoise.bench.cli;

import dev.equipoise.runtime.Audio;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Prompt;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Option;

/** What the model is asked. */
final class PromptMixin {
    @Option(names = "--prompt", paramLabel = "TEXT", required = true, description = "The question.")
    private String prompt;

    @Option(names = "--system", paramLabel = "TEXT", description = "The system text.")
    private String system;

    @Option(names = "--context", paramLabel = "TEXT", description = "A note handed over as evidence.")
    private String context;

    // A group, because only groups keep the order of different options.
    @ArgGroup(multiplicity = "0..*")
    private List<Medium> media = new ArrayList<>();

    /** One picture or sound. */
    static final class Medium {
        @Option(names = "--image", paramLabel = "FILE", required = true, description = "A picture; may be repeated.")
        private Path image;

        @Option(names = "--audio", paramLabel = "FILE", required = true, description = "A sound; may be repeated.")
        private Path audio;
    }

    /** The prompt, its media read, in the order of their options. */
    Prompt prompt() {
        final Prompt.Builder builder = Prompt.builder();
        if (system != null) {
            builder.system(system);
        }
        if (context != null) {
            builder.context(context);
        }
        for (final Medium medium : media) {
            if (medium.image != null) {
                builder.image(Image.read(medium.image));
            } else {
                builder.audio(Audio.read(medium.audio));
            }
        }
        return builder.text(prompt).build();
    }
}
