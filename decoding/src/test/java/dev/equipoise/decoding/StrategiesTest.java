package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Compression.Saliency;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.intervention.Intervention.Divergence;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.steering.edit.AttentionEdit;
import dev.equipoise.steering.edit.ExitEdit;
import dev.equipoise.steering.edit.SteeringEdit;
import dev.equipoise.steering.vector.ControlVectorFile;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

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
        final BadInputException own = assertThrows(BadInputException.class, () -> Strategies.find("cast"));
        assertTrue(own.remedy().contains("cast:CONDITION"), own.getMessage());
        final BadInputException seed =
                assertThrows(BadInputException.class, () -> Strategies.find("random-vector:x:caa"));
        assertTrue(seed.remedy().contains("random-vector:SEED:STRATEGY"), seed.getMessage());
        assertThrows(BadInputException.class, () -> Strategies.named("../presets/vcd"));
    }

    @ParameterizedTest
    @CsvSource({
        "ibd, ibd-style", "code, code-style", "mosear, reallocate-style", "halc, docs/strategies.md",
        "random-vector, random-vector:SEED", "repe, repeng:FILE", "compress, compress-cls"
    })
    void namesThatPeopleLookForSayWhatToDo(final String name, final String cure) {
        final BadInputException refused = assertThrows(BadInputException.class, () -> Strategies.find(name));
        assertTrue(refused.remedy().contains(cure), refused.getMessage());
        final BadInputException method = assertThrows(
                BadInputException.class, () -> Strategies.parse("{\"contrast\":{\"method\":\"" + name + "\"}}", "s"));
        assertTrue(method.remedy().contains(cure), method.getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"avcd", "sid", "dola-high", "caa", "dcd"})
    void aPresetIsNoMethodOfAContrast(final String name) {
        final BadInputException refused = assertThrows(
                BadInputException.class, () -> Strategies.parse("{\"contrast\":{\"method\":\"" + name + "\"}}", "s"));
        assertTrue(refused.remedy().contains("name "), refused.getMessage());
    }

    /** Where a paper and its code differ, or a paper has several settings, each has a name. */
    @Test
    void publishedVariantsDifferAsTheyDo() {
        assertEquals(2.5, alpha("avcd-avhbench"));
        assertEquals(0.5, alpha("avcd"));
        assertEquals(List.of(1.0, 0.1), List.of(alpha("sid"), linear("sid").beta()));
        assertEquals(List.of(0.5, 0.0), List.of(alpha("sid-code"), linear("sid-code").beta()));
        assertEquals(List.of(1.0, 2.5), List.of(alpha("avisc"), alpha("avisc-generative")));
        assertEquals(
                new Contrast.Cad(0.5, 0, Optional.empty()),
                Strategies.named("cad-summary").contrast().orElseThrow());
        assertEquals(OptionalDouble.empty(), linear("avcd").cutOffValue());
        assertEquals(OptionalDouble.of(-1e-4), linear("avcd-code").cutOffValue());
        assertEquals(List.of(0.1, 0.2), List.of(linear("avcd").beta(), linear("avcd-code").beta()));
        for (final String name : List.of("avcd", "avcd-code")) {
            final boolean code = name.equals("avcd-code");
            linear(name).branches().values().forEach(branch -> {
                final TokenChoice.Dominated choice = (TokenChoice.Dominated) branch.tokens().orElseThrow();
                assertEquals(code, choice.perToken());
                assertEquals(code, choice.behind());
                assertEquals(code ? TokenChoice.Mask.HEADS : TokenChoice.Mask.COLUMNS, choice.mask());
            });
        }
        assertEquals(
                Strategies.named("vista").edits().getLast(),
                Strategies.named("vista-sla").edits().getFirst());
        assertEquals(1, Strategies.named("vista-sla").edits().size());
        assertEquals(
                List.of(Saliency.NORM, Saliency.ATTENTION),
                Stream.of("compress-style", "compress-cls")
                        .map(name -> Strategies.named(name).compression().orElseThrow().saliency())
                        .toList());
        // Five of 28 blocks are read twice: the fifth is number 4.
        assertEquals(4, Strategies.named("fmd").forkMerge().orElseThrow().place().resolve(28));
        assertEquals(
                List.of(Modality.CONTEXT, Modality.IMAGE),
                Strategies.named("fmd-note").forkMerge().orElseThrow().silence());
    }

    private static LinearContrast linear(final String name) {
        return (LinearContrast) Strategies.named(name).contrast().orElseThrow();
    }

    private static double alpha(final String name) {
        return linear(name).parameters().get("alpha");
    }

    @Test
    void dolaHasTheOfficialExits() {
        assertEquals(
                List.of(-1, 1, 3, 5, 7, 9, 11, 13),
                List.copyOf(Strategies.named("dola").edits().getFirst().resolve(32, Set.of()).getFirst().layers()));
        assertEquals(
                List.of(15, 17, 19, 21, 23, 25, 27, 29),
                List.copyOf(
                        Strategies.named("dola-high").edits().getFirst().resolve(32, Set.of()).getFirst().layers()));
        for (final String name : List.of("dola", "dola-high")) {
            final ExitEdit.Contrast paper =
                    (ExitEdit.Contrast) Strategies.named(name).edits().getFirst();
            assertEquals(Divergence.JENSEN_SHANNON, paper.divergence());
            assertEquals(
                    List.of(new ExitEdit.Contrast(
                            paper.layers(), paper.relativeTop(), paper.normed(), Divergence.ARITHMETIC_GEOMETRIC)),
                    Strategies.named(name + "-code").edits());
        }
    }

    @Test
    void presetsOfVectorsTakeFiles(@TempDir final Path folder) {
        final Path many = folder.resolve("many.gguf");
        new ControlVectorFile("llama", vectors(4)).write(many);
        final Path one = folder.resolve("one.gguf");
        new ControlVectorFile("llama", new LayerVectors(Map.of(2, new float[] {1, 2, 3, 5}))).write(one);
        for (final String name : List.of("repeng", "caa", "mc2", "ablate", "angular", "cast")) {
            final String given = name.equals("cast")
                    ? "cast:" + one + "," + many
                    : name.equals("angular") ? "angular:" + many + "," + many : name + ":" + many;
            if (name.equals("angular")) {
                final Strategy alone = Strategies.find("angular:" + many);
                final SteeringEdit rotation = (SteeringEdit) alone.edits().getFirst();
                assertTrue(rotation.source().second().startsWith("random:1:"), rotation.source().second());
                assertEquals(alone, Strategies.parse(alone.toJson(), "round"));
            }
            final Strategy found = Strategies.find(given);
            assertEquals(name, found.name());
            assertTrue(found.source().isPresent());
            assertEquals(found, Strategies.parse(found.toJson(), "round"));
            assertTrue(!found.edits().isEmpty());
            assertFalse(found.fingerprint().equals(Strategy.plain().fingerprint()));
            assertTrue(assertThrows(BadInputException.class, () -> Strategies.find(name))
                    .remedy().contains(name + ":"), name);
        }
        final SteeringEdit cast = (SteeringEdit) Strategies.find("cast:" + one + "," + many).edits().getFirst();
        assertEquals(2, cast.when().orElseThrow().when().conditions().getFirst().layer());
        assertThrows(BadInputException.class, () -> Strategies.find("cast:" + many + "," + one));
        assertThrows(BadInputException.class, () -> Strategies.find("cast:" + one));
        assertThrows(BadInputException.class, () -> Strategies.find("angular:a,b,c"));
    }

    private static LayerVectors vectors(final int layers) {
        final Map<Integer, float[]> vectors = new HashMap<>();
        for (int layer = 0; layer < layers; layer++) {
            vectors.put(layer, new float[] {1, layer, 0, 2});
        }
        return new LayerVectors(vectors);
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
