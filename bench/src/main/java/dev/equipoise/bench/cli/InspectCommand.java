package dev.equipoise.bench.cli;

import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.gguf.GgufModelCheck;
import dev.equipoise.runtime.gguf.GgufTensor;
import dev.equipoise.runtime.gguf.GgufValue;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Parameters;

/** Shows and checks a GGUF file. */
@Command(name = "inspect", description = "Header, metadata and tensors of a GGUF file, checked without loading it.")
final class InspectCommand extends CliCommand {
    private static final int SHOWN_ELEMENTS = 5;
    private static final int SHOWN_CHARACTERS = 80;
    private static final String TEMPLATE = "tokenizer.chat_template";

    @Parameters(paramLabel = "FILE.gguf", description = "A text model or an mmproj file.")
    private Path path;

    @Override
    protected void run() {
        final GgufFile file = GgufFile.read(path);
        if (file.architecture().equals("clip")) {
            GgufModelCheck.mmproj(file);
        } else {
            GgufModelCheck.text(file);
        }
        if (json()) {
            JsonDocument.print(out(), json -> json.put("version", file.version())
                    .put("architecture", file.architecture())
                    .object("metadata", metadata ->
                            file.metadata().forEach((key, value) -> metadata.putPlain(key, value.plain())))
                    .objects("tensors", file.tensors(), (entry, tensor) -> entry.put("name", tensor.name())
                            .put("type", tensor.type().name())
                            .put("shape", tensor.shape())
                            .put("offset", tensor.offset()))
                    .put("parameters", file.parameters()));
        } else {
            describe(file);
        }
    }

    private void describe(final GgufFile file) {
        out().printf(
                Locale.ROOT,
                "GGUF version %d, architecture %s, %d tensors, %,d parameters%n",
                file.version(),
                file.architecture(),
                file.tensors().size(),
                file.parameters());
        out().println("metadata");
        file.metadata().forEach((key, value) -> {
            if (!key.equals(TEMPLATE)) {
                out().println("  " + Terminal.plain(key) + " = " + shortened(value));
            }
        });
        out().println("chat template");
        out().println(file.has(TEMPLATE)
                ? file.string(TEMPLATE)
                        .lines()
                        .map(line -> "  " + Terminal.plain(line))
                        .collect(Collectors.joining("\n"))
                : "  none: the parts of a prompt follow each other");
        out().println("tensors");
        for (final GgufTensor tensor : file.tensors()) {
            out().printf(
                    Locale.ROOT,
                    "  %-40s %-8s %-24s at %d%n",
                    Terminal.plain(tensor.name()),
                    tensor.type(),
                    Arrays.stream(tensor.shape()).mapToObj(String::valueOf).collect(Collectors.joining(" x ")),
                    tensor.offset());
        }
    }

    private static String shortened(final GgufValue value) {
        if (value instanceof GgufValue.Array array && value.plain() instanceof List<?> all) {
            final String first = all.stream()
                    .limit(SHOWN_ELEMENTS)
                    .map(String::valueOf)
                    .map(Terminal::plain)
                    .collect(Collectors.joining(", "));
            return "[" + first + (array.size() > SHOWN_ELEMENTS ? ", ... " + array.size() + " in all" : "") + "]";
        }
        final String text = Terminal.plain(String.valueOf(value.plain()));
        return text.length() <= SHOWN_CHARACTERS ? text : text.substring(0, SHOWN_CHARACTERS) + "...";
    }
}
