package dev.equipoise.bench.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.equipoise.kernels.error.BadInputException;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Arguments survive the JVM's decoding, whatever the locale. */
class ArgumentsTest {
    private static byte[] raw(final Object... words) {
        final ByteArrayOutputStream raw = new ByteArrayOutputStream();
        for (final Object word : words) {
            raw.writeBytes(word instanceof byte[] bytes ? bytes : ((String) word).getBytes(StandardCharsets.UTF_8));
            raw.write(0);
        }
        return raw.toByteArray();
    }

    @Test
    void restoresWhatTheLocaleLost() {
        final String[] decoded = {"run", "--context", "caf\uFFFD\uFFFD \uFFFD\uFFFD\uFFFD", ""};
        assertArrayEquals(
                new String[] {"run", "--context", "café 漢", ""},
                Arguments.restore(decoded, raw("java", "-cp", "é", "Main", "run", "--context", "café 漢", "")));
    }

    @Test
    void theMarkOfAFailedDecodingIsTakenWhereItWasTyped() {
        final String[] decoded = {"--context", "a\uFFFDb"};
        assertArrayEquals(decoded, Arguments.restore(decoded, raw("Main", "--context", "a\uFFFDb")));
        // Where the bytes cannot be seen it may be either.
        final BadInputException unseen =
                assertThrows(BadInputException.class, () -> Arguments.requireWhole(decoded));
        assertEquals("value of --context", unseen.where());
        final String[] whole = {"--context", "caf\u00e9"};
        assertSame(whole, Arguments.requireWhole(whole));
    }

    @Test
    void refusesWhatIsNotUtf8AndSaysWhere() {
        final byte[] broken = {'a', (byte) 0xFF, 'b'};
        final BadInputException value = assertThrows(
                BadInputException.class,
                () -> Arguments.restore(new String[] {"--context", "a\uFFFDb"}, raw("Main", "--context", broken)));
        assertEquals("value of --context", value.where());
        final byte[] surrogate = {(byte) 0xED, (byte) 0xA0, (byte) 0x80};
        assertThrows(
                BadInputException.class,
                () -> Arguments.restore(new String[] {"\uFFFD\uFFFD\uFFFD"}, raw("Main", surrogate)));
    }

    @Test
    void argumentsOfOtherCodeAreLeftAlone() {
        final String[] decoded = {"other", "\uFFFD"};
        assertSame(decoded, Arguments.restore(decoded, raw("Main", "something", "é")));
        assertSame(decoded, Arguments.restore(decoded, raw("é")));
        assertSame(decoded, Arguments.restore(decoded, new byte[0]));
        final String[] ascii = {"doctor", "--json"};
        assertSame(ascii, Arguments.ofProcess(ascii));
    }

    /** The name of a strategy comes back in the error, so that it shows what arrived. */
    @ParameterizedTest
    @CsvSource({"C", "C.UTF-8", "xx_XX.UTF-8"})
    void everyLocaleReadsUtf8(final String locale) throws Exception {
        assumeTrue(Files.exists(Path.of("/proc/self/cmdline")), "the bytes of arguments cannot be seen here");
        final String error = errorOf(locale, "run --model m --prompt p --strategy $'caf\\303\\251'", 3);
        assertTrue(error.startsWith("equipoise: unknown strategy \"café\": "), error);
        assertEquals(1, error.lines().count(), error);
    }

    @ParameterizedTest
    @CsvSource({"C", "C.UTF-8"})
    void noLocaleReadsWhatIsNotUtf8(final String locale) throws Exception {
        assumeTrue(Files.exists(Path.of("/proc/self/cmdline")), "the bytes of arguments cannot be seen here");
        final String error = errorOf(locale, "run --model m --prompt p --context $'a\\377b'", 3);
        assertEquals("equipoise: text that is not valid UTF-8: value of --context: pass it as UTF-8\n", error);
    }

    // Java cannot pass bytes that its own locale does not have; bash can.
    private static String errorOf(final String locale, final String words, final int code) throws Exception {
        final Process process = new ProcessBuilder(
                        "bash",
                        "-c",
                        "exec env LC_ALL=" + locale + " \"$0\" -XX:TieredStopAtLevel=1 -cp \"$1\" "
                                + Main.class.getName() + " " + words,
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        System.getProperty("java.class.path"))
                .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                .start();
        final String error = new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(code, process.waitFor(), error);
        return error;
    }
}
