package dev.equipoise.bench.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.tiny.TinyModels;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Bad input ends in one line and exit code 3, whichever command meets it. */
class BadInputTest {
    @TempDir
    static Path directory;

    private static CliFixtures files;

    @BeforeAll
    static void write() {
        files = new CliFixtures(directory);
    }

    private static void assertModelRefused(final Path model, final String part) {
        CommandLineResult.of("run", "--model", model, "--prompt", "hi").assertFails(3, part);
        CommandLineResult.of("inspect", model).assertFails(3, part);
        CommandLineResult.of("inspect", "--json", model).assertFails(3, part);
    }

    private static Path file(final String name, final byte[] bytes) throws IOException {
        return Files.write(directory.resolve(name), bytes);
    }

    private static byte[] header(final long tensors, final long keys) {
        return ByteBuffer.allocate(64)
                .order(ByteOrder.LITTLE_ENDIAN)
                .put("GGUF".getBytes(StandardCharsets.US_ASCII))
                .putInt(3)
                .putLong(tensors)
                .putLong(keys)
                .array();
    }

    private static void assertRunRefused(final String part, final Object... more) {
        final Object[] words = Arrays.copyOf(new Object[] {"run", "--model", files.model}, 3 + more.length);
        System.arraycopy(more, 0, words, 3, more.length);
        CommandLineResult.of(words).assertFails(3, part);
    }

    @Test
    void modelFilesThatAreNone() throws IOException {
        assertModelRefused(file("empty.gguf", new byte[0]), "empty.gguf");
        assertModelRefused(file("magic.gguf", "GGML and more, and more, and more".getBytes(StandardCharsets.US_ASCII)),
                "magic.gguf");
        assertModelRefused(directory, "directory");
        assertModelRefused(directory.resolve("none.gguf"), "no such file");
    }

    @Test
    void headersThatDoNotFitTheirFiles() throws IOException {
        final byte[] whole = Files.readAllBytes(files.model);
        final int header = (int) GgufFile.read(files.model).dataStart();
        for (final int length : new int[] {4, 23, header / 2, header - 40}) {
            assertModelRefused(file("cut-" + length + ".gguf", Arrays.copyOf(whole, length)), "cut-" + length);
        }
        // The tensor table is whole, and says that the data go on beyond the file.
        assertModelRefused(file("short.gguf", Arrays.copyOf(whole, whole.length - 4096)), "short.gguf");
        assertModelRefused(file("tensors.gguf", header(Long.MAX_VALUE, 0)), "tensors.gguf");
        assertModelRefused(file("keys.gguf", header(0, -1)), "keys.gguf");
    }

    @Test
    void architecturesThatNobodyKnows() throws IOException {
        final byte[] bytes = Files.readAllBytes(files.model);
        final byte[] key = "general.architecture".getBytes(StandardCharsets.US_ASCII);
        for (int i = 0; i < bytes.length - key.length; i++) {
            if (Arrays.equals(bytes, i, i + key.length, key, 0, key.length)) {
                // Key, type, length of the name, then "llama".
                bytes[i + key.length + 4 + 8] = 'x';
                break;
            }
        }
        assertModelRefused(file("unknown.gguf", bytes), "unknown architecture 'xlama'");
    }

    @Test
    void encodersOfAnotherModel() {
        final Path wide = TinyModels.mmproj(directory.resolve("wide.gguf"), 7, 2 * CliFixtures.WIDTH);
        assertRunRefused("128", "--mmproj", wide, "--prompt", "hi");
        assertRunRefused("projector", "--mmproj", files.model, "--prompt", "hi");
        CommandLineResult.of("run", "--model", files.mmproj, "--prompt", "hi").assertFails(3, "--mmproj");
    }

    @Test
    void mediaThatAreNone() throws IOException {
        final Path text = file("text.png", "not a picture".getBytes(StandardCharsets.US_ASCII));
        final Path cut = file("cut.png", Arrays.copyOf(Files.readAllBytes(files.image), 100));
        assertRunRefused("not a picture", "--mmproj", files.mmproj, "--image", text, "--prompt", "hi");
        assertRunRefused("cut.png", "--mmproj", files.mmproj, "--image", cut, "--prompt", "hi");
        assertRunRefused("not a sound", "--mmproj", files.mmproj, "--audio", text, "--prompt", "hi");
        assertRunRefused("a directory", "--mmproj", files.mmproj, "--audio", directory, "--prompt", "hi");
        final Path cutSound = file("cut.wav", Arrays.copyOf(Files.readAllBytes(files.audio), 60));
        assertRunRefused("cut sound", "--mmproj", files.mmproj, "--audio", cutSound, "--prompt", "hi");
        final byte[] noise = Files.readAllBytes(files.image);
        Arrays.fill(noise, 60, noise.length, (byte) 0x55);
        final Path broken = file("broken.png", noise);
        assertRunRefused("give a complete picture", "--mmproj", files.mmproj, "--image", broken, "--prompt", "hi");
    }

