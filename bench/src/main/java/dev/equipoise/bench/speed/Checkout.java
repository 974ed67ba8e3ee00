package dev.equipoise.bench.speed;

import dev.equipoise.kernels.error.UnavailableException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * The checkout of this project that the process was started from.
 *
 * @param root its root
 */
record Checkout(Path root) {
    private static final String BUILD = "native/llama/build.sh";
    // Names the commit where the checkout travelled without its history.
    private static final String COMMIT_PROPERTY = "equipoise.commit";

    /** The checkout whose native libraries are in use, else the one that holds the working directory. */
    static Optional<Checkout> find() {
        final Stream<Path> aboveLibraries = parents(Path.of(System.getProperty("equipoise.native.dir", "")));
        return Stream.concat(aboveLibraries, parents(Path.of("")))
                .filter(folder -> Files.isRegularFile(folder.resolve(BUILD)))
                .findFirst()
                .map(Checkout::new);
    }

    private static Stream<Path> parents(final Path start) {
        return Stream.iterate(start.toAbsolutePath().normalize(), folder -> folder != null, Path::getParent);
    }

    /**
     * The commit, with {@code -dirty} if tracked files differ from it: what {@code -Dequipoise.commit} says, else what
     * git does; empty without either.
     */
    Optional<String> commit() {
        final Optional<String> given = Optional.ofNullable(System.getProperty(COMMIT_PROPERTY));
        if (given.isPresent()) {
            return given;
        }
        try {
            final String head = git("rev-parse", "HEAD").strip();
            final boolean dirty = !git("status", "--porcelain", "--untracked-files=no").isBlank();
            return Optional.of(dirty ? head + "-dirty" : head);
        } catch (final UnavailableException e) {
            return Optional.empty();
        }
    }

    /**
     * Builds programs of the llama.cpp that our library is built over, unless they are there.
     *
     * @return the folder that holds them
     */
    Path build(final String... programs) {
        final List<String> command =
                Stream.concat(Stream.of(root.resolve(BUILD).toString()), Stream.of(programs)).toList();
        return Path.of(Program.output(command, true).strip()).resolve("build").resolve("bin");
    }

    private String git(final String... arguments) {
        return Program.output(
                Stream.concat(Stream.of("git", "-C", root.toString()), Stream.of(arguments)).toList(), false);
    }
}
