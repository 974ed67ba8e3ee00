package dev.equipoise.bench.speed;

import dev.equipoise.kernels.error.UnavailableException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** Other programs. */
final class Program {
    private Program() {}

    /**
     * Runs a program to its end.
     *
     * @param audible whether what it says on standard error goes to ours
     * @return its standard output
     * @throws UnavailableException if it cannot be started or fails, with the last thing it said
     */
    static String output(final List<String> command, final boolean audible) {
        final String name = Path.of(command.getFirst()).getFileName().toString();
        Path errors = null;
        Process process = null;
        try {
            final ProcessBuilder builder = new ProcessBuilder(command).redirectInput(ProcessBuilder.Redirect.PIPE);
            // llama.cpp's programs take options from there too.
            builder.environment().keySet().removeIf(variable -> variable.startsWith("LLAMA_ARG_"));
            if (audible) {
                builder.redirectError(ProcessBuilder.Redirect.INHERIT);
            } else {
                errors = Files.createTempFile("equipoise", ".log");
                builder.redirectError(errors.toFile());
            }
            process = builder.start();
            process.getOutputStream().close();
            final String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            final int code = process.waitFor();
            if (code != 0) {
                throw new UnavailableException(
                        name + " failed with code " + code,
                        lastLine(Optional.ofNullable(errors)),
                        "run it by itself: " + String.join(" ", command));
            }
            return output;
        } catch (final IOException e) {
            throw new UnavailableException(
                    name + " cannot be run", String.valueOf(e.getMessage()), "install it or name its folder", e);
        } catch (final InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new UnavailableException("interrupted", name, "run it again", e);
        } finally {
            if (process != null) {
                process.destroy();
            }
            delete(errors);
        }
    }

    private static String lastLine(final Optional<Path> errors) throws IOException {
        final List<String> lines = errors.isPresent() ? Files.readAllLines(errors.get()) : List.of();
        return lines.isEmpty() ? "no message" : lines.getLast();
    }

    private static void delete(final Path errors) {
        if (errors != null) {
            try {
                Files.deleteIfExists(errors);
            } catch (final IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }
}
