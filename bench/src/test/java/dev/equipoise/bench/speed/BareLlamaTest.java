package dev.equipoise.bench.speed;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.kernels.error.UnavailableException;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class BareLlamaTest {
    private static final Map<String, Integer> ONE =
            Map.of("n_gen", 128, "n_depth", 65, "n_threads", 2, "flash_attn", 1);
    private static final Map<String, Integer> TWO = Map.of("tg", 128, "pp", 65, "pl", 2, "is_pp_shared", 1);

    /** As {@code llama-bench -o json} prints it, the fields that say nothing of the measurement left out. */
    private static final String ONE_OUTPUT = """
            [
              {
                "build_commit": "v0.5.0",
                "model_filename": "model.gguf",
                "n_threads": 2,
                "type_k": "f16",
                "type_v": "f16",
                "n_gpu_layers": 0,
                "flash_attn": 1,
                "n_prompt": 0,
                "n_gen": 128,
                "n_depth": 65,
                "avg_ns": 1280000000,
                "stddev_ns": 0,
                "avg_ts": 100.000000,
                "samples_ns": [ 1280000000 ],
                "samples_ts": [ 100 ]
              }
            ]
            """;

    /** As {@code llama-batched-bench --output-format jsonl} prints it, with the farewell after it. */
    private static final String TWO_OUTPUT = """

            {"n_kv_max": 512, "n_batch": 2048, "n_ubatch": 512, "flash_attn": 1, "is_pp_shared": 1, \
            "n_gpu_layers": 0, "n_threads": 2, "n_threads_batch": 2, "pp": 65, "tg": 128, "pl": 2, "n_kv": 321, \
            "t_pp": 0.1, "speed_pp": 650.0, "t_tg": 2.048000, "speed_tg": 125.0, "t": 2.148, "speed": 149.4}

            {"n_kv_max": 512, "is_pp_shared": 1, "pp": 65, "tg": 16, "pl": 2, "t_tg": 0.256000}

            llama_perf_context_print:        load time =     100.00 ms
            """;

    @Test
    void readsMillisecondsPerStep() {
        assertEquals(10.0, BareLlama.parseOne(ONE_OUTPUT, ONE, "f16"), 1e-12);
        assertEquals(16.0, BareLlama.parseSeveral(TWO_OUTPUT, TWO), 1e-12);
    }

    @Test
    void aProgramThatDidSomethingElseIsNoPeer() {
        final String otherDepth = ONE_OUTPUT.replace("\"n_depth\": 65", "\"n_depth\": 0");
        assertThrows(InternalException.class, () -> BareLlama.parseOne(otherDepth, ONE, "f16"));
        assertThrows(InternalException.class, () -> BareLlama.parseOne(ONE_OUTPUT, ONE, "q8_0"));
        final String twoSamples = ONE_OUTPUT.replace("[ 1280000000 ]", "[ 1280000000, 1 ]");
        assertThrows(InternalException.class, () -> BareLlama.parseOne(twoSamples, ONE, "f16"));
        final String unshared = TWO_OUTPUT.replace("\"is_pp_shared\": 1", "\"is_pp_shared\": 0");
        assertThrows(InternalException.class, () -> BareLlama.parseSeveral(unshared, TWO));
        final String noTime = TWO_OUTPUT.replace("\"t_tg\": 2.048000", "\"t_tg\": 0.0");
        assertThrows(InternalException.class, () -> BareLlama.parseSeveral(noTime, TWO));
    }

    @Test
    void whatIsNoResultIsRefused() {
        for (final String output : new String[] {"", "[", "[]", "not JSON", "{}", "{\n"}) {
            assertThrows(InternalException.class, () -> BareLlama.parseOne(output, ONE, "f16"), output);
            assertThrows(InternalException.class, () -> BareLlama.parseSeveral(output, TWO), output);
        }
    }

    @Test
    void missingProgramsAreUnavailable(@TempDir final Path empty) {
        final UnavailableException e = assertThrows(
                UnavailableException.class,
                () -> new BareLlama(empty, Path.of("model.gguf"), SpeedFixtures.settings(8, 2), true));
        assertTrue(e.getMessage().contains("llama-bench"), e.getMessage());
    }

    @Test
    void programsAreAskedForWhatOurEngineDoes(@TempDir final Path folder) {
        FakePrograms.write(folder);
        final BareLlama bare = new BareLlama(folder, Path.of("model.gguf"), SpeedFixtures.settings(8, 2), false);
        final String one = String.join(" ", bare.oneCommand(65));
        final String common = "-m model.gguf -t 1 -ctk f16 -ctv f16 -fa off -ngl 0";
        assertTrue(one.contains("-p 0 -n 8 -d 65 -r 1 -o json " + common), one);
        final String two = String.join(" ", bare.severalCommand(2, 65, true));
        assertTrue(two.contains("-kvu -pps -npp 65 -ntg 8,16 -npl 2 -c 81 -tb 1 --output-format jsonl"), two);
        assertEquals(FakePrograms.ONE_MILLIS, bare.one(65), 1e-9);
        assertEquals(FakePrograms.SEVERAL_MILLIS, bare.several(2, 65, true), 1e-9);
    }
}
