package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.FileErrors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/** The bytes of one medium with the name that errors use; compared by content so that encodings can be reused. */
final class MediaBytes {
    /** Larger files are refused before they are read: no encoder here takes that much. */
    private static final long MAX_BYTES = 256L << 20;

    private final byte[] array;
    private final String name;
    private final int hash;

    MediaBytes(final byte[] array, final String name) {
        this.array = array;
        this.name = name;
        this.hash = Arrays.hashCode(array);
    }

    static MediaBytes read(final Path file) {
        try {
            FileErrors.requireRegular(file, "name a picture or sound file");
            if (Files.size(file) > MAX_BYTES) {
                throw new BadInputException(
                        "file too large", file.toString(), "use at most " + (MAX_BYTES >> 20) + " MiB");
            }
            return new MediaBytes(Files.readAllBytes(file), file.toString());
        } catch (final IOException e) {
            throw new BadInputException("file that cannot be read", file.toString(), "check its permissions", e);
        }
    }

    byte[] array() {
        return array;
    }

    String name() {
        return name;
    }

    @Override
    public boolean equals(final Object other) {
        return other instanceof MediaBytes that && hash == that.hash && Arrays.equals(array, that.array);
    }

    @Override
    public int hashCode() {
        return hash;
    }
}
