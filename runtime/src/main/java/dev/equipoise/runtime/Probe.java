package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.UnavailableException;
import dev.equipoise.kernels.ffm.NativeLibraries;
import dev.equipoise.runtime.ffm.NativeRuntime;
import dev.equipoise.runtime.gguf.GgufFile;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/**
 * Loads files that were not seen before in a child process first: what the checks of the header cannot exclude ends the
 * child and not this JVM. A pair of files that passed is remembered in the user's cache by the hash of their headers
 * and their lengths, since what a loader aborts on is written there and not in the weights.
 */
final class Probe {
    private static final String PROGRAM = "equipoise-probe";
    private static final long TIMEOUT_MINUTES = 10;
    private static final int MAX_OUTPUT = 4096;

    private Probe() {}

    /** Returns when the files are known to load; throws {@link BadInputException} when they do not. */
    static void require(final GgufFile model, final Optional<GgufFile> mmproj) {
        final Path known = memory().resolve(key(model, mmproj));
        if (Files.exists(known)) {
            return;
        }
        run(model.path(), mmproj.map(GgufFile::path));
        try {
            Files.createDirectories(known.getParent());
            Files.write(known, new byte[0]);
        } catch (final IOException e) {
            // Without a memory the next start probes again; the answer is the same.
            System.getLogger(Probe.class.getName())
                    .log(System.Logger.Level.DEBUG, "cannot remember a probed model", e);
        }
    }

    private static void run(final Path model, final Optional<Path> mmproj) {
        final Path program = NativeLibraries.directory().resolve(PROGRAM);
        if (!Files.isExecutable(program)) {
            throw new UnavailableException(
                    "the program that tries new models first is missing",
                    program.toString(),
                    "build it (./equipoise does), or load the model with probing off");
        }
        final List<String> command = new ArrayList<>(List.of(program.toString(), model.toString()));
        mmproj.ifPresent(path -> command.add(path.toString()));
        final String name = mmproj.map(path -> model + " with " + path).orElse(model.toString());
        try {
            final Process child = new ProcessBuilder(command)
                    .redirectErrorStream(false)
                    .redirectError(ProcessBuilder.Redirect.DISCARD)
                    .start();
            child.getOutputStream().close();
            final byte[] output = child.getInputStream().readNBytes(MAX_OUTPUT);
            if (!child.waitFor(TIMEOUT_MINUTES, TimeUnit.MINUTES)) {
                child.destroyForcibly();
                throw refused("it does not finish loading", name);
            }
            final int code = child.exitValue();
            if (code != 0) {
                final String said = new String(output, StandardCharsets.UTF_8).strip();
                throw refused(said.isEmpty() ? "loading it ends the process with code " + code : said, name);
            }
        } catch (final IOException e) {
            throw new UnavailableException(
                    "the program that tries new models first cannot run",
                    program.toString(),
                    "check its permissions",
                    e);
        } catch (final InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new UnavailableException("interrupted while trying a new model", name, "load it again", e);
        }
    }

    private static BadInputException refused(final String what, final String where) {
        return new BadInputException(what, where, "use a model file that llama.cpp loads");
    }

    private static String key(final GgufFile model, final Optional<GgufFile> mmproj) {
        try {
            final MessageDigest digest = MessageDigest.getInstance("SHA-256");
            digest.update(NativeRuntime.llamaVersion().getBytes(StandardCharsets.UTF_8));
            digest.update(NativeRuntime.patchHash().getBytes(StandardCharsets.UTF_8));
            header(model, digest);
            if (mmproj.isPresent()) {
                header(mmproj.get(), digest);
            }
            return HexFormat.of().formatHex(digest.digest());
        } catch (final NoSuchAlgorithmException e) {
            throw new IllegalStateException("every JDK has SHA-256", e);
        }
    }

    private static void header(final GgufFile file, final MessageDigest digest) {
        try (FileChannel channel = FileChannel.open(file.path())) {
            final ByteBuffer chunk = ByteBuffer.allocate(1 << 16);
            chunk.putLong(channel.size()).flip();
            digest.update(chunk);
            for (long left = file.dataStart(); left > 0; ) {
                chunk.clear().limit((int) Math.min(left, chunk.capacity()));
                final int read = channel.read(chunk, file.dataStart() - left);
                if (read < 0) {
                    break;
                }
                left -= read;
                digest.update(chunk.flip());
            }
        } catch (final IOException e) {
            throw new BadInputException("file that cannot be read", file.path().toString(), "check its permissions", e);
        }
    }

    private static Path memory() {
        final String cache = System.getenv("XDG_CACHE_HOME");
        final Path root = cache == null || cache.isBlank()
                ? Path.of(System.getProperty("user.home"), ".cache")
                : Path.of(cache);
        return root.resolve("equipoise").resolve("probed");
    }
}
