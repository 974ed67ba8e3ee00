package dev.equipoise.bench.demo;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.tiny.Placement;
import java.io.IOException;
import java.net.URI;
import java.net.URL;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The bundled model is found and hears and sees; from a jar it is extracted once. */
class TestbedModelTest {
    @TempDir
    Path directory;

    private URL inJar(final String jar, final byte[] content) throws IOException {
        final Path file = directory.resolve(jar);
        try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(file))) {
            zip.putNextEntry(new ZipEntry("model.gguf"));
            zip.write(content);
            zip.closeEntry();
        }
        return URI.create("jar:" + file.toUri() + "!/model.gguf").toURL();
    }

    @Test
    void extractsOncePerContent() throws IOException {
        final byte[] content = new byte[5000];
        content[7] = 1;
        final Path cache = directory.resolve("cache");
        final Path first = TestbedModel.extracted(inJar("a.jar", content), "model.gguf", cache);
        assertArrayEquals(content, Files.readAllBytes(first));
        final var written = Files.getLastModifiedTime(first);
        assertEquals(first, TestbedModel.extracted(inJar("b.jar", content), "model.gguf", cache));
        assertEquals(written, Files.getLastModifiedTime(first));
        assertNotEquals(first, TestbedModel.extracted(inJar("c.jar", new byte[5000]), "model.gguf", cache));
        try (Stream<Path> left = Files.list(first.getParent())) {
            assertEquals(1, left.count(), "no half-written file");
        }
    }

    @Test
    void mendsAFileThatWasCut() throws IOException {
        final byte[] content = {1, 2, 3, 4};
        final URL resource = inJar("a.jar", content);
        final Path file = TestbedModel.extracted(resource, "model.gguf", directory);
        Files.write(file, new byte[] {1, 2});
        assertEquals(file, TestbedModel.extracted(resource, "model.gguf", directory));
        assertArrayEquals(content, Files.readAllBytes(file));
    }

    @Test
    void theBundledModelSeesAndHears() {
        try (Model model = TestbedModel.locate().load(Placement.options())) {
            assertTrue(model.info().vision());
            assertTrue(model.info().audio());
        }
    }
}
