package dev.equipoise.runtime;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;

/**
 * Text growing from token bytes: a character split over tokens waits for its rest, and text that may be the beginning
 * of a stop text is held back until it is known not to be.
 */
final class AnswerText {
    private static final int SOME_BYTES = 512;

    private final List<String> stops;
    private final CharsetDecoder decoder = StandardCharsets.UTF_8
            .newDecoder()
            .onMalformedInput(CodingErrorAction.REPLACE)
            .onUnmappableCharacter(CodingErrorAction.REPLACE);
    private final StringBuilder text = new StringBuilder();
    private final int longestStop;
    // Bytes that were not decoded yet: all of them, as long as nobody asks for text.
    private ByteBuffer bytes;
    private CharBuffer chars = CharBuffer.allocate(0);
    private int released;

    AnswerText(final List<String> stops) {
        this(stops, SOME_BYTES);
    }

    /** Text that takes {@code expected} bytes before it needs more memory. */
    AnswerText(final List<String> stops, final int expected) {
        this.stops = stops;
        this.longestStop = stops.stream().mapToInt(String::length).max().orElse(0);
        this.bytes = ByteBuffer.allocate(Math.max(SOME_BYTES, expected));
    }

    /** Adds a token's bytes. Returns true when a stop text is complete; it and what follows it are cut off. */
    boolean append(final byte[] token) {
        return append(token, token.length);
    }

    /** As {@link #append(byte[])} for the first {@code length} bytes. */
    boolean append(final byte[] token, final int length) {
        if (bytes.remaining() < length) {
            bytes = ByteBuffer.wrap(Arrays.copyOf(bytes.array(), 2 * (bytes.position() + length)))
                    .position(bytes.position());
        }
        bytes.put(token, 0, length);
        if (longestStop == 0) {
            return false;
        }
        decode(false);
        return cutAtStop();
    }

    /** Nothing more comes: a broken last character is replaced, and nothing is held back any longer. */
    void finish() {
        decode(true);
        cutAtStop();
    }

    /** Text that is final and was not returned before. */
    String release(final boolean done) {
        if (!done) {
            decode(false);
        }
        final int end = done ? text.length() : text.length() - heldBack();
        final String fresh = end > released ? text.substring(released, end) : "";
        released = Math.max(released, end);
        return fresh;
    }

    private void decode(final boolean end) {
        bytes.flip();
        // A byte is a character at most.
        if (chars.capacity() < bytes.remaining() + 1) {
            chars = CharBuffer.allocate(bytes.capacity() + 1);
        }
        chars.clear();
        decoder.decode(bytes, chars, end);
        if (end) {
            decoder.flush(chars);
        }
        text.append(chars.flip());
        bytes.compact();
    }

    private boolean cutAtStop() {
        final int from = Math.max(0, released - longestStop);
        int cut = -1;
        for (final String stop : stops) {
            final int at = text.indexOf(stop, from);
            if (at >= 0 && (cut < 0 || at < cut)) {
                cut = at;
            }
        }
        if (cut >= 0) {
            text.setLength(cut);
        }
        return cut >= 0;
    }

    // The longest end of the text with which a stop text begins.
    private int heldBack() {
        for (int n = Math.min(longestStop - 1, text.length()); n > 0; n--) {
            final String end = text.substring(text.length() - n);
            if (stops.stream().anyMatch(stop -> stop.startsWith(end))) {
                return n;
            }
        }
        return 0;
    }

    @Override
    public String toString() {
        return text.toString();
    }
}
