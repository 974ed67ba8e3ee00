package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Audio;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Prompt;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.Operation;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Phase;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.steering.Layers;
import dev.equipoise.steering.vector.ControlVectorFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Strategies that act inside the network: from their files to what the engine is asked to do. */
class EditStrategyTest {
    private static final int DEPTH = 28;
    private static final String EVERYTHING = """
            {"name": "n",
             "steer": [
               {"vector": "v.gguf", "scale": 2.5, "layers": "1-2",
                "scope": {"phase": "generated", "modality": ["text"]}},
               {"vector": "v.gguf", "op": "add-norm-preserving", "scale": -1},
               {"vector": "v.gguf", "op": "ablate", "scope": {"media": 1}},
               {"vector": "v.gguf", "op": "clamp", "target": 3, "layers": "1-2",
                "scope": {"positions": "2-9", "last": true}},
               {"vector": "v.gguf", "second": "w.gguf", "op": "rotate", "angle": 90, "layers": "0",
                "scope": {"after-instruction": true}}],
             "attention": [
               {"edit": "multiply", "span": "image", "factor": 1.6, "layers": "28%-47%", "queries": "last"},
               {"edit": "mask", "span": "context", "from": ["text", "image"]},
               {"edit": "temperature", "tau": 2, "layers": "3", "queries": "generated"}]}""";

    @TempDir
    static Path folder;

    private static LayerVectors v;
    private static LayerVectors w;
    private static final Prompt PROMPT = Prompt.builder()
            .system("look")
            .context("it is red")
            .image(Image.rgb(1, 1, new byte[3]))
            .audio(Audio.pcm(new float[16_000]))
            .text("which colour?")
            .build();

    @BeforeAll
    static void writeVectors() {
        v = new LayerVectors(Map.of(0, new float[] {1, 2}, 1, new float[] {3, 4}, 2, new float[] {5, 6}));
        w = new LayerVectors(Map.of(0, new float[] {2, 1}, 1, new float[] {4, -3}, 2, new float[] {6, 5}));
        new ControlVectorFile("llama", v).write(folder.resolve("v.gguf"));
        new ControlVectorFile("llama", w).write(folder.resolve("w.gguf"));
    }

    private static Strategy read(final String json) {
        final Path file = folder.resolve("strategy.json");
        try {
            Files.writeString(file, json);
        } catch (final IOException e) {
            throw new AssertionError(e);
        }
        return Strategies.read(file);
    }

    private static List<Intervention> base(final Strategy strategy) {
        return Lowering.lower(strategy, PROMPT, 1, DEPTH).branches().getFirst().interventions();
    }

    @Test
    void everyEditBecomesTheInterventionMeant() {
        final List<Intervention> found = base(read(EVERYTHING));
        assertEquals(8, found.size());
        final Intervention.Steer add = (Intervention.Steer) found.get(0);
        assertEquals(Operation.ADD, add.operation());
        assertEquals(v.only(Set.of(1, 2)), add.vectors());
        assertEquals(2.5, add.amount());
        assertEquals(Scope.all().during(EnumSet.of(Phase.GENERATED)).of(EnumSet.of(Modality.TEXT)), add.scope());
        final Intervention.Steer normed = (Intervention.Steer) found.get(1);
        assertEquals(Operation.ADD_NORM_PRESERVING, normed.operation());
        assertEquals(v, normed.vectors());
        assertEquals(Scope.all().ofMedium(1), found.get(2).scope());
        final Intervention.Steer clamp = (Intervention.Steer) found.get(3);
        assertEquals(3, clamp.amount());
        assertEquals(Scope.all().at(new Scope.Positions(2, 9)).within(Reach.LAST), clamp.scope());
        final Intervention.Steer rotate = (Intervention.Steer) found.get(4);
        assertEquals(Math.PI / 2, rotate.amount(), 1e-15);
        assertEquals(w.only(Set.of(0)), rotate.second().orElseThrow());
        assertEquals(Scope.all().within(Reach.AFTER_INSTRUCTION), rotate.scope());
        // 28% and 47% of 28 blocks: 7.84 and 13.16.
        final Intervention.Reweigh multiply = (Intervention.Reweigh) found.get(5);
        assertEquals(new TreeSet<>(IntStream.rangeClosed(7, 13).boxed().toList()), multiply.layers());
        assertEquals(1.6, multiply.factor());
        assertEquals(EnumSet.of(Modality.IMAGE), multiply.span());
        assertEquals(OptionalInt.empty(), multiply.medium());
        final Intervention.Reweigh mask = (Intervention.Reweigh) found.get(6);
        assertEquals(0, mask.factor());
        assertEquals(Set.of(Modality.TEXT, Modality.IMAGE), mask.scope().modalities());
        final Intervention.Soften soften = (Intervention.Soften) found.get(7);
        assertEquals(2, soften.tau());
        assertEquals(Scope.all().during(EnumSet.of(Phase.GENERATED)), soften.scope());
    }

