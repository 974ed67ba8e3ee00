package dev.equipoise.runtime.tiny;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.gguf.GgufModelCheck;
import dev.equipoise.runtime.gguf.GgufTensor;
import dev.equipoise.runtime.gguf.GgufWriter;
import dev.equipoise.runtime.gguf.TextModel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;

/** Every supported architecture has a tiny model, which passes whole and with no tensor less. */
class TinyArchitecturesTest {
    static final List<String> ARCHITECTURES = TinyArchitectures.NAMES;

    @TempDir
    Path directory;

    @Test
    void noneIsMissing() {
        final List<String> supported = new ArrayList<>();
        GgufModelCheck.supported().forEach(supported::add);

        assertEquals(TinyArchitectures.NAMES.stream().sorted().toList(), supported);
    }

    @ParameterizedTest
    @FieldSource("ARCHITECTURES")
    void theWholeModelPassesWithEitherTokenizer(final String name) {
        for (final boolean sentencePiece : new boolean[] {false, true}) {
            final GgufFile file = GgufFile.read(
                    TinyArchitectures.write(directory.resolve("model.gguf"), name, 1, sentencePiece));
            final TextModel model = GgufModelCheck.text(file);

            assertEquals(name, model.architecture());
            assertEquals(sentencePiece ? 265 : 280, model.vocabulary());
            assertEquals(name.endsWith("moe") ? 4 : 0, model.experts());
        }
    }

    @ParameterizedTest
    @FieldSource("ARCHITECTURES")
    void noTensorCanBeLeftOut(final String name) {
        final GgufFile file = GgufFile.read(TinyArchitectures.write(directory.resolve("model.gguf"), name, 1));
        for (final GgufTensor left : file.tensors()) {
            final boolean optional = left.name().endsWith(".bias")
                    || left.name().equals("output.weight") && !name.equals("qwen2moe");
            final GgufWriter writer = new GgufWriter().putAll(file.metadata());
            file.tensors().stream().filter(tensor -> tensor != left).forEach(
                    tensor -> writer.tensor(tensor.name(), tensor.type(), tensor.shape(), file.floats(tensor)));
            final Path path = directory.resolve("less.gguf");
            writer.write(path);
            final GgufFile less = GgufFile.read(path);
            if (optional) {
                GgufModelCheck.text(less);
            } else {
                assertThrows(BadInputException.class, () -> GgufModelCheck.text(less), left.name());
            }
        }
    }
}
