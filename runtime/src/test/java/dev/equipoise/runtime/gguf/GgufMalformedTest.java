package dev.equipoise.runtime.gguf;

import static dev.equipoise.runtime.gguf.GgufBytes.header;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** Each way to be malformed gets its own one-line error. */
class GgufMalformedTest {
    private static final int F32 = GgmlType.F32.id();
    private static final int ARRAY = GgufValue.Type.ARRAY.ordinal();
    private static final int STRING = GgufValue.Type.STRING.ordinal();
    private static final int U8 = GgufValue.Type.U8.ordinal();
    private static final long HUGE = 1L << 60;

    @TempDir
    Path directory;

    private static GgufBytes oneTensor() {
        return header(3, 1, 0);
    }

    private static GgufBytes oneKey() {
        return header(3, 0, 1);
    }

    private static Map<String, GgufBytes> malformed() {
        final Map<String, GgufBytes> cases = new TreeMap<>();
        cases.put("empty file", new GgufBytes());
        cases.put("wrong magic", new GgufBytes().raw("GGML").padded(32, 64));
        cases.put("version 1,", header(1, 0, 0));
        cases.put("version 4,", header(4, 0, 0));
        cases.put("big-endian", header(3 << 24, 0, 0));
        cases.put("truncated header", new GgufBytes().raw("GGUF").i32(3).i32(0));
        cases.put("absurd number of tensor", header(3, HUGE, 0));
        cases.put("absurd number of tensor entries: 18446744073709551615", header(3, -1, 0));
        cases.put("absurd number of metadata", header(3, 0, HUGE));
        cases.put("key 0 has an absurd length", oneKey().i64(HUGE).padded(32, 64));
        cases.put("empty name", oneKey().text("").i32(U8).raw(1).padded(32, 64));
        cases.put("NUL in its name", oneKey().text("a\0b").i32(U8).raw(1).padded(32, 64));
        cases.put("not UTF-8", oneKey().i64(2).raw(0xC3, 0x28).i32(U8).raw(1).padded(32, 64));
        cases.put("duplicate key 'k'", header(3, 0, 2).u32("k", 1).u32("k", 2));
        cases.put("unknown value type 13", oneKey().text("k").i32(13).padded(32, 64));
        cases.put("unknown value type 4294967295", oneKey().text("k").i32(-1).padded(32, 64));
        cases.put("array of arrays", oneKey().text("k").i32(ARRAY).i32(ARRAY).i64(1).padded(32, 64));
        cases.put("array 'k' has an absurd length: 1152921504606846976",
                oneKey().text("k").i32(ARRAY).i32(U8).i64(HUGE).padded(32, 64));
        cases.put("truncated header, array 'k' of length 65 at byte 49 goes beyond the end at 49",
                oneKey().text("k").i32(ARRAY).i32(U8).i64(65));
        cases.put("truncated header, key 'k' of length 604", oneKey().text("k").i32(STRING).i64(604).padded(32, 64));
        cases.put("truncated header, 900 tensor entries", header(3, 900, 0));
        cases.put("element 0 of 'k' has an absurd", oneKey().text("k").i32(ARRAY).i32(STRING).i64(1).i64(HUGE));
        cases.put("key 'k' has an absurd length", oneKey().text("k").i32(STRING).i64(-1).padded(32, 64));
        cases.put("alignment 0", oneKey().u32("general.alignment", 0));
        cases.put("alignment 24", oneKey().u32("general.alignment", 24));
        cases.put("alignment 2147483648", oneKey().u32("general.alignment", 1 << 31));
        cases.put("is not a u32", oneKey().text("general.alignment").i32(U8).raw(32));
        cases.put("0 dimensions", oneTensor().tensor("t", F32, 0).padded(32, 64));
        cases.put("5 dimensions", oneTensor().tensor("t", F32, 0, 1, 1, 1, 1, 1).padded(32, 64));
        cases.put("impossible shape [0]", oneTensor().tensor("t", F32, 0, 0).padded(32, 64));
        cases.put("impossible shape [-4]", oneTensor().tensor("t", F32, 0, -4).padded(32, 64));
        cases.put("impossible shape [4294967296, 4294967296]",
                oneTensor().tensor("t", F32, 0, 1L << 32, 1L << 32).padded(32, 64));
        cases.put("impossible size", oneTensor().tensor("t", F32, 0, 1L << 31, 1L << 31).padded(32, 64));
        cases.put("unknown type 4", oneTensor().tensor("t", 4, 0, 32).padded(32, 64));
        cases.put("unknown type 31", oneTensor().tensor("t", 31, 0, 32).padded(32, 64));
        cases.put("unknown type 43", oneTensor().tensor("t", 43, 0, 32).padded(32, 64));
        cases.put("not whole Q8_0 blocks", oneTensor().tensor("t", GgmlType.Q8_0.id(), 0, 31).padded(32, 64));
        cases.put("tensor 0 has an absurd length: 64", oneTensor().tensor("n".repeat(64), F32, 0, 1).padded(32, 64));
        cases.put("duplicate tensor 't'",
                header(3, 2, 0).tensor("t", F32, 0, 1).tensor("t", F32, 32, 1).padded(32, 64));
        cases.put("starts at offset 4 instead of 32",
                header(3, 2, 0).tensor("t", F32, 0, 1).tensor("u", F32, 4, 1).padded(32, 64));
        cases.put("starts at offset 64 instead of 32",
                header(3, 2, 0).tensor("t", F32, 0, 1).tensor("u", F32, 64, 1).padded(32, 128));
        cases.put("starts at offset 32 instead of 0", oneTensor().tensor("t", F32, 32, 1).padded(32, 64));
        cases.put("ends beyond the file", oneTensor().tensor("t", F32, 0, 17).padded(32, 64));
        cases.put("does not fit into the file", oneTensor().tensor("t", F32, 0, 1L << 50).padded(32, 64));
        return cases;
    }