    @Test
    void mediaThatTheModelDoesNotUnderstand() {
        final Path vision = TinyModels.mmproj(directory.resolve("vision.gguf"), 7, 32, 0, CliFixtures.WIDTH);
        assertRunRefused("hearing", "--mmproj", vision, "--audio", files.audio, "--prompt", "hi");
        // In so many words: the file, and nothing of what it was read into.
        assertRunRefused(
                "a picture for a model without vision: " + files.image + ": load",
                "--image", files.image, "--prompt", "hi");
        assertRunRefused(
                "a sound for a model without hearing: " + files.audio + ": load",
                "--audio", files.audio, "--prompt", "hi");
    }

    @Test
    void promptsThatDoNotFit() {
        assertRunRefused("longer than the context", "--ctx", 32, "--prompt", "word ".repeat(100));
        // Nor into what the model was trained for, when nothing is said.
        assertRunRefused("longer than the context", "--prompt", "word ".repeat(3 * TinyModels.CONTEXT));
        assertRunRefused("(--ctx)", "--ctx", 32, "--prompt", "word ".repeat(100));
        CommandLineResult.of("explain", "--model", files.model, "--ctx", 32, "--prompt", "word ".repeat(100))
                .assertFails(3, "longer than the context");
        assertRunRefused("empty prompt", "--prompt", "");
    }

    @Test
    void notesThatAreNotUtf8() {
        // Of bytes that are not UTF-8 nothing gets here: ArgumentsTest.
        assertRunRefused("not valid UTF-8", "--prompt", "hi", "--context", "a\uD800b");
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{\"contrast\": {\"method\": \"vcd\", \"alfa\": 1}}",
        "{\"contrast\": {\"method\": \"vcd\", \"beta\": 1.5}}",
        "{\"contrast\": {\"method\": \"vcd\", \"noiseStep\": 1000}}",
        "{\"contrast\": {\"method\": \"magic\"}}",
        "{\"sampling\": {\"temperature\": -1}}",
        "{\"kontrast\": {}}",
        "{",
        "[]"
    })
    void strategiesThatMeanNothing(final String json) throws IOException {
        final Path strategy = Files.writeString(directory.resolve("strategy.json"), json);
        assertRunRefused("strategy.json", "--prompt", "hi", "--strategy", strategy);
    }

    @Test
    void strategiesThatAreNotThere() {
        assertRunRefused("unknown strategy", "--prompt", "hi", "--strategy", "hope");
        assertRunRefused("give a file that ends in .json", "--prompt", "hi", "--strategy", "hope");
        assertRunRefused("random-vector:SEED:STRATEGY", "--prompt", "hi", "--strategy", "random-vector:x:caa");
        assertRunRefused("no such strategy file", "--prompt", "hi", "--strategy", directory.resolve("none.json"));
        // A contrast of pictures needs one.
        assertRunRefused("no picture", "--prompt", "hi", "--strategy", "vcd");
    }

    @Test
    void valuesOutOfRange() {
        for (final String option : List.of(
                "--max-tokens", "--threads", "--micro-batch", "--ctx", "--temperature", "--top-k", "--top-p", "--min-p",
                "--repeat-penalty", "--logprobs", "--gpu-layers", "--gate-patience")) {
            CommandLineResult.of("run", "--model", files.model, "--prompt", "hi", option, -1).assertFails(2, "-1");
        }
        assertRunRefused("blocks of 32 elements for heads of 16", "--prompt", "hi", "--kv-type", "q8_0");
        for (final String option : List.of(
                "--temperature", "--min-p", "--frequency-penalty", "--presence-penalty")) {
            CommandLineResult.of("run", "--model", files.model, "--prompt", "hi", option, "NaN").assertFails(2, "NaN");
        }
        // The option that is wrong, and not those beside it.
        CommandLineResult.of("run", "--model", files.model, "--prompt", "hi", "--threads", 0)
                .assertFails(2, "out of range: threads 0: choose 1");
        CommandLineResult.of(
                        "run", "--model", files.model, "--prompt", "hi", "--kv-type", "q8_0",
                        "--flash-attention", "off")
                .assertFails(2, "quantised value cache without flash attention: --kv-type q8_0");
        CommandLineResult.of("run", "--model", files.model, "--prompt", "hi", "--temperature", "1e30")
                .assertFails(2, "choose 0..1000000");
        CommandLineResult.of("run", "--model", files.model, "--prompt", "hi", "--image", "")
                .assertFails(2, "an empty file name");
        CommandLineResult.of("inspect", "").assertFails(2, "an empty file name");
        CommandLineResult.of("bench", "--model", files.model, "--llama-bin", directory)
                .assertFails(2, "--against-llama-bench");
    }

