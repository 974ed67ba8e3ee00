package dev.equipoise.bench.pairs;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Image;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Reads the pictures of a file: UTF-8, one JSON object a line, {@code image} being a path relative to the file. Other
 * keys, and lines without a picture, are none of its business, so that data files will do.
 */
public final class PictureReader {
    private static final String IMAGE = "image";

    private PictureReader() {}

    /**
     * Reads every picture that a file names.
     *
     * @return at least one picture, in the order of the lines
     * @throws BadInputException if the file cannot be read or names no picture; or naming line and key of what is wrong
     */
    public static List<Image> read(final Path file) {
        final List<Image> pictures = new ArrayList<>();
        JsonLines.read(file, (line, origin) -> {
            final Optional<String> given = line.text(IMAGE);
            if (given.isEmpty()) {
                return;
            }
            final String name = given.get();
            try {
                pictures.add(Image.read(file.toAbsolutePath().resolveSibling(name)));
            } catch (final InvalidPathException e) {
                throw new BadInputException("no path: " + name, line.where(IMAGE), "name a file beside this one", e);
            } catch (final BadInputException e) {
                throw new BadInputException(e.what() + " (" + e.where() + ")", line.where(IMAGE), e.remedy(), e);
            }
        });
        if (pictures.isEmpty()) {
            throw new BadInputException(
                    "file without a picture", file.toString(), "write {\"image\": \"x.png\"}, one a line");
        }
        return pictures;
    }
}
