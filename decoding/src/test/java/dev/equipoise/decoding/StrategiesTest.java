package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.steering.edit.AttentionEdit;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class StrategiesTest {
    static Stream<String> names() {
        return Stream.concat(Strategies.names().stream(), Strategies.forOptions().stream());
    }

    @ParameterizedTest
    @MethodSource("names")
    void everyPresetIsNamedSourcedAndGoesRound(final String name) {
        final Strategy preset = Strategies.named(name);
        assertEquals(name, preset.name());
        final Source source = preset.source().orElseThrow();
        assertFalse(source.paper().isBlank() || source.exact().isBlank() || source.defaults().isBlank());
        // A published method is never claimed without saying what of it is not known.
        assertTrue(preset.contrast().isEmpty() || !source.unknown().isBlank());
        final Strategy again = Strategies.parse(preset.toJson(), "round");
        assertEquals(preset, again);
        assertEquals(preset.fingerprint(), again.fingerprint());
        assertEquals(preset.toJson(), again.toJson());
    }

    @Test
    void presetsHaveThePublishedValues() {
        final Map<String, Contrast> published = Map.of(
                "plausibility-only", new Contrast.Plausibility(0.1),
                "vcd", new Contrast.Vcd(1, 0.1, 500, Optional.empty()),
                "icd", new Contrast.Icd(1, 0.1, ContrastJson.INSTRUCTION),
                "m3id", new Contrast.M3id(0.02, 0.1, 10, Modality.IMAGE),
                "cad", new Contrast.Cad(1, 0, Optional.empty()));
        published.forEach((name, contrast) ->
                assertEquals(contrast, Strategies.named(name).contrast().orElseThrow(), name));
        assertTrue(Strategies.named("greedy").contrast().isEmpty());
    }

    @Test
    void theListNamesEveryPresetInTheJar() throws IOException, URISyntaxException {
        final Path folder =
                Path.of(Strategies.class.getResource("presets/greedy.json").toURI()).getParent();
        try (Stream<Path> files = Files.list(folder)) {
            final TreeSet<String> listed = new TreeSet<>(Strategies.names());
            listed.addAll(Strategies.incomplete());
            listed.addAll(Strategies.forOptions());
            assertEquals(
                    listed,
                    files.map(file -> file.getFileName().toString().replace(".json", ""))
                            .collect(Collectors.toCollection(TreeSet::new)));
        }
    }

    @Test
    void otherNamesAreRefused() {
        final BadInputException unknown = assertThrows(BadInputException.class, () -> Strategies.find("vcdd"));
        assertTrue(unknown.what().contains("unknown") && unknown.remedy().contains("m3id"), unknown.getMessage());
        final BadInputException later = assertThrows(BadInputException.class, () -> Strategies.find("avcd"));
        assertTrue(later.what().contains("not supported in this version"), later.getMessage());
        final BadInputException own = assertThrows(BadInputException.class, () -> Strategies.find("cast"));
        assertTrue(own.remedy().contains("when"), own.getMessage());
        assertThrows(BadInputException.class, () -> Strategies.named("../presets/vcd"));
    }

    @Test
    void whatAPresetLacksStandsBehindAColon() {
        final BadInputException lacking = assertThrows(BadInputException.class, () -> Strategies.find("vti"));
        assertTrue(lacking.what().contains("vector") && lacking.remedy().contains("vti:FILE"), lacking.getMessage());
        final BadInputException missing =
                assertThrows(BadInputException.class, () -> Strategies.find("vti:no\"such.gguf"));
        assertTrue(missing.where().contains("no\"such.gguf"), missing.getMessage());
        final Strategy var = Strategies.find("var:1415,2533");
        assertEquals("var", var.name());
        assertEquals(var, Strategies.parse(var.toJson(), "round"));
        final AttentionEdit.Var edit = (AttentionEdit.Var) var.edits().getFirst();
        assertEquals(List.of(1415, 2533), edit.sinkDimensions());
        assertEquals(30, edit.layers().resolve(32).last());
        assertThrows(BadInputException.class, () -> Strategies.find("var:many"));
        assertTrue(Strategies.find("zero-scale:var:1415,2533").edits().isEmpty());
    }
}