    @Test
    void whatEntersTheFirstBlockTakesOneVector() {
        final Strategy strategy = read("""
                {"steer": [{"vector": "v.gguf", "op": "ablate", "at": "embedding", "layers": "2"},
                           {"vector": "v.gguf", "op": "add-norm-capped", "scale": 2},
                           {"vector": "v.gguf", "op": "add-signed", "at": "mlp", "scale": 0.5}]}""");
        final List<Intervention> found = base(strategy);
        final Intervention.Steer ablate = (Intervention.Steer) found.getFirst();
        assertEquals(Intervention.Place.EMBEDDING, ablate.place());
        assertEquals(new LayerVectors(Map.of(0, v.at(2))), ablate.vectors());
        assertTrue(ablate.layers().isEmpty());
        assertEquals(Operation.ADD_NORM_CAPPED, ((Intervention.Steer) found.get(1)).operation());
        assertEquals(Operation.ADD_SIGNED, ((Intervention.Steer) found.get(2)).operation());
        final Strategy again = Strategies.parse(strategy.toJson(), "round");
        assertEquals(strategy, again);
        final BadInputException several = assertThrows(
                BadInputException.class,
                () -> base(read("""
                        {"steer": [{"vector": "v.gguf", "op": "ablate", "at": "embedding"}]}""")));
        assertTrue(several.remedy().contains("layers"), several.getMessage());
    }

    @Test
    void whatIsWrittenIsReadAgain() {
        final Strategy strategy = read(EVERYTHING);
        final Strategy again = Strategies.parse(strategy.toJson(), "round");
        assertEquals(strategy, again);
        assertEquals(strategy.fingerprint(), again.fingerprint());
    }

