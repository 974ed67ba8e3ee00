package dev.equipoise.bench.cli;

/** What a command's exit code tells its caller. */
final class ExitCode {
    /** Done. */
    static final int DONE = 0;
    /** A bug. */
    static final int INTERNAL = 1;
    /** The command line cannot be understood. */
    static final int USAGE = 2;
    /** A file, text or value cannot be used. */
    static final int BAD_INPUT = 3;
    /** A native library or device is not there. */
    static final int UNAVAILABLE = 4;

    private ExitCode() {}
}
