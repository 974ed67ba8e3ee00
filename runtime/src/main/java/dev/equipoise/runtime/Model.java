package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.UnavailableException;
import dev.equipoise.runtime.ffm.EncoderHandle;
import dev.equipoise.runtime.ffm.ModelHandle;
import dev.equipoise.runtime.gguf.GgufFile;
import dev.equipoise.runtime.gguf.GgufModelCheck;
import dev.equipoise.runtime.gguf.Mmproj;
import dev.equipoise.runtime.gguf.TextModel;
import dev.equipoise.runtime.template.ChatTemplate;
import dev.equipoise.runtime.template.Piece;
import dev.equipoise.runtime.template.Turn;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * A model's weights, tokenizer, chat template and encoders.
 *
 * <p>Thread-safe: several engines on several threads may share one. Owns its native objects; may be closed before the
 * engines that use it, which then keep the weights until they close.
 */
public final class Model implements AutoCloseable {
    private static final double NEARLY_ALL = 0.9;

    private final Path file;
    private final ModelHandle weights;
    private final Optional<EncoderHandle> encoder;
    private final Optional<MediaCache> media;
    private final Optional<Mmproj.Vision> eyes;
    private final ModelHandle.Info facts;
    private final ModelInfo info;
    private final ChatTemplate template;
    private final boolean onCpu;
    private final boolean multipliesItself;
    private final int headSize;

    private Model(
            final Path file,
            final ModelHandle weights,
            final Optional<EncoderHandle> encoder,
            final Optional<Mmproj.Vision> eyes,
            final int headSize,
            final boolean onCpu) {
        this.eyes = eyes;
        this.headSize = headSize;
        this.onCpu = onCpu;
        this.file = file;
        this.weights = weights;
        this.multipliesItself = weights.products() >= NEARLY_ALL;
        this.encoder = encoder;
        this.media = encoder.map(MediaCache::new);
        this.facts = weights.info();
        final Optional<EncoderHandle.Info> senses = encoder.map(EncoderHandle::info);
        final Optional<String> source = weights.chatTemplate();
        this.info = new ModelInfo(
                facts.architecture(),
                facts.description(),
                facts.layers(),
                facts.heads(),
                facts.width(),
                facts.vocabulary(),
                facts.trainedContext(),
                facts.parameters(),
                senses.map(EncoderHandle.Info::vision).orElse(false),
                senses.map(EncoderHandle.Info::audio).orElse(false),
                senses.map(EncoderHandle.Info::audioSampleRate).orElse(0),
                source);
        this.template = source.map(text -> ChatTemplate.of(text, tokenText(facts.bos()), tokenText(facts.eos())))
                .orElseGet(ChatTemplate::none);
    }

    /**
     * Loads a model.
     *
     * @param file a GGUF file
     * @param options encoders, GPU layers, threads, probe
     * @throws BadInputException if a file cannot be used: not GGUF, broken, of an architecture that is not supported
     * @throws UnavailableException if the native library is missing
     */
    public static Model load(final Path file, final ModelOptions options) {
        final GgufFile header = GgufFile.read(file);
        final TextModel shape = GgufModelCheck.text(header);
        final Optional<GgufFile> encoderHeader = options.mmproj().map(GgufFile::read);
        final Optional<Mmproj.Vision> eyes =
                encoderHeader.flatMap(gguf -> GgufModelCheck.mmproj(gguf, shape).vision());
        if (options.probe()) {
            Probe.require(header, encoderHeader);
        }

        final ModelHandle weights = ModelHandle.open(file, options.gpuLayers());
        EncoderHandle encoder = null;
        try {
            if (!weights.info().hasMemory()) {
                throw new BadInputException(
                        "recurrent or hybrid model", file.toString(), "use a model with plain attention layers");
            }
            if (options.mmproj().isPresent()) {
                encoder = EncoderHandle.open(
                        options.mmproj().get(), weights, options.threads(), options.gpuLayers() > 0);
            }
            return new Model(
                    file,
                    weights,
                    Optional.ofNullable(encoder),
                    eyes,
                    shape.headSize(),
                    options.gpuLayers() == 0);
        } catch (final RuntimeException | Error e) {
            if (encoder != null) {
                encoder.close();
            }
            weights.close();
            throw e;
        }
    }

    /** What the model is. */
    public ModelInfo info() {
        return info;
    }

    /** The file it came from. */
    public Path file() {
        return file;
    }

    /**
     * Whether a further column of a decode, such as one more branch, costs little: nine tenths or more of the bytes
     * that a decode reads, those of the blocks' matrices and of the output, are multiplied by this project's kernels on
     * the CPU. So it is on x86 with AVX2 for models of types q4_0, q8_0 and q4_K_M, unless the environment variable
     * {@code EQUIPOISE_PRODUCTS} says {@code llama}.
     */
    public boolean multipliesItself() {
        return multipliesItself;
    }

    /**
     * Tokens of a text taken by itself, without a beginning or end token.
     *
     * @param parseSpecial whether control tokens written out in it become those tokens
     */
    public int[] tokenize(final String text, final boolean parseSpecial) {
        return weights.tokenize(text, parseSpecial);
    }

    /** The text of some tokens; control tokens are left out. */
    public String text(final List<Integer> tokens) {
        final AnswerText text = new AnswerText(List.of());
        tokens.forEach(token -> text.append(weights.bytes(token, false)));
        text.finish();
        return text.toString();
    }

