package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.Range;
import dev.equipoise.decoding.spec.Section;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Compression;
import dev.equipoise.runtime.Compression.Saliency;
import java.util.Arrays;
import java.util.List;
import tools.jackson.databind.node.ObjectNode;

/** The objects {@code compress} of strategy files, from JSON and back. */
final class CompressJson {
    private static final Range KEEP = Range.above(0, 1);
    private static final List<String> SALIENCIES =
            Arrays.stream(Saliency.values()).map(Saliency::label).toList();

    private CompressJson() {}

    static Compression read(final Section section) {
        if (!section.has("keep")) {
            throw new BadInputException("compression without a share", section.where("keep"), KEEP.remedy());
        }
        final Compression compression = new Compression(
                section.number("keep", KEEP, 1),
                section.choice("saliency", SALIENCIES)
                        .map(label -> EditJson.constant(Saliency.class, label))
                        .orElse(Saliency.NORM));
        section.end();
        return compression;
    }

    static void write(final Compression compression, final ObjectNode node) {
        node.put("keep", compression.keep()).put("saliency", compression.saliency().label());
    }
}
