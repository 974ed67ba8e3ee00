package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.ffm.EncoderHandle;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/** Carries {@link Compression} out on what an encoder gave. */
final class Compressor {
    private Compressor() {}

    /** A picture's chunks with the rows that stay; chunks of tokens as they are. */
    static List<EncoderHandle.Chunk> compress(final List<EncoderHandle.Chunk> chunks, final Compression compression) {
        return chunks.stream()
                .map(chunk -> chunk.embeddings() == null ? chunk : compress(chunk, compression))
                .toList();
    }

    private static EncoderHandle.Chunk compress(final EncoderHandle.Chunk chunk, final Compression compression) {
        final int[] rows = salient(saliency(chunk, compression.saliency()), compression.kept(chunk.count()));
        final int width = chunk.embeddings().length / chunk.count();
        double left = 0;
        for (int row = 0; row < chunk.count(); row++) {
            left += Arrays.binarySearch(rows, row) < 0 ? norm(chunk, row) : 0;
        }
        final int sections = chunk.positions().length / chunk.count();
        final float[] embeddings = new float[rows.length * width];
        final int[] positions = new int[rows.length * sections];
        for (int i = 0; i < rows.length; i++) {
            System.arraycopy(chunk.embeddings(), rows[i] * width, embeddings, i * width, width);
            for (int section = 0; section < sections; section++) {
                positions[section * rows.length + i] =
                        sections == 1 ? i : chunk.positions()[section * chunk.count() + rows[i]];
            }
        }
        return new EncoderHandle.Chunk(
                null,
                embeddings,
                positions,
                rows.length,
                sections == 1 ? rows.length : chunk.positionCount(),
                chunk.nonCausal(),
                new EncoderHandle.Dropped(chunk.count() - rows.length, left, compression.saliency().label()),
                null,
                List.of(),
                chunk.delta());
    }

    /** The {@code most} indices of the largest values, ascending; of equal values the earlier. */
    static int[] salient(final double[] saliency, final int most) {
        return IntStream.range(0, saliency.length)
                .boxed()
                // Sorting is stable, so that equal values stay in order.
                .sorted(Comparator.comparingDouble((Integer row) -> -saliency[row]))
                .limit(most)
                .mapToInt(Integer::intValue)
                .sorted()
                .toArray();
    }

    private static double[] saliency(final EncoderHandle.Chunk chunk, final Compression.Saliency by) {
        return switch (by) {
            case NORM -> IntStream.range(0, chunk.count())
                    .mapToDouble(row -> norm(chunk, row))
                    .toArray();
            case ATTENTION -> {
                if (chunk.saliency() == null) {
                    throw new BadInputException(
                            "an encoder whose positions are not the rows that it gives: it merges patches, or its"
                                    + " attention is not understood",
                            "compression by " + by.label() + ", " + chunk.count() + " rows",
                            "compress by " + Compression.Saliency.NORM.label());
                }
                yield IntStream.range(0, chunk.count()).mapToDouble(row -> chunk.saliency()[row]).toArray();
            }
        };
    }

    private static double norm(final EncoderHandle.Chunk chunk, final int row) {
        final int width = chunk.embeddings().length / chunk.count();
        double sum = 0;
        for (int i = row * width; i < (row + 1) * width; i++) {
            sum += (double) chunk.embeddings()[i] * chunk.embeddings()[i];
        }
        return Math.sqrt(sum);
    }
}