    @Test
    void aTurnToSinksHasTheNumbersOfItsCode() {
        final Strategy preset = Strategies.named("outro");
        final Intervention.TurnToSinks turn = (Intervention.TurnToSinks) Lowering.lower(preset, PROMPT, 1, 28)
                .branches()
                .getFirst()
                .interventions()
                .getFirst();
        assertEquals(
                new Intervention.TurnToSinks(
                        "attention:outro", 100, 1000, 3, 0.1, 4, Layers.parse("0-25", "layers").resolve(28)),
                turn);
        assertEquals(preset, Strategies.parse(preset.toJson(), "round"));
        final Strategy bare = read("{\"attention\": [{\"edit\": \"outro\"}]}");
        assertEquals(preset.fingerprint(28), bare.fingerprint(28));
        final Strategy every = read("{\"attention\": [{\"edit\": \"outro\", \"every\": 4, \"layers\": \"0-25\"}]}");
        assertEquals(preset.fingerprint(28), every.fingerprint(28));
        assertNotEquals(preset.fingerprint(36), every.fingerprint(36));
        assertEquals(every, Strategies.parse(every.toJson(), "round"));
        final Strategy still = read("{\"attention\": [{\"edit\": \"outro\", \"every\": 0, \"gamma\": 0}]}");
        assertEquals(Strategy.plain().fingerprint(), still.fingerprint());
        assertEquals(still.fingerprint(), Controls.zeroScale(preset).fingerprint());
        for (final String other : List.of(
                "{\"edit\": \"outro\", \"gamma\": 2}",
                "{\"edit\": \"temperature\", \"tau\": 2, \"layers\": \"27\"}")) {
            final Strategy both = read("{\"attention\": [{\"edit\": \"outro\"}, " + other + "]}");
            final BadInputException refused =
                    assertThrows(BadInputException.class, () -> Lowering.lower(both, PROMPT, 1, 28));
            assertTrue(refused.what().contains("a turn to sinks"), refused.getMessage());
        }
        for (final String wrong : List.of(
                "\"gamma\": -1", "\"temperature\": 0", "\"every\": -1", "\"threshold\": \"much\"", "\"heads\": \"0\"",
                "\"queries\": \"last\"", "\"span\": \"image\"")) {
            final String text = "{\"attention\": [{\"edit\": \"outro\", " + wrong + "}]}";
            assertThrows(BadInputException.class, () -> read(text), wrong);
        }
        final BadInputException shallow = assertThrows(
                BadInputException.class, () -> Lowering.lower(preset, PROMPT, 1, 2));
        assertTrue(shallow.what().contains("below the last two"), shallow.getMessage());
    }

    @Test
    void editsOfScoresWeightsPartsAndExits() {
        final Strategy strategy = read("""
                {"steer": [{"vector": "v.gguf", "op": "turn-aware", "at": "mlp", "scale": 0.17}],
                 "attention": [
                   {"edit": "pai", "span": "image", "queries": "last", "heads": ["0-2", 5]},
                   {"edit": "vaf", "span": "image", "layers": "28.125%-46.875%", "queries": "after-media"},
                   {"edit": "var", "span": "image", "sinkDimensions": [1415, 2533]},
                   {"edit": "reallocate", "from": "context", "to": "image", "threshold": 0.5, "fraction": 0.3}],
                 "exits": [{"method": "contrast", "layers": "0-3"}]}
                """);
        final List<Intervention> found = Lowering.lower(strategy, PROMPT.withSystem("look"), 1, 32)
                .branches()
                .getFirst()
                .interventions();
        final Intervention.Steer steer = (Intervention.Steer) found.get(0);
        assertEquals(Intervention.Place.MLP, steer.place());
        assertEquals(Intervention.Operation.TURN_AWARE, steer.operation());
        final Intervention.RaiseScores pai = (Intervention.RaiseScores) found.get(1);
        assertEquals(List.of(0, 1, 2, 5), List.copyOf(pai.heads().numbers()));
        assertEquals(Scope.all().within(Reach.LAST), pai.scope());
        assertEquals(0.2, pai.alpha());
        // The published layers of a model of 32 blocks, and the published factors.
        final Intervention.ScaleScores vaf = (Intervention.ScaleScores) found.get(2);
        assertEquals(List.of(9, 10, 11, 12, 13, 14), List.copyOf(vaf.layers()));
        assertEquals(1.15, vaf.factor());
        final Intervention.ScaleScores system = (Intervention.ScaleScores) found.get(3);
        assertEquals(0.95, system.factor());
        assertEquals(EnumSet.of(Modality.SYSTEM), system.span());
        final Intervention.DrainSinks var = (Intervention.DrainSinks) found.get(4);
        assertEquals(List.of(1415, 2533), var.dimensions());
        assertEquals(List.of(20.0, 0.5, 0.2, 0.6), List.of(var.tau(), var.rho(), var.mass(), var.keep()));
        final Intervention.MoveWeights move = (Intervention.MoveWeights) found.get(5);
        assertEquals(EnumSet.of(Modality.CONTEXT), move.from());
        assertEquals(0.1, ((Intervention.ContrastExits) found.get(6)).relativeTop());
        assertEquals(0.3, ((Intervention.AverageExits) base(read("""
                {"exits": [{"method": "average", "layers": "2-4", "weight": 0.3}]}""")).getFirst()).weight());

        final Strategy again = Strategies.parse(strategy.toJson(), "round");
        assertEquals(strategy, again);
        assertEquals(strategy.fingerprint(), again.fingerprint());
        // Without a system text there is nothing for the second factor to act on.
        assertEquals(
                1,
                Lowering.lower(read("{\"attention\": [{\"edit\": \"vaf\", \"span\": \"image\"}]}"),
                                PROMPT.without(Modality.SYSTEM), 1, 32)
                        .branches()
                        .getFirst()
                        .interventions()
                        .size());
    }

