package dev.equipoise.decoding;

import dev.equipoise.decoding.spec.JsonReader;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.kernels.error.InternalException;
import dev.equipoise.steering.edit.Edit;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tools.jackson.databind.node.JsonNodeFactory;

/** Where strategies come from: the presets in the jar, files and texts. */
public final class Strategies {
    private static final List<String> NAMES = List.of(
            "greedy",
            "plausibility-only",
            "vcd",
            "icd",
            "icd-vcd",
            "m3id",
            "cad",
            "cad-summary",
            "fmd",
            "fmd-note",
            "zero-scale",
            "yes-shift",
            "vcd-extended",
            "ritual",
            "mad",
            "mad-note",
            "pai-guidance",
            "pai",
            "vaf",
            "vista",
            "vista-sla",
            "ibd-style",
            "dola",
            "dola-high",
            "dola-code",
            "dola-high-code",
            "code-style",
            "soften",
            "reallocate-style",
            "compress-style",
            "compress-cls",
            "recognise-then-reason",
            "reminder",
            "answer-prompt",
            "check-first",
            "modality-instruction",
            "verbalised-sampling",
            "verbalised-sampling-cot",
            "verbalised-sampling-tails",
            "verbalised-sampling-multi",
            "sid",
            "sid-code",
            "avisc",
            "avisc-generative",
            "avcd",
            "avcd-code",
            "avcd-avhbench",
            "outro",
            "beam-search",
            "opera",
            "opera-fast");
    private static final List<String> FOR_OPTIONS = List.of("dcd");
    private static final String VTI = "vti";
    private static final String VTI_VISUAL = "vti-visual";
    // Between the files of VTI's two halves.
    private static final Pattern BOTH = Pattern.compile("(.+\\.gguf),(.+)", Pattern.DOTALL);
    private static final String FILE = "a control-vector file of steer extract: ";
    // Presets that lack something: its keys in the file, and how it is given.
    private static final Map<String, Lack> LACKS = Map.ofEntries(
            Map.entry(
                    VTI,
                    new Lack(
                            List.of("vector"),
                            "a control-vector file, vti:FILE.gguf, or one for each half,"
                                    + " vti:TEXT.gguf,VISUAL.gguf")),
            Map.entry(
                    VTI_VISUAL,
                    new Lack(List.of("vector"), "a file of visual directions: vti-visual:VISUAL.gguf")),
            Map.entry(
                    "var",
                    new Lack(
                            List.of("sinkDimensions"),
                            "the dimensions of the model's attention sinks: var:1415,2533")),
            Map.entry(
                    "crg",
                    new Lack(
                            List.of("boxes"),
                            "the regions to black out, in pixels of the picture: crg:LEFT,TOP,RIGHT,BOTTOM, more"
                                    + " of them behind semicolons")),
            Map.entry("caa", new Lack(List.of("vector"), FILE + "caa:FILE.gguf")),
            Map.entry("repeng", new Lack(List.of("vector"), FILE + "repeng:FILE.gguf")),
            Map.entry("mc2", new Lack(List.of("vector"), FILE + "mc2:FILE.gguf")),
            Map.entry("ablate", new Lack(List.of("vector"), FILE + "ablate:FILE.gguf")),
            Map.entry(
                    "angular",
                    new Lack(
                            List.of("vector", "second"),
                            "the direction, and perhaps the other one of the plane: angular:FILE.gguf,SECOND.gguf")),
            Map.entry(
                    "cast",
                    new Lack(
                            List.of("condition", "vector"),
                            "the condition's direction and the behaviour's: cast:CONDITION.gguf,BEHAVIOUR.gguf")));
    // Names that people look for, and what to do.
    private static final Map<String, String> CURES = Map.ofEntries(
            Map.entry("ibd", "choose ibd-style: neither its paper nor code could be read"),
            Map.entry("code", "choose code-style: its strength and cut-off are constants"),
            Map.entry("mosear", "choose reallocate-style: its formula is not known"),
            Map.entry("reallocate", "choose reallocate-style, or write an attention edit of that name"),
            Map.entry("compress", "choose compress-cls, compress-style, or write the key compress"),
            Map.entry("compose-and-fuse", "choose soften, or recognise-then-reason: its two halves"),
            Map.entry("clearsight", "choose vaf, as its paper calls it"),
            Map.entry("repe", "choose repeng:FILE.gguf, which adds as both codes do"),
            Map.entry("halc", "it needs a detector, and is not here: docs/strategies.md says why"),
            Map.entry("random-vector", "name a strategy with vectors: random-vector:SEED:STRATEGY"));

