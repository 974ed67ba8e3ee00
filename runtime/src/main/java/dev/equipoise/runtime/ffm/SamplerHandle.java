package dev.equipoise.runtime.ffm;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import dev.equipoise.kernels.ffm.NativeLibraries;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** One request's sampler chain, which remembers the tokens it drew. Used by its engine's thread only. */
public final class SamplerHandle extends NativeHandle {
    private SamplerHandle(final MemorySegment address) {
        super("sampler", address);
    }

    /**
     * Makes a chain; see {@code eq_sampler_params}. A null {@code grammar} leaves the answer free.
     *
     * @param biasTokens tokens whose logits are shifted
     * @param bias by how much, one each
     */
    public static SamplerHandle open(
            final ModelHandle model,
            final double temperature,
            final int topK,
            final double topP,
            final double minP,
            final double repeatPenalty,
            final int repeatWindow,
            final double frequencyPenalty,
            final double presencePenalty,
            final int seed,
            final String grammar,
            final int[] biasTokens,
            final float[] bias) {
        synchronized (model) {
            try (Arena arena = Arena.ofConfined()) {
                final MemorySegment params = arena.allocate(Host.SAMPLER_PARAMS);
                params.set(JAVA_DOUBLE, Host.offset(Host.SAMPLER_PARAMS, "temperature"), temperature);
                params.set(JAVA_INT, Host.offset(Host.SAMPLER_PARAMS, "top_k"), topK);
                params.set(JAVA_DOUBLE, Host.offset(Host.SAMPLER_PARAMS, "top_p"), topP);
                params.set(JAVA_DOUBLE, Host.offset(Host.SAMPLER_PARAMS, "min_p"), minP);
                params.set(JAVA_DOUBLE, Host.offset(Host.SAMPLER_PARAMS, "repeat_penalty"), repeatPenalty);
                params.set(JAVA_INT, Host.offset(Host.SAMPLER_PARAMS, "repeat_window"), repeatWindow);
                params.set(
                        JAVA_DOUBLE, Host.offset(Host.SAMPLER_PARAMS, "frequency_penalty"), frequencyPenalty);
                params.set(JAVA_DOUBLE, Host.offset(Host.SAMPLER_PARAMS, "presence_penalty"), presencePenalty);
                params.set(JAVA_INT, Host.offset(Host.SAMPLER_PARAMS, "seed"), seed);
                params.set(
                        ADDRESS,
                        Host.offset(Host.SAMPLER_PARAMS, "grammar"),
                        grammar == null ? MemorySegment.NULL : arena.allocateFrom(grammar));
                params.set(
                        ADDRESS,
                        Host.offset(Host.SAMPLER_PARAMS, "bias_tokens"),
                        arena.allocateFrom(JAVA_INT, biasTokens));
                params.set(ADDRESS, Host.offset(Host.SAMPLER_PARAMS, "bias"), arena.allocateFrom(JAVA_FLOAT, bias));
                params.set(JAVA_INT, Host.offset(Host.SAMPLER_PARAMS, "n_bias"), bias.length);
                final MemorySegment cell = Host.cell(arena);
                final int status;
                try {
                    status = (int) Host.eq_sampler_open$MH.invokeExact(model.address(), params, cell);
                } catch (final Throwable e) {
                    throw NativeLibraries.unexpected("eq_sampler_open", e);
                }
                if (grammar == null) {
                    Host.check(status, "sampling");
                } else {
                    Host.check(status, "grammar", "write GBNF with a rule called root");
                }
                return new SamplerHandle(cell.get(ADDRESS, 0));
            }
        }
    }

    @Override
    void free(final MemorySegment pointer) {
        try {
            Host.eq_sampler_close$MH.invokeExact(pointer);
        } catch (final Throwable e) {
            throw NativeLibraries.unexpected("eq_sampler_close", e);
        }
    }
}