    @Test
    void exitsAreChosenByTheDivergenceThatIsNamed() {
        final String file = "{\"exits\": [{\"method\": \"contrast\", \"layers\": \"%s\"%s}]}";
        final Strategy unnamed = read(file.formatted("0-3", ""));
        assertEquals(unnamed, read(file.formatted("0-3", ", \"divergence\": \"jensen-shannon\"")));
        assertTrue(words(unnamed).contains("most by Jensen-Shannon divergence"), words(unnamed));

        final String by = ", \"divergence\": \"arithmetic-geometric\"";
        final Strategy named = read(file.formatted("0-3", by));
        assertEquals(
                Intervention.Divergence.ARITHMETIC_GEOMETRIC,
                ((Intervention.ContrastExits) base(named).getFirst()).divergence());
        assertEquals(named, Strategies.parse(named.toJson(), "round"));
        assertTrue(words(named).contains("most by arithmetic-geometric divergence"), words(named));
        assertNotEquals(unnamed.fingerprint(), named.fingerprint());

        // Of one exit there is nothing to choose.
        final Strategy alone = read(file.formatted("low", by));
        assertEquals(read(file.formatted("low", "")).fingerprint(4), alone.fingerprint(4));
        assertNotEquals(read(file.formatted("low", "")).fingerprint(8), alone.fingerprint(8));
        assertTrue(!words(read(file.formatted("0", by))).contains("divergence"));

        final BadInputException unknown = assertThrows(
                BadInputException.class, () -> read(file.formatted("0", ", \"divergence\": \"reverse\"")));
        assertTrue(unknown.remedy().contains("jensen-shannon, arithmetic-geometric"), unknown.getMessage());
        assertThrows(
                BadInputException.class,
                () -> read("{\"exits\": [{\"method\": \"average\", \"layers\": \"0\", \"weight\": 0.3" + by + "}]}"));
    }

    private static String words(final Strategy strategy) {
        return Explanation.of(Lowering.lower(strategy, PROMPT, 1, DEPTH)).steps().getFirst().mechanism();
    }

    @Test
    void fingerprintsTellWhatActs() {
        final String edit = "{\"attention\": [{\"edit\": \"multiply\", \"span\": \"image\", \"factor\": %s}]}";
        final String plain = Strategy.plain().fingerprint();
        // A factor of 1 does nothing, and so does a scale of 0.
        assertEquals(plain, read(edit.formatted("1")).fingerprint());
        assertEquals(plain, read("{\"steer\": [{\"vector\": \"v.gguf\", \"scale\": 0}]}").fingerprint());
        assertNotEquals(plain, read(edit.formatted("2")).fingerprint());
        assertNotEquals(read(edit.formatted("3")).fingerprint(), read(edit.formatted("2")).fingerprint());
        assertNotEquals(
                read("{\"steer\": [{\"vector\": \"v.gguf\"}]}").fingerprint(),
                read("{\"steer\": [{\"vector\": \"w.gguf\"}]}").fingerprint());
        // The same vectors under another name are the same strategy.
        new ControlVectorFile("", v).write(folder.resolve("copy.gguf"));
        assertEquals(
                read("{\"steer\": [{\"vector\": \"v.gguf\"}]}").fingerprint(),
                read("{\"steer\": [{\"vector\": \"copy.gguf\"}]}").fingerprint());
    }