    @TestFactory
    Stream<DynamicTest> malformedFilesAreRefusedInOneLine() {
        return malformed().entrySet().stream().map(entry -> DynamicTest.dynamicTest(entry.getKey(), () -> {
            final BadInputException e = refused(entry.getValue().bytes());
            assertTrue(e.getMessage().contains(entry.getKey()), e.getMessage());
            assertEquals(1, e.getMessage().lines().count());
        }));
    }

    @Test
    void everyPrefixOfAValidFileIsRefused() throws IOException {
        final byte[] whole = header(2, 1, 2).u32("k", 1).text("s").i32(STRING).text("text")
                .tensor("t", F32, 0, 16).padded(32, 64).bytes();
        final Path path = directory.resolve("whole.gguf");
        Files.write(path, whole);
        assertEquals(2, GgufFile.read(path).version());
        for (int n = 0; n < whole.length; n++) {
            refused(Arrays.copyOf(whole, n));
        }
    }

    @Test
    void aDirectoryAndAMissingFileAreBadInput() {
        assertThrows(BadInputException.class, () -> GgufFile.read(directory));
        assertThrows(BadInputException.class, () -> GgufFile.read(directory.resolve("missing.gguf")));
    }

    @Test
    void aPipeIsNeitherOpenedNorReplaced() throws Exception {
        final Path pipe = directory.resolve("pipe.gguf");
        assertEquals(0, new ProcessBuilder("mkfifo", pipe.toString()).start().waitFor());
        final BadInputException read = assertThrows(BadInputException.class, () -> GgufFile.read(pipe));
        assertEquals("not a regular file", read.what());
        final BadInputException written = assertThrows(BadInputException.class, () -> new GgufWriter().write(pipe));
        assertEquals("not a regular file", written.what());
        assertTrue(Files.exists(pipe) && !Files.isRegularFile(pipe), "it is still the pipe");
        final Path folder = Files.createDirectory(directory.resolve("folder.gguf"));
        assertThrows(BadInputException.class, () -> new GgufWriter().write(folder));
        assertTrue(Files.isDirectory(folder), "it is still the folder");
    }

    @Test
    void aFileThatChangedIsRefused() throws IOException {
        final byte[] whole = oneTensor().tensor("t", F32, 0, 16).padded(32, 64).bytes();
        final Path path = directory.resolve("changing.gguf");
        Files.write(path, whole);
        final GgufFile file = GgufFile.read(path);
        Files.write(path, Arrays.copyOf(whole, whole.length - 1));

        assertThrows(BadInputException.class, () -> file.raw(file.tensor("t")));
    }

    private BadInputException refused(final byte[] bytes) throws IOException {
        final Path path = directory.resolve("malformed.gguf");
        Files.write(path, bytes);
        return assertThrows(BadInputException.class, () -> GgufFile.read(path));
    }
}
