package dev.equipoise.bench.cli;

import dev.equipoise.kernels.error.UnavailableException;
import java.io.FilterOutputStream;
import java.io.IOException;
import java.io.OutputStream;

/** Remembers why something could not be written: a {@link java.io.PrintWriter} only tells that it could not. */
final class ResultStream extends FilterOutputStream {
    private String failure = "unknown";

    ResultStream(final OutputStream out) {
        super(out);
    }

    /** What to report of a result that nobody can have. */
    static UnavailableException lost(final String reason) {
        return new UnavailableException(
                "the result could not be written (" + reason + ")",
                "standard output",
                "send it where there is room, and a reader to its end");
    }

    /** Why the last attempt failed. */
    String failure() {
        return failure;
    }

    @Override
    public void write(final int b) throws IOException {
        write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public void write(final byte[] bytes, final int from, final int length) throws IOException {
        try {
            out.write(bytes, from, length);
        } catch (final IOException e) {
            failure = String.valueOf(e.getMessage());
            throw e;
        }
    }

    @Override
    public void flush() throws IOException {
        try {
            out.flush();
        } catch (final IOException e) {
            failure = String.valueOf(e.getMessage());
            throw e;
        }
    }
}
