package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Sampling;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.Chars;
import net.jqwik.api.constraints.IntRange;
import net.jqwik.api.constraints.StringLength;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class StrategyReadingTest {
    private static Strategy parse(final String json) {
        return Strategies.parse(json, "test");
    }

    @Test
    void defaultsAreThePublishedOnes() {
        assertEquals(
                new Contrast.Vcd(1, 0.1, 500, Optional.empty()),
                parse("{\"contrast\":{\"method\":\"vcd\"}}").contrast().orElseThrow());
        assertEquals(
                new Contrast.M3id(0.02, 0.1, 10, Modality.IMAGE),
                parse("{\"contrast\":{\"method\":\"m3id\"}}").contrast().orElseThrow());
        assertEquals(
                new Contrast.Cad(1, 0, Optional.empty()),
                parse("{\"contrast\":{\"method\":\"cad\"}}").contrast().orElseThrow());
        final Contrast.Icd icd =
                (Contrast.Icd) parse("{\"contrast\":{\"method\":\"icd\"}}").contrast().orElseThrow();
        assertEquals(1, icd.alpha());
        assertEquals(0.1, icd.beta());
        assertEquals(Sampling.greedy(), parse("{}").sampling());
        assertEquals("test", parse("{}").name());
    }

    @Test
    void everyValueIsRead() {
        final Strategy strategy = parse("""
                {"name": "n", "source": {"paper": "p"},
                 "contrast": {"method": "vcd", "alpha": 2, "beta": 0.25, "noiseStep": 999, "seed": -7},
                 "sampling": {"temperature": 0.7, "topK": 40, "topP": 0.9, "minP": 0.05, "repeatPenalty": 1.1,
                              "repeatWindow": 32, "frequencyPenalty": 0.5,
                              "presencePenalty": -0.25, "seed": 12345678901, "grammar": "root ::= \\"yes\\""}}""");
        assertEquals(
                new Strategy(
                        "n",
                        Optional.of(new Source("p", "", "", "")),
                        Optional.of(new Contrast.Vcd(2, 0.25, 999, Optional.of(-7L))),
                        new Sampling(0.7, 40, 0.9, 0.05, 1.1, 32, 12345678901L, Optional.of("root ::= \"yes\""))
                                .withPenalties(0.5, -0.25)),
                strategy);
        assertEquals(
                new Contrast.Cad(0.5, 0, Optional.of(Modality.AUDIO)),
                parse("{\"contrast\":{\"without\":\"audio\",\"alpha\":0.5,\"method\":\"cad\"}}")
                        .contrast().orElseThrow());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "{\"name\": 1}                                         | $.name                  | not a text",
        "{\"name\": \" \"}                                     | $.name                  | empty",
        "{\"alpha\": 1}                                        | $.alpha                 | unknown key",
        "{\"contrast\": []}                                    | $.contrast              | not an object",
        "{\"contrast\": null}                                  | $.contrast              | not an object",
        "{\"contrast\": {}}                                    | $.contrast.method       | without a method",
        "{\"contrast\": {\"method\": \"vcdd\"}}                | $.contrast.method       | unknown method",
        "{\"contrast\": {\"method\": \"mad\"}}                 | $.contrast.method       | not supported",
        "{\"contrast\": {\"method\": 3}}                       | $.contrast.method       | not a text",
        "{\"contrast\": {\"method\": \"vcd\", \"alhpa\": 1}}   | $.contrast.alhpa        | unknown key",
        "{\"contrast\": {\"method\": \"vcd\", \"lambda\": 1}}  | $.contrast.lambda       | unknown key",
        "{\"contrast\": {\"method\": \"vcd\", \"without\": 1}} | $.contrast.without      | unknown key",
        "{\"contrast\": {\"method\": \"vcd\", \"alpha\": -1}}  | $.contrast.alpha        | out of range",
        "{\"contrast\": {\"method\": \"vcd\", \"alpha\": 1e9}} | $.contrast.alpha        | out of range",
        "{\"contrast\": {\"method\": \"vcd\", \"alpha\": 1e999}} | $.contrast.alpha      | out of range",
        "{\"contrast\": {\"method\": \"vcd\", \"alpha\": \"1\"}} | $.contrast.alpha      | not a number",
        "{\"contrast\": {\"method\": \"vcd\", \"alpha\": null}} | $.contrast.alpha       | not a number",
        "{\"contrast\": {\"method\": \"vcd\", \"beta\": 1.01}} | $.contrast.beta         | out of range",
        "{\"contrast\": {\"method\": \"vcd\", \"noiseStep\": 1000}} | $.contrast.noiseStep | out of range",
        "{\"contrast\": {\"method\": \"vcd\", \"noiseStep\": -1}} | $.contrast.noiseStep | out of range",
        "{\"contrast\": {\"method\": \"vcd\", \"noiseStep\": 5.5}} | $.contrast.noiseStep | not a whole number",
        "{\"contrast\": {\"method\": \"vcd\", \"noiseStep\": 1000000000000000}} | $.contrast.noiseStep | out of range",
        "{\"contrast\": {\"method\": \"vcd\", \"seed\": 9223372036854775808}} | $.contrast.seed | out of range",
        "{\"contrast\": {\"method\": \"icd\", \"instruction\": \"\"}} | $.contrast.instruction | empty",
        "{\"contrast\": {\"method\": \"m3id\", \"lambda\": -0.1}} | $.contrast.lambda    | out of range",
        "{\"contrast\": {\"method\": \"m3id\", \"maxWeight\": -1}} | $.contrast.maxWeight | out of range",
        "{\"contrast\": {\"method\": \"cad\", \"without\": \"video\"}} | $.contrast.without | unknown without",
        "{\"contrast\": {\"method\": \"cad\", \"branches\": []}} | $.contrast.branches   | not supported",
        "{\"contrast\": {\"method\": \"cad\", \"coefficients\": []}} | $.contrast.coefficients | not supported",
        "{\"contrast\": {\"method\": \"vcd\", \"alpha\": 1, \"alpha\": 2}} | $.contrast.alpha | given twice",
        "{\"contrast\": {\"method\": \"cad\"}, \"contrast\": {}} | $.contrast            | given twice",
        "{\"x\": [{\"y\": 1}, {\"z\": 1, \"z\": 1}]}           | $.x[1].z                | given twice",
        "{\"sampling\": {\"temperature\": -0.1}}               | $.sampling.temperature  | out of range",
        "{\"sampling\": {\"topK\": 1.5}}                       | $.sampling.topK         | not a whole number",
        "{\"sampling\": {\"topP\": 0}}                         | $.sampling.topP         | out of range",
        "{\"sampling\": {\"topP\": 1.1}}                       | $.sampling.topP         | out of range",
        "{\"sampling\": {\"minP\": 1}}                         | $.sampling.minP         | out of range",
        "{\"sampling\": {\"repeatPenalty\": 0}}                | $.sampling.repeatPenalty | out of range",
        "{\"sampling\": {\"repeatWindow\": 2147483648}}        | $.sampling.repeatWindow | out of range",
        "{\"sampling\": {\"temprature\": 1}}                   | $.sampling.temprature   | unknown key",
        "{\"source\": {\"papre\": \"x\"}}                      | $.source.papre          | unknown key",
        "{\"steer\": {}}                                       | $.steer                 | not an array",
        "{\"steer\": [{}]}                                     | $.steer[0].vector       | without a vector",
        "{\"steer\": [{\"vector\": \"v\", \"at\": \"head\"}]}     | $.steer[0].at           | unknown at",
        "{\"steer\": [{\"vector\": \"v\", \"op\": \"push\"}]}     | $.steer[0].op           | unknown op",
        "{\"steer\": [{\"vector\": \"/nowhere.gguf\"}]}        | /nowhere.gguf           | no such file",
        "{\"attention\": [{}]}                                 | $.attention[0].edit     | without a kind",
        // Short texts for lists that no memory holds.
        "{\"attention\": [{\"edit\": \"temperature\", \"tau\": 2, \"layers\": \"0-999999999\"}]}"
                + "| $.attention[0].layers | more layers than any model has",
        "{\"attention\": [{\"edit\": \"temperature\", \"tau\": 2, \"heads\": \"0-99999\"}]}"
                + "| $.attention[0].heads | too many numbers",
        "{\"attention\": [{\"edit\": \"var\", \"span\": \"image\", \"sinkDimensions\": \"0-1023,2000\"}]}"
                + "| $.attention[0].sinkDimensions | too many numbers",
        "{\"forkMerge\": {\"silence\": [\"image\", \"audio\"], \"layer\": \"5d%\"}} | $.forkMerge.layer | no layer",
        "{\"forkMerge\": {\"silence\": [\"image\", \"audio\"], \"layer\": \"101%\"}} | $.forkMerge.layer | no layer",
        "{\"attention\": [{\"edit\": \"pai\"}]}                | $.attention[0].span     | without a span",
        "{\"attention\": [{\"edit\": \"reallocate\", \"from\": \"audio\", \"to\": \"image\"}]}"
                + "                                            | [0].threshold           | without a threshold",
        "{\"attention\": [{\"edit\": \"var\", \"span\": \"image\", \"sinkDimensions\": []}]}"
                + "                                            | [0].sinkDimensions      | empty",
        "{\"attention\": [{\"edit\": \"temperature\", \"tau\": 1, \"layers\": [0.5]}]} | layers[0] | not a whole",
        "{\"exits\": [{\"method\": \"average\", \"layers\": \"1\"}]} | [0].weight         | exits without a weight",
        "{\"exits\": [{\"method\": \"contrast\", \"layers\": \"-1\"}]} | [0].layers        | no choice of layers",
        "{\"contrast\": {\"branches\": {}, \"coefficients\": {\"base\": 1}, \"cutOffValue\": 0}}"
                + "                                            | $.contrast.cutOffValue  | is 0",
        "{\"attention\": [{\"edit\": \"var\", \"span\": \"image\"}]} | [0].sinkDimensions | without sinkDimensions",
        "{\"exits\": [{}]}                                     | $.exits[0].method       | without a method",
        "{\"attention\": [{\"edit\": \"multiply\"}]}           | $.attention[0].span     | without a span",
        "{\"attention\": [{\"edit\": \"multiply\", \"span\": \"image\"}]} | [0].factor            | without a factor",
        "{\"attention\": [{\"edit\":\"multiply\",\"span\":\"image\",\"factor\":-1}]} | [0].factor      | range",
        "{\"attention\": [{\"edit\": \"temperature\", \"tau\": 1, \"layers\": \"x\"}]} | [0].layers      | layers",
        "{\"attention\": [{\"edit\": \"temperature\", \"tau\": 1, \"heads\": \"x\"}]} | [0].heads   | no list",
        "{\"attention\": [{\"edit\": \"mask\", \"span\": \"text\", \"from\": \"text\"}]} | [0].from    | itself",
        "{\"forkMerge\": {}}                                   | $.forkMerge.silence     | two different",
        "{\"forkMerge\": {\"silence\": [\"image\", \"audio\"]}}  | $.forkMerge.layer       | without a layer",
        "{\"forkMerge\": {\"silence\": [\"image\", \"audio\"], \"layer\": \"5\"}} | $.forkMerge.layer | no layer",
        "{\"sampling\": {\"presencePenalty\": 1001}}         | $.sampling.presencePenalty | out of range",
        "{\"gate\": {\"kind\": \"entropy\", \"abov\": 1}}   | $.gate.abov             | unknown key",
        "{\"gate\": {\"knid\": \"entropy\", \"above\": 1}}  | $.gate.knid             | unknown key",
        "{\"gate\": {}}                                        | $.gate.kind             | without a kind",
        "{\"prompt\": {}}                                      | $.prompt.method         | without a method",
        "[1]                                                   | $                       | not a JSON object",
        "{} {}                                                 | $                       | text after",
    })
    void faultsNameTheirPath(final String json, final String path, final String what) {
        final BadInputException fault = assertThrows(BadInputException.class, () -> parse(json));
        assertTrue(fault.where().contains(path), fault.getMessage());
        assertTrue(fault.what().contains(what), fault.getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "", " ", "{", "{\"a\"", "{\"a\":1", "{'a':1}", "{\"a\":NaN}", "{\"a\":01}", "nothing", "{\"a\":1,}", "{]}",
        "{\"a\":\"\\u12\"}", "// no\n{}", "{\uFEFF}",
    })
    void brokenJsonIsBadInput(final String json) {
        assertThrows(BadInputException.class, () -> parse(json));
    }

    /** Whatever happens to a strategy file, it is read or refused, and what is read can be written and read again. */
    @Property(tries = 1000)
    void mutilatedFilesAreReadOrRefused(
            @ForAll @IntRange(max = 999) final int preset,
            @ForAll @IntRange(max = 2000) final int position,
            @ForAll @IntRange(max = 6) final int removed,
            @ForAll @Chars({'{', '}', '[', ']', '"', ':', ',', '1', '-', 'e', '.', 'n', 'x', '\\', '\0'})
                    @StringLength(max = 3)
                    final String inserted) {
        final List<String> names = Strategies.names();
        final StringBuilder json = new StringBuilder(
                Strategies.named(names.get(preset % names.size())).toJson());
        final int at = position % json.length();
        json.replace(at, Math.min(json.length(), at + removed), inserted);
        final Strategy strategy;
        try {
            strategy = parse(json.toString());
        } catch (final BadInputException refused) {
            // A mutilated vector is the path of a file, which is not there.
            final boolean isFile = refused.where().startsWith(Path.of("").toAbsolutePath().toString());
            assertTrue(refused.where().startsWith("test") || isFile, refused.toString());
            return;
        }
        assertEquals(strategy, parse(strategy.toJson()));
    }

    @Test
    void hugeJsonIsBadInput() {
        final String deep = "{\"a\":" + "[".repeat(100_000);
        assertThrows(BadInputException.class, () -> parse(deep));
        assertThrows(BadInputException.class, () -> parse("{\"name\":\"" + "x".repeat(1 << 20) + "\"}"));
        assertThrows(BadInputException.class, () -> parse("{\"name\":" + "9".repeat(1000) + "}"));
        assertThrows(BadInputException.class, () -> parse("{\"" + "k".repeat(1000) + "\":1}"));
    }

    @Test
    void filesAreReadStrictly(@TempDir final Path folder) throws IOException {
        final Path good = Files.writeString(folder.resolve("mine.json"), "{\"contrast\":{\"method\":\"cad\"}}");
        assertEquals("mine", Strategies.find(good.toString()).name());
        final Path bad = Files.writeString(folder.resolve("bad.json"), "{\"contrast\":{\"method\":\"cad\",\"x\":1}}");
        final BadInputException unknown = assertThrows(BadInputException.class, () -> Strategies.read(bad));
        assertEquals(bad + " $.contrast.x", unknown.where());
        assertTrue(unknown.remedy().contains("alpha, beta, method, without"), unknown.remedy());
        assertThrows(BadInputException.class, () -> Strategies.read(folder));
        assertThrows(BadInputException.class, () -> Strategies.find(folder.resolve("none.json").toString()));
        assertThrows(BadInputException.class, () -> Strategies.find("a\0b.json"));
        // As some editors save it.
        final Path marked = Files.writeString(
                folder.resolve("marked.json"), "\uFEFF{\"contrast\":{\"method\":\"cad\"}}");
        assertEquals(Strategies.find(good.toString()).fingerprint(), Strategies.read(marked).fingerprint());
        final Path latin = Files.write(folder.resolve("latin.json"), new byte[] {'{', '"', (byte) 0xE4, '"', ':', '1'});
        assertTrue(assertThrows(BadInputException.class, () -> Strategies.read(latin)).what().contains("UTF-8"));
    }

    @Test
    void recordsRefuseWhatFilesMayNotSay() {
        assertThrows(BadInputException.class, () -> new Contrast.Plausibility(-0.1));
        assertThrows(BadInputException.class, () -> new Contrast.Plausibility(Double.NaN));
        assertThrows(BadInputException.class, () -> new Contrast.Vcd(1, 0.1, 1000, Optional.empty()));
        assertThrows(BadInputException.class, () -> new Contrast.M3id(0.02, 0.1, -1, Modality.IMAGE));
        assertThrows(BadInputException.class, () -> new Contrast.Cad(Double.POSITIVE_INFINITY, 0, Optional.empty()));
    }
}
