package dev.equipoise.runtime.gguf;

import dev.equipoise.kernels.error.BadInputException;
import java.util.Map;
import java.util.TreeSet;

/**
 * Refuses, before llama.cpp sees it, every file on which llama.cpp would abort the process.
 *
 * <p>Works by lists of what is known to be sound, not of what is known to be broken: architectures, tokenizers and
 * projector types by name, and for each all tensors with their shapes and types. Looks at the header only; the
 * values of weights are not read. Stateless and safe for any thread.
 */
public final class GgufModelCheck {
    private static final Map<String, String> REFUSED = Map.ofEntries(
            recurrent("mamba"), recurrent("mamba2"), recurrent("rwkv6"), recurrent("rwkv6qwen2"), recurrent("rwkv7"),
            recurrent("arwkv7"),
            hybrid("jamba"), hybrid("falcon-h1"), hybrid("plamo2"), hybrid("granitehybrid"), hybrid("lfm2"),
            hybrid("lfm2moe"), hybrid("nemotron_h"), hybrid("nemotron_h_moe"), hybrid("qwen3next"),
            hybrid("kimi-linear"), hybrid("bailingmoe3"), hybrid("kimi-k3"), hybrid("qwen35"), hybrid("qwen35moe"),
            hybrid("qwen4exp"), hybrid("deepseek4"), hybrid("minimax-01"),
            alibi("bloom"), alibi("mpt"), alibi("refact"), alibi("jais"), alibi("baichuan"), alibi("jina-bert-v2"),
            encoder("bert"), encoder("modern-bert"), encoder("nomic-bert"), encoder("nomic-bert-moe"),
            encoder("neo-bert"), encoder("jina-bert-v3"), encoder("eurobert"), encoder("t5"), encoder("t5encoder"),
            encoder("gemma-embedding"), encoder("llama-embed"));

    private GgufModelCheck() {
    }

    /**
     * Checks a text model.
     *
     * @return its hyper-parameters
     * @throws BadInputException if llama.cpp could not load it or Equipoise cannot host it
     */
    public static TextModel text(final GgufFile file) {
        final String architecture = file.architecture();
        if (architecture.equals("clip")) {
            throw new BadInputException("a multimodal projector, not a text model", file.path().toString(),
                    "give it with --mmproj and name the text model with --model");
        }
        final String reason = REFUSED.get(architecture);
        if (reason != null) {
            throw new BadInputException("architecture '" + architecture + "' " + reason, file.path().toString(),
                    "use a model of one of the architectures " + supported());
        }
        final Architecture known = Architecture.of(architecture);
        if (known == null) {
            throw new BadInputException("unknown architecture '" + architecture + "'", file.path().toString(),
                    "use a model of one of the architectures " + supported());
        }
        requireWhole(file);
        return new TextModelCheck(file, known).check();
    }

    /**
     * Checks a multimodal projector of any width.
     *
     * @return its hyper-parameters
     * @throws BadInputException if libmtmd could not load it or its projector types are not among those tested
     */
    public static Mmproj mmproj(final GgufFile file) {
        if (!file.architecture().equals("clip")) {
            throw new BadInputException("architecture '" + file.architecture() + "' is not a multimodal projector",
                    file.path().toString(), "give text models with --model and name the mmproj file with --mmproj");
        }
        requireWhole(file);
        return new MmprojCheck(file).check();
    }

    /**
     * Checks a multimodal projector for a text model of a given width.
     *
     * @return its hyper-parameters
     * @throws BadInputException as {@link #mmproj(GgufFile)}, and if its embeddings have another width
     */
    public static Mmproj mmproj(final GgufFile file, final TextModel textModel) {
        final Mmproj mmproj = mmproj(file);
        if (mmproj.width() != textModel.width()) {
            throw new BadInputException(
                    "mmproj makes embeddings of " + mmproj.width() + " elements, the text model takes "
                            + textModel.width(),
                    file.path().toString(), "use the mmproj that belongs to the text model");
        }
        return mmproj;
    }

    /** The names of the supported architectures in alphabetical order. */
    public static Iterable<String> supported() {
        return new TreeSet<>(Architecture.names());
    }

    private static void requireWhole(final GgufFile file) {
        final GgufValue count = file.metadata().get("split.count");
        if (count != null && !(count instanceof GgufValue.Whole(GgufValue.Type type, long n)
                && type == GgufValue.Type.U16 && n <= 1)) {
            throw new BadInputException("one part of a split model", file.path().toString(), "merge the parts first");
        }
        if (file.alignment() < HeaderParser.DEFAULT_ALIGNMENT) {
            throw file.bad("tensor data is aligned to " + file.alignment() + " bytes, at least "
                    + HeaderParser.DEFAULT_ALIGNMENT + " are needed");
        }
        if (file.tensors().isEmpty()) {
            throw file.bad("no tensors");
        }
    }

    private static Map.Entry<String, String> recurrent(final String name) {
        return Map.entry(name, "is recurrent: branches cannot share its state");
    }

    private static Map.Entry<String, String> hybrid(final String name) {
        return Map.entry(name, "is a hybrid with recurrent layers: branches cannot share their state");
    }

    private static Map.Entry<String, String> alibi(final String name) {
        return Map.entry(name, "uses ALiBi: its scaled attention mask rules out exact attention edits");
    }

    private static Map.Entry<String, String> encoder(final String name) {
        return Map.entry(name, "is an encoder: it does not generate");
    }
}