    /**
     * Encodes a picture or sound by itself: what the language model is given in its place.
     *
     * @return {@code [rows][width]}, the rows of all its embedding chunks
     */
    public float[] embed(final Part medium) {
        final List<EncoderHandle.Chunk> chunks = encode(medium).stream()
                .filter(chunk -> chunk.embeddings() != null)
                .toList();
        final float[] rows = new float
                [chunks.stream().mapToInt(chunk -> chunk.embeddings().length).sum()];
        int at = 0;
        for (final EncoderHandle.Chunk chunk : chunks) {
            System.arraycopy(chunk.embeddings(), 0, rows, at, chunk.embeddings().length);
            at += chunk.embeddings().length;
        }
        return rows;
    }

    /** The shape of its picture encoder, if it has one. */
    public Optional<Mmproj.Vision> pictureEncoder() {
        return eyes;
    }

    /**
     * Encodes a picture and reads the outputs of the encoder's blocks; nothing is kept.
     *
     * @param mask patches to overwrite first, of the encoder's own number a row; none if empty
     * @throws BadInputException without a picture encoder, or with one that runs no block
     */
    public PictureStates pictureStates(final Image image, final Optional<PatchMask> mask) {
        final Part.Picture picture = new Part.Picture(image, Optional.empty());
        requireUnderstood(picture);
        final EncoderHandle.Manner plain = EncoderHandle.Manner.PLAIN.capturing(EncoderHandle.Captured.LAYER);
        return PictureStates.of(
                media.orElseThrow().run(image, mask.map(it -> plain.masked(it.side(), it.marks())).orElse(plain)),
                image.toString());
    }

    @Override
    public void close() {
        encoder.ifPresent(EncoderHandle::close);
        weights.close();
    }

    /** How many pictures and sounds were encoded so far. */
    int encodings() {
        return media.map(MediaCache::runs).orElse(0);
    }

    /** Elements of one head's keys and values. */
    int headSize() {
        return headSize;
    }

    /** Whether no layer of it is on a GPU. */
    boolean isOnCpu() {
        return onCpu;
    }

    /** Its encoders, which it must have. */
    EncoderHandle handleOfEncoder() {
        return encoder.orElseThrow();
    }

    ModelHandle handle() {
        return weights;
    }

    /** Whether some blocks see a window of the latest tokens alone. */
    boolean hasSlidingWindow() {
        return weights.info().slidingWindow() > 0;
    }

    /**
     * Lays a prompt out by the model's template, tokenises its pieces one by one, encodes its media, and puts what
     * there is of an answer behind.
     */
    EncodedPrompt encode(final Prompt prompt) {
        final List<Part> media = prompt.parts().stream().filter(Part::isMedium).toList();
        final EncodedPrompt.Builder builder = new EncodedPrompt.Builder();
        for (final Piece piece : template.render(Turn.conversation(prompt))) {
            switch (piece) {
                case Piece.Template words -> tokens(builder, words.text(), true, Modality.TEXT);
                case Piece.User words -> {
                    tokens(builder, words.text(), false, words.modality());
                    builder.endInstruction();
                }
                case Piece.Media place -> {
                    begin(builder, new int[0]);
                    builder.medium(place.index());
                    for (final EncoderHandle.Chunk chunk : encode(media.get(place.index()))) {
                        builder.chunk(chunk, place.modality());
                    }
                    builder.endInstruction();
                }
            }
        }
        if (!prompt.answer().isEmpty()) {
            builder.beginAnswer();
            tokens(builder, prompt.answer(), false, Modality.TEXT);
        }
        return builder.build();
    }

    private void tokens(
            final EncodedPrompt.Builder builder, final String text, final boolean special, final Modality modality) {
        final int[] ids = weights.tokenize(text, special);
        begin(builder, ids);
        builder.tokens(ids, modality);
    }

    // Some templates write the beginning token themselves; it must stand there once.
    private void begin(final EncodedPrompt.Builder builder, final int[] first) {
        final boolean written = first.length > 0 && first[0] == facts.bos();
        if (builder.isEmpty() && facts.addBos() && !written) {
            builder.tokens(new int[] {facts.bos()}, Modality.TEXT);
        }
    }

    private List<EncoderHandle.Chunk> encode(final Part medium) {
        requireUnderstood(medium);
        if (medium instanceof Part.Picture picture) {
            picture.steering().ifPresent(steering -> steering.requireFits(eyes.orElseThrow()));
            // Where no block runs, none attends to anything.
            final Optional<Compression> chosen = picture.compression()
                    .filter(it -> it.saliency() == Compression.Saliency.ATTENTION && eyes.orElseThrow().blocks() == 0);
            if (chosen.isPresent()) {
                return media.orElseThrow().encode(new Part.Picture(
                        picture.image(),
                        picture.noise(),
                        Optional.of(new Compression(chosen.get().keep(), Compression.Saliency.NORM)),
                        picture.steering()));
            }
        }
        return media.orElseThrow().encode(medium);
    }

    private void requireUnderstood(final Part medium) {
        final boolean understood = medium instanceof Part.Picture ? info.vision() : info.audio();
        if (!understood) {
            final boolean picture = medium instanceof Part.Picture;
            throw new BadInputException(
                    picture ? "a picture for a model without vision" : "a sound for a model without hearing",
                    name(medium),
                    media.isEmpty()
                            ? "load the model with its mmproj file"
                            : "use an mmproj file with " + (picture ? "a vision" : "an audio") + " encoder");
        }
    }

    private static String name(final Part medium) {
        return switch (medium) {
            case Part.Picture picture -> picture.image().bytes().name();
            case Part.Sound sound -> sound.audio().bytes().name();
            case Part.Said said -> "an earlier answer";
            case Part.Words words -> words.modality().label();
        };
    }

    private String tokenText(final int token) {
        return token < 0 ? "" : new String(weights.bytes(token, true), StandardCharsets.UTF_8);
    }
}
