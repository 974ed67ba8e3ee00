package dev.equipoise.bench.demo;

import dev.equipoise.runtime.EngineOptions;
import dev.equipoise.runtime.ModelInfo;

/** How large an engine has to be when nobody says. */
public final class EngineSize {
    private EngineSize() {}

    /**
     * Options with room for some branches, each as long as the model was trained for, as far as that is no more than
     * the default: the cache of a long context takes gigabytes.
     */
    public static EngineOptions fit(final EngineOptions options, final ModelInfo model, final int branches) {
        final int each = Math.min(model.trainedContext(), EngineOptions.defaults().context());
        return options.withMaxBranches(branches).withContext(each * branches);
    }
}