    @Test
    void filtersThatLeaveNothing() {
        final Object[] generate = {"testbed", "generate", "--seed", 1, "--items", 1, "--out", directory.resolve("f")};
        final Function<List<?>, CommandLineResult> run = more -> CommandLineResult.of(
                Stream.concat(Arrays.stream(generate), more.stream()).toList());
        run.apply(List.of("--condition", "foo")).assertFails(3, "choose consistent, conflict, image-only");
        run.apply(List.of("--group", "foo")).assertFails(3, "trust-picture, trust-sound, trust-note");
        run.apply(List.of("--condition", "consistent", "--group", "no-instruction"))
                .assertFails(3, "choose plain, presence");
        run.apply(List.of("--condition", "text-only", "--about-picture")).assertFails(3, "no item is all");
    }

    @Test
    void pipesAreNotWaitedFor() throws Exception {
        final Path pipe = directory.resolve("pipe.json");
        assertEquals(0, new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor());
        final String what = "not a regular file: " + pipe;
        CommandLineResult.of("inspect", pipe).assertFails(3, what);
        CommandLineResult.of("run", "--model", pipe, "--prompt", "hi").assertFails(3, what);
        CommandLineResult.of("testbed", "eval", "--data", pipe).assertFails(3, what);
        CommandLineResult.of("synth", "--shape", "0.35b", "--out", pipe).assertFails(3, what);
        assertRunRefused(what, "--mmproj", pipe, "--prompt", "hi");
        assertRunRefused(what, "--mmproj", files.mmproj, "--image", pipe, "--prompt", "hi");
        assertRunRefused(what, "--mmproj", files.mmproj, "--audio", pipe, "--prompt", "hi");
        assertRunRefused(what, "--prompt", "hi", "--strategy", pipe);
        assertRunRefused(what, "--prompt", "hi", "--grammar", pipe);
    }

    @Test
    void grammarsThatAreNone() throws IOException {
        final Path broken = Files.writeString(directory.resolve("broken.gbnf"), "root ::= (");
        assertRunRefused("grammar", "--prompt", "hi", "--grammar", broken);
        assertRunRefused("none.gbnf", "--prompt", "hi", "--grammar", directory.resolve("none.gbnf"));
        final Path binary = file("binary.gbnf", new byte[] {'r', (byte) 0xFF});
        assertRunRefused("not valid UTF-8", "--prompt", "hi", "--grammar", binary);
        final Path empty = Files.writeString(directory.resolve("nothing.gbnf"), "\n");
        assertRunRefused("empty grammar: " + empty + ": write", "--prompt", "hi", "--grammar", empty);
        final Path rootless = Files.writeString(directory.resolve("rootless.gbnf"), "rule ::= \"a\"");
        assertRunRefused("'root' symbol: grammar: write GBNF", "--prompt", "hi", "--grammar", rootless);
    }

    @Test
    void dataThatCannotBeUsed() throws IOException {
        CommandLineResult.of("testbed", "generate", "--seed", 1, "--items", 1, "--out", files.model)
                .assertFails(3, "(a file of that name is there): " + files.model);
        final Path data = Files.writeString(directory.resolve("bad.jsonl"), "{\"id\": 1}\n");
        CommandLineResult.of("testbed", "eval", "--data", data, "--model", files.model).assertFails(3, "line 1");
        CommandLineResult.of("testbed", "eval", "--data", directory.resolve("no.jsonl"))
                .assertFails(3, "no such file: " + directory.resolve("no.jsonl"));
        final Path one = Files.writeString(
                directory.resolve("one.jsonl"),
                "{\"id\":\"a\",\"question\":\"q\",\"answer\":\"x\",\"condition\":\"absent\"}\n");
        CommandLineResult.of("testbed", "eval", "--data", one, "--chart", directory.resolve("chart.svg"))
                .assertFails(2, "end its name in .png");
        CommandLineResult.of("testbed", "eval", "--data", one, "--chart", directory.resolve("none/chart.png"))
                .assertFails(3, "no such directory: " + directory.resolve("none"));
        final Path torn = Files.writeString(directory.resolve("torn.jsonl"), "{\"id\": \"a\", \"question\"\n");
        final String line = CommandLineResult.of("testbed", "eval", "--data", torn).assertFails(3, "line 1").err();
        assertFalse(line.contains("Source") || line.contains("REDACTED"), line);
    }
}
