package dev.equipoise.kernels.error;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;

/** What is wrong with a file, in words; stateless and safe for any thread. */
public final class FileErrors {
    private FileErrors() {}

    /**
     * Refuses what is no regular file, before it is opened: opening a pipe waits for a writer, and a device has no end.
     *
     * @param remedy what to name instead
     * @throws BadInputException if there is nothing at {@code file}, or a directory, a pipe, a socket or a device
     */
    public static void requireRegular(final Path file, final String remedy) {
        if (Files.isRegularFile(file)) {
            return;
        }
        final String what = Files.isDirectory(file)
                ? "a directory, not a file"
                : Files.exists(file) ? "not a regular file" : "no such file";
        throw new BadInputException(what, file.toString(), remedy);
    }

    /**
     * All bytes of a regular file.
     *
     * @param remedy what to name instead
     * @throws BadInputException if it is no regular file or cannot be read
     */
    public static byte[] read(final Path file, final String remedy) {
        requireRegular(file, remedy);
        try {
            return Files.readAllBytes(file);
        } catch (final IOException e) {
            throw new BadInputException("file that cannot be read (" + reason(e) + ")", file.toString(), remedy, e);
        }
    }

    /**
     * Refuses a place that holds something else than a regular file, so that no device or pipe is replaced by one.
     *
     * @throws BadInputException if there is such a thing at {@code file}
     */
    public static void requireReplaceable(final Path file) {
        if (Files.exists(file)) {
            requireRegular(file, "choose a file name to write to");
        }
    }

    /** Why a file could not be used, without its name and the name of the exception's class. */
    public static String reason(final IOException e) {
        return switch (e) {
            case NoSuchFileException missing -> "no such file or directory";
            case AccessDeniedException denied -> "permission denied";
            case FileAlreadyExistsException there -> "a file of that name is there";
            case NotDirectoryException file -> "not a directory";
            case FileSystemException known when known.getReason() != null -> known.getReason();
            default -> e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
        };
    }
}