    // A plane whose other direction is not given.
    private static final String OTHER = SteerJson.RANDOM + "1:";

    private record Lack(List<String> keys, String remedy) {}

    private static final String ZERO_SCALE = "zero-scale:";
    // 18 digits fit into 64 bits.
    private static final Pattern RANDOM_VECTOR = Pattern.compile("random-vector:(-?[0-9]{1,18}):(.+)", Pattern.DOTALL);

    private Strategies() {}

    /** The names of presets that are complete, for any request. */
    public static List<String> names() {
        return NAMES;
    }

    /** The names of the presets for questions that come with options. */
    public static List<String> forOptions() {
        return FOR_OPTIONS;
    }

    /** The names of presets that lack something, which stands behind a colon: {@code vti:FILE.gguf}. */
    public static Set<String> incomplete() {
        return new TreeSet<>(LACKS.keySet());
    }

    /**
     * A preset.
     *
     * @throws BadInputException when there is none of that name
     */
    public static Strategy named(final String name) {
        if (LACKS.containsKey(name)) {
            final Lack lack = LACKS.get(name);
            throw new BadInputException(
                    "strategy \"" + name + "\" without its " + String.join(" and ", lack.keys()),
                    "strategy",
                    "give " + lack.remedy());
        }
        if (!NAMES.contains(name) && !FOR_OPTIONS.contains(name)) {
            throw new BadInputException(
                    "unknown strategy \"" + name + "\"",
                    "strategy",
                    // What stands behind a colon is another matter.
                    Optional.ofNullable(CURES.get(name.replaceFirst(":.*", ""))).orElseGet(() ->
                            // The names last: of a line that is too long, the end is cut.
                            "give a file that ends in .json, a control zero-scale:STRATEGY or"
                                    + " random-vector:SEED:STRATEGY, or a preset: for given options "
                                    + String.join(", ", FOR_OPTIONS)
                                    + ", with what they lack " + String.join(", ", incomplete())
                                    + ", or " + String.join(", ", NAMES)));
        }
        return parse(preset(name), "preset " + name);
    }

    // What is lacking stands in the file in braces; where there is more than one thing, commas are between them.
    private static Strategy completed(final String name, final String what) {
        final Matcher both = BOTH.matcher(what);
        if (name.equals(VTI) && both.matches()) {
            final Strategy textual = completed(VTI, both.group(1));
            final List<Edit> edits = new ArrayList<>(textual.edits());
            edits.addAll(completed(VTI_VISUAL, both.group(2)).edits());
            return textual.withEdits(edits);
        }
        final Lack lack = LACKS.get(name);
        final List<String> parts = new ArrayList<>(
                lack.keys().size() == 1 ? List.of(what) : List.of(what.split(",", -1)));
        if (name.equals("angular") && parts.size() == 1) {
            parts.add(OTHER + what);
        }
        if (parts.size() != lack.keys().size()) {
            throw new BadInputException(
                    "strategy \"" + name + "\" of " + parts.size() + " parts", "strategy " + name + ":" + what,
                    "give " + lack.remedy());
        }
        String json = preset(name);
        for (int i = 0; i < parts.size(); i++) {
            final String part = JsonNodeFactory.instance.stringNode(parts.get(i)).toString();
            json = json.replace("\"{" + lack.keys().get(i) + "}\"", part);
        }
        return parse(json, "preset " + name);
    }

    /** Whether a preset is called so. */
    static boolean isPreset(final String name) {
        return NAMES.contains(name) || LACKS.containsKey(name) || FOR_OPTIONS.contains(name);
    }

    /** What to do about a name that is no shorthand of a contrast, if it is known for anything else. */
    static Optional<String> cure(final String name) {
        if (NAMES.contains(name) || LACKS.containsKey(name)) {
            return Optional.of("name the preset as the strategy, or copy what it is made of");
        }
        if (FOR_OPTIONS.contains(name)) {
            return Optional.of("name it as the strategy, or write \"choose\": \"" + name
                    + "\" in place of the contrast");
        }
        return Optional.ofNullable(CURES.get(name));
    }

