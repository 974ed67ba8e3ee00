package dev.equipoise.bench.demo;

import dev.equipoise.bench.testbed.Item;
import dev.equipoise.kernels.error.UnavailableException;
import dev.equipoise.runtime.Model;
import dev.equipoise.runtime.ModelOptions;
import java.io.IOException;
import java.io.InputStream;
import java.net.JarURLConnection;
import java.net.URISyntaxException;
import java.net.URL;
import java.net.URLConnection;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.zip.CRC32;

/**
 * The bundled testbed model as files that llama.cpp can open: those of a checkout where they lie, those of a jar after
 * one extraction into the user's cache.
 *
 * @param text the language model
 * @param mmproj the picture and sound encoders
 */
public record TestbedModel(Path text, Path mmproj) {
    /**
     * CPU threads that serve it best: it is so small that a second one mostly waits for the first, and on a busy
     * machine for its turn.
     */
    public static final int THREADS = 1;

    private static final String TEXT = "testbed-q8_0.gguf";
    private static final String MMPROJ = "testbed-mmproj.gguf";

    /**
     * Finds the files.
     *
     * @throws UnavailableException if this build has no model, or it cannot be extracted
     */
    public static TestbedModel locate() {
        return new TestbedModel(file(TEXT), file(MMPROJ));
    }

    /**
     * Loads the model; the caller closes it.
     *
     * @param options its {@code mmproj} is replaced, and nothing is probed: the files are our own
     */
    public Model load(final ModelOptions options) {
        return Model.load(text, options.withMmproj(mmproj).withProbe(false));
    }

    private static Path file(final String name) {
        final URL resource = Item.class.getResource(name);
        if (resource == null) {
            throw new UnavailableException(
                    "this build holds no testbed model",
                    name,
                    "name a model with --model and --mmproj, or train one (./equipoise testbed train)");
        }
        try {
            return "file".equals(resource.getProtocol())
                    ? Path.of(resource.toURI())
                    : extracted(resource, name, CacheDirectory.of("testbed"));
        } catch (final IOException | URISyntaxException e) {
            throw new UnavailableException(
                    "the testbed model cannot be extracted (" + e.getMessage() + ")",
                    name,
                    "free some space in the cache",
                    e);
        }
    }

    /** Below {@code cache} by checksum, so that versions do not meet; complete or not there, since moved into place. */
    static Path extracted(final URL resource, final String name, final Path cache) throws IOException {
        final URLConnection connection = resource.openConnection();
        final byte[] bytes;
        final long checksum;
        final long size = connection.getContentLengthLong();
        if (connection instanceof JarURLConnection jar && jar.getJarEntry().getCrc() >= 0) {
            checksum = jar.getJarEntry().getCrc();
            bytes = null;
        } else {
            bytes = read(connection);
            final CRC32 crc = new CRC32();
            crc.update(bytes);
            checksum = crc.getValue();
        }
        final Path file = Files.createDirectories(cache.resolve(Long.toHexString(checksum))).resolve(name);
        if (Files.isRegularFile(file) && (size < 0 || Files.size(file) == size)) {
            return file;
        }
        final Path part = Files.createTempFile(file.getParent(), name, ".part");
        try {
            Files.write(part, bytes == null ? read(connection) : bytes);
            Files.move(part, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        } finally {
            Files.deleteIfExists(part);
        }
        return file;
    }

    private static byte[] read(final URLConnection connection) throws IOException {
        try (InputStream in = connection.getInputStream()) {
            return in.readAllBytes();
        }
    }
}
