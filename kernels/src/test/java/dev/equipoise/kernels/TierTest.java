package dev.equipoise.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.equipoise.kernels.ffm.NativeLibraries;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What is decided once per process, each in a JVM of its own. */
class TierTest {
    private static final boolean ARM = System.getProperty("os.arch").equals("aarch64");

    /** Prints what was chosen; if that is the argument, compares it with the reference. */
    static final class Child {
        private Child() {
        }

        public static void main(final String[] arguments) {
            final Kernels.Choice choice = Kernels.choose();
            System.out.println(choice.kernels().description());
            System.out.println(choice.whyNotNative());
            if (arguments.length > 0 && choice.kernels().description().equals(arguments[0])) {
                final KernelParityTest parity = new KernelParityTest();
                long seed = 0;
                for (final int size : Case.SIZES) {
                    for (final Case.Kind kind : Case.Kind.values()) {
                        final Case c = Case.of(seed++, size, 1 + size % 4, kind, size % 2 == 0, 0.1f);
                        parity.combiningAgrees(c);
                        parity.readingARowAgrees(c);
                    }
                }
                System.out.println("parity holds");
            }
        }
    }

    private static List<String> child(final Map<String, String> environment, final List<String> properties,
            final String... arguments) throws IOException, InterruptedException {
        final List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-Xshare:auto",
                "--enable-native-access=ALL-UNNAMED", "-cp", System.getProperty("java.class.path")));
        command.addAll(properties);
        command.add(Child.class.getName());
        command.addAll(List.of(arguments));
        final ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().putAll(environment);
        final Process process = builder.start();
        final String output = new String(process.getInputStream().readAllBytes());
        assertEquals(0, process.waitFor(), output);
        return output.lines().toList();
    }

    private static String here() {
        return "-Dequipoise.native.dir=" + NativeLibraries.directory();
    }

    @ParameterizedTest
    @ValueSource(strings = {"scalar", "sse", "avx2", "avx512", "neon"})
    void everyTierAgreesWithTheReference(final String tier) throws Exception {
        assumeTrue(tier.equals("scalar") || ARM == tier.equals("neon"), "a tier of another architecture");
        final List<String> output = child(Map.of("EQUIPOISE_KERNELS_TIER", tier), List.of(here()),
                "native, " + tier);
        assumeTrue(output.contains("native, " + tier), "this processor stops at " + output.getFirst());
        assertTrue(output.contains("parity holds"), output.toString());
    }

    @Test
    void anUnknownTierIsRefusedByName() throws Exception {
        final List<String> output = child(Map.of("EQUIPOISE_KERNELS_TIER", "avx1024"), List.of(here()));
        assertEquals("scalar, Java", output.get(0));
        assertTrue(output.get(1).contains("avx1024") && output.get(1).contains("scalar"), output.get(1));
    }

    @Test
    void withoutALibraryTheReferenceServesAndSaysWhy(@TempDir final Path empty) throws Exception {
        final List<String> byProperty = child(Map.of(), List.of("-Dequipoise.native.dir=" + empty));
        assertEquals("scalar, Java", byProperty.get(0));
        assertTrue(byProperty.get(1).contains(empty.toString()), byProperty.get(1));

        final List<String> byVariable = child(Map.of("EQUIPOISE_NATIVE_DIR", empty.toString()), List.of());
        assertTrue(byVariable.get(1).contains(empty.toString()), byVariable.get(1));
    }
}
