package dev.equipoise.runtime;

import dev.equipoise.runtime.ffm.EncoderHandle;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The encodings of the media seen last: a medium that several branches or requests share is encoded once, and its being
 * the same object is how prompts recognise their common prefix.
 */
final class MediaCache {
    private static final int CAPACITY = 32;

    private final EncoderHandle encoder;
    private final Map<Part, List<EncoderHandle.Chunk>> encodings = new LinkedHashMap<>(CAPACITY, 0.75f, true) {
        private static final long serialVersionUID = 1L;

        @Override
        protected boolean removeEldestEntry(final Map.Entry<Part, List<EncoderHandle.Chunk>> eldest) {
            return size() > CAPACITY;
        }
    };

    private int runs;

    MediaCache(final EncoderHandle encoder) {
        this.encoder = encoder;
    }

    /** The chunks of a picture or sound; thread-safe. */
    synchronized List<EncoderHandle.Chunk> encode(final Part part) {
        List<EncoderHandle.Chunk> chunks = encodings.get(part);
        if (chunks == null) {
            if (part instanceof Part.Picture picture && picture.compression().isPresent()) {
                chunks = Compressor.compress(whole(picture), picture.compression().get());
            } else {
                chunks = run(part);
                runs++;
            }
            encodings.put(part, chunks);
        }
        return chunks;
    }

    // What is compressed by the encoder's attention needs a run that looked at it.
    private List<EncoderHandle.Chunk> whole(final Part.Picture picture) {
        final Part.Picture whole = picture.whole();
        final List<EncoderHandle.Chunk> known = encodings.get(whole);
        final boolean looks = picture.compression().get().saliency() == Compression.Saliency.ATTENTION;
        if (!looks || known != null && known.stream().anyMatch(chunk -> chunk.saliency() != null)) {
            return encode(whole);
        }
        final List<EncoderHandle.Chunk> chunks = run(whole, true);
        runs++;
        encodings.putIfAbsent(whole, chunks);
        return chunks;
    }

    /** How often something was encoded so far. */
    synchronized int runs() {
        return runs;
    }

    private List<EncoderHandle.Chunk> run(final Part part) {
        return run(part, false);
    }

    private List<EncoderHandle.Chunk> run(final Part part, final boolean watch) {
        return switch (part) {
            case Part.Picture picture -> {
                EncoderHandle.Manner manner = EncoderHandle.Manner.PLAIN.watching(watch);
                if (picture.noise().isPresent()) {
                    manner = manner.noised(picture.noise().get().step(), picture.noise().get().seed());
                }
                if (picture.steering().isPresent()) {
                    final PictureSteering steering = picture.steering().get();
                    manner = manner.turned(steering.directions(), steering.amount());
                }
                yield run(picture.image(), manner);
            }
            case Part.Sound sound -> encoder.encode(
                    sound.audio().isRaw() ? EncoderHandle.Kind.AUDIO_PCM : EncoderHandle.Kind.AUDIO_FILE,
                    sound.audio().bytes().array(),
                    0,
                    0,
                    EncoderHandle.Manner.PLAIN,
                    sound.audio().bytes().name());
            case Part.Said said -> throw new IllegalArgumentException("words are not encoded: an earlier answer");
            case Part.Words words -> throw new IllegalArgumentException("words are not encoded: " + words.modality());
        };
    }

    /** The chunks of a picture that is not kept. */
    List<EncoderHandle.Chunk> run(final Image image, final EncoderHandle.Manner manner) {
        return encoder.encode(
                image.isRaw() ? EncoderHandle.Kind.IMAGE_RGB : EncoderHandle.Kind.IMAGE_FILE,
                image.bytes().array(),
                image.width(),
                image.height(),
                manner,
                image.bytes().name());
    }
}
