package dev.equipoise.bench.cli;

import dev.equipoise.steering.vector.VisualVectorFile;
import java.io.PrintWriter;
import java.util.Arrays;
import java.util.Locale;

/** What is in a file of visual directions, for people and as JSON. */
final class VisualVectorWords {
    private VisualVectorWords() {}

    static JsonDocument put(final JsonDocument json, final VisualVectorFile file) {
        return json.put("model_hint", file.modelHint())
                .put("width", file.vectors().width())
                .put("positions", file.vectors().positions())
                .objects("layers", file.vectors().layers(), (entry, layer) -> entry.put("layer", layer)
                        .put("mean_norm", mean(file, layer)));
    }

    static void print(final PrintWriter out, final VisualVectorFile file) {
        out.println("model hint " + (file.modelHint().isEmpty() ? "none" : Terminal.plain(file.modelHint()))
                + ", picture encoder of " + file.vectors().positions() + " positions, " + file.vectors().width()
                + " wide");
        out.println("block  mean norm");
        for (final int layer : file.vectors().layers()) {
            out.printf(Locale.ROOT, "%5d  %9.4g%n", layer, mean(file, layer));
        }
    }

    private static double mean(final VisualVectorFile file, final int layer) {
        return Arrays.stream(file.vectors().norms(layer)).average().orElseThrow();
    }
}