    @Test
    void forkMergeSilencesEachModalityInOneBranch() {
        final Plan plan = Lowering.lower(Strategies.named("fmd"), PROMPT, 1, DEPTH);
        assertEquals(List.of("without-audio", "without-image"), plan.branches().stream().map(Branch::name).toList());
        // Behind the first five of 28 blocks.
        assertEquals(4, plan.merge().orElseThrow().layer());
        // Picture tokens get 0.8 of the branch that sees, sound tokens 0.8 of the other.
        assertEquals(0.8, plan.merge().orElseThrow().weight(Modality.IMAGE), 1e-15);
        assertEquals(0.2, plan.merge().orElseThrow().weight(Modality.AUDIO), 1e-15);
        assertEquals(0.5, plan.merge().orElseThrow().weight(Modality.TEXT));
        final Intervention deaf = plan.branches().getFirst().interventions().getFirst();
        assertEquals(new Intervention.Silence("silence:audio", Set.of(Modality.AUDIO)), deaf);
        final Explanation explanation = Explanation.of(plan);
        assertTrue(explanation.branches().getFirst().differsIn().contains("audio"));
        final Explanation.Step merge = explanation.steps().stream()
                .filter(step -> step.intervention().equals("merge"))
                .findFirst()
                .orElseThrow();
        assertTrue(merge.mechanism().contains("audio 0.2,"), merge.mechanism());
        final Explanation.Step silence = explanation.steps().stream()
                .filter(step -> step.intervention().equals("silence:audio"))
                .findFirst()
                .orElseThrow();
        assertTrue(!silence.extraCost().contains("per layer"), silence.extraCost());
        assertThrows(
                BadInputException.class,
                () -> Lowering.check(Strategies.named("fmd"), PROMPT.without(Modality.AUDIO), 1));
    }

    @Test
    void forkMergeByMaskHidesTheSpanBelowTheMergeOnly() {
        final Plan plan = Lowering.lower(
                read("{\"forkMerge\": {\"silence\": [\"context\", \"image\"], \"by\": \"mask\", \"layer\": 2}}"),
                PROMPT,
                1,
                DEPTH);
        final Intervention.Reweigh hidden =
                (Intervention.Reweigh) plan.branches().getLast().interventions().getFirst();
        assertEquals(new TreeSet<>(List.of(0, 1, 2)), hidden.layers());
        assertEquals(EnumSet.of(Modality.IMAGE), hidden.span());
        assertTrue(!hidden.scope().modalities().contains(Modality.IMAGE));
    }

    @Test
    void aBranchWithoutThePictureHasNoAttentionToItToEdit() {
        final Plan plan = Lowering.lower(
                read("""
                        {"attention": [{"edit": "multiply", "span": "image", "factor": 2},
                                       {"edit": "temperature", "tau": 2}],
                         "contrast": {"method": "cad", "without": "image"}}"""),
                PROMPT,
                1,
                DEPTH);
        assertEquals(2, plan.branches().getFirst().interventions().size());
        assertEquals(1, plan.branches().getLast().interventions().size());
    }

    @Test
    void layersThatTheModelDoesNotHaveAreRefused() {
        final Strategy deep = read("{\"attention\": [{\"edit\": \"temperature\", \"tau\": 2, \"layers\": \"20-30\"}]}");
        final BadInputException error =
                assertThrows(BadInputException.class, () -> Lowering.lower(deep, PROMPT, 1, DEPTH));
        assertTrue(error.getMessage().contains("30"), error.getMessage());
    }
}
