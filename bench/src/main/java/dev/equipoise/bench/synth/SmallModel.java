package dev.equipoise.bench.synth;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** A random model so small that what surrounds the arithmetic shows: 4 layers, 256 wide, Q8_0, 3 MB. */
public final class SmallModel implements AutoCloseable {
    private static final SyntheticShape SHAPE = new SyntheticShape("small", 4, 256, 8, 4, 704, 1024, true);
    private static final long SEED = 1;

    private final Path file;

    private SmallModel(final Path file) {
        this.file = file;
    }

    /** Writes it into a temporary file, which is gone when this is closed. */
    public static SmallModel write() {
        try {
            final SmallModel model = new SmallModel(Files.createTempFile("equipoise", ".gguf"));
            SyntheticModel.write(model.file, SHAPE, SyntheticQuantisation.Q8_0, SEED, bytes -> { });
            return model;
        } catch (final IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Where it is until {@link #close}. */
    public Path file() {
        return file;
    }

    @Override
    public void close() {
        try {
            Files.deleteIfExists(file);
        } catch (final IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