    private static String preset(final String name) {
        try (InputStream in = Strategies.class.getResourceAsStream("presets/" + name + ".json")) {
            if (in == null) {
                throw new InternalException("preset missing from the jar", name, "report this as a bug");
            }
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (final IOException e) {
            throw new InternalException("preset cannot be read", name, "report this as a bug", e);
        }
    }

    /**
     * What the command line's {@code --strategy} means: a preset's name, if it is {@link #incomplete} with what it
     * lacks behind a colon (for {@code vti} one file, or with a comma between them one for each half), a file that ends
     * in {@code .json}, or a control made of either:
     * {@code zero-scale:STRATEGY}, {@code random-vector:SEED:STRATEGY}.
     */
    public static Strategy find(final String nameOrFile) {
        final Matcher random = RANDOM_VECTOR.matcher(nameOrFile);
        if (random.matches()) {
            return Controls.randomVector(find(random.group(2)), Long.parseLong(random.group(1)));
        }
        if (nameOrFile.startsWith(ZERO_SCALE)) {
            final Strategy whole = find(nameOrFile.substring(ZERO_SCALE.length()));
            final Strategy zero = Controls.zeroScale(whole);
            if (zero.fingerprint().equals(whole.fingerprint())) {
                throw new BadInputException(
                        "a strategy that is itself at strength 0", "strategy " + nameOrFile, "name " + whole.name());
            }
            return zero;
        }
        final int colon = nameOrFile.indexOf(':');
        if (colon > 0 && LACKS.containsKey(nameOrFile.substring(0, colon))) {
            return completed(nameOrFile.substring(0, colon), nameOrFile.substring(colon + 1));
        }
        if (!nameOrFile.endsWith(".json")) {
            return named(nameOrFile);
        }
        try {
            return read(Path.of(nameOrFile));
        } catch (final InvalidPathException e) {
            throw new BadInputException("not a file name", nameOrFile, "name a JSON file", e);
        }
    }

    /** Whether a text names a strategy that is made of something else; {@link #find} says how. */
    public static boolean isMade(final String nameOrFile) {
        final int colon = nameOrFile.indexOf(':');
        return nameOrFile.startsWith(ZERO_SCALE)
                || RANDOM_VECTOR.matcher(nameOrFile).matches()
                || colon > 0 && LACKS.containsKey(nameOrFile.substring(0, colon));
    }

    /**
     * A strategy file. Without a name in it, the strategy is called as the file is.
     *
     * @throws BadInputException naming the file, and in it the key, that cannot be used
     */
    public static Strategy read(final Path file) {
        if (!Files.isRegularFile(file)) {
            throw new BadInputException(
                    Files.exists(file) ? "not a regular file" : "no such strategy file",
                    file.toString(),
                    "name a JSON file");
        }
        final String stem = file.getFileName().toString().replaceFirst("\\.json$", "");
        final Path folder = file.toAbsolutePath().getParent();
        return StrategyJson.read(text(file), file.toString(), stem, folder);
    }

    /**
     * A strategy from its text.
     *
     * <p>Files that it names lie in the working directory unless they say otherwise.
     *
     * @param origin what to call the text in messages, and the strategy if it has no name
     */
    public static Strategy parse(final String json, final String origin) {
        return StrategyJson.read(json, origin, origin, Path.of(""));
    }

    private static String text(final Path file) {
        try {
            // Four bytes hold any character, so what is longer cannot be within the reader's limit.
            if (Files.size(file) > 4L * JsonReader.MAX_LENGTH) {
                throw new BadInputException("strategy file too long", file.toString(), "name a strategy file");
            }
            final ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file));
            return StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
        } catch (final CharacterCodingException e) {
            throw new BadInputException("strategy file is not UTF-8", file.toString(), "save it as UTF-8", e);
        } catch (final IOException e) {
            throw new BadInputException(
                    "strategy file cannot be read (" + e.getMessage() + ")", file.toString(), "check its rights", e);
        }
    }
}
