package dev.equipoise.bench.cli;

import dev.equipoise.kernels.error.BadInputException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import picocli.CommandLine.TypeConversionException;

/** File names on the command line. */
final class Paths {
    private Paths() {}

    /** The path of that name. */
    static Path parse(final String name) {
        // The empty path would be the working directory.
        if (name.isEmpty()) {
            throw new TypeConversionException("an empty file name");
        }
        try {
            return Path.of(name);
        } catch (final InvalidPathException e) {
            throw new BadInputException(
                    "file name that this locale cannot express", name, "set LC_ALL=C.UTF-8, or rename the file", e);
        }
    }
}
