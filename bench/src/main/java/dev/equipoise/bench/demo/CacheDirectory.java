package dev.equipoise.bench.demo;

import dev.equipoise.kernels.error.FileErrors;
import dev.equipoise.kernels.error.UnavailableException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Equipoise's folder in the user's cache: {@code $XDG_CACHE_HOME/equipoise}, else {@code ~/.cache/equipoise}. */
final class CacheDirectory {
    private CacheDirectory() {}

    /**
     * A folder in it, made if need be.
     *
     * @throws UnavailableException if it cannot be made
     */
    static Path of(final String... names) {
        final String cache = System.getenv("XDG_CACHE_HOME");
        Path directory = cache == null || cache.isBlank()
                ? Path.of(System.getProperty("user.home"), ".cache")
                : Path.of(cache);
        directory = directory.resolve("equipoise");
        for (final String name : names) {
            directory = directory.resolve(name);
        }
        try {
            return Files.createDirectories(directory);
        } catch (final IOException e) {
            throw new UnavailableException(
                    "no folder for cached files (" + FileErrors.reason(e) + ")",
                    directory.toString(),
                    "name a writable one by XDG_CACHE_HOME",
                    e);
        }
    }
}
