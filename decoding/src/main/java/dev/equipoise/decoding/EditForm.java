package dev.equipoise.decoding;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.intervention.Condition;
import dev.equipoise.runtime.intervention.Heads;
import dev.equipoise.runtime.intervention.Intervention.Divergence;
import dev.equipoise.runtime.intervention.Intervention.Operation;
import dev.equipoise.runtime.intervention.Intervention.Place;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.runtime.intervention.When;
import dev.equipoise.steering.Exits;
import dev.equipoise.steering.Layers;
import dev.equipoise.steering.edit.AttentionEdit;
import dev.equipoise.steering.edit.Edit;
import dev.equipoise.steering.edit.ExitEdit;
import dev.equipoise.steering.edit.PromptSteeringEdit;
import dev.equipoise.steering.edit.SteeringEdit;
import dev.equipoise.steering.edit.VisionEdit;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;

/**
 * The normal form of a list of edits: what acts at each place of each block, with the numbers that the engine works
 * with. Lists that do the same have one form, whatever their split into edits and the order of edits that do not meet.
 */
final class EditForm {
    private final OptionalInt depth;
    private final List<Part> parts = new ArrayList<>();

    private EditForm(final OptionalInt depth) {
        this.depth = depth;
    }

    /**
     * What one edit does at one block.
     *
     * @param point which tensor; those of different points do not meet
     * @param layer the block, where it is known without a model
     * @param scope tokens
     * @param heads heads
     * @param keys whose scores or masks, where keys of others are left alone; empty: everything of the token
     * @param text what it does, and all of the above
     */
    private record Part(
            String point, OptionalInt layer, Scope scope, Heads heads, Set<Modality> keys, String text) {
        boolean meets(final Part other) {
            final boolean apart = !point.equals(other.point)
                    || layer.isPresent() && other.layer.isPresent() && !layer.equals(other.layer)
                    || !Conflicts.overlap(scope, other.scope)
                    || !heads.isAll() && !other.heads.isAll()
                            && Collections.disjoint(heads.numbers(), other.heads.numbers())
                    || !keys.isEmpty() && !other.keys.isEmpty() && Collections.disjoint(keys, other.keys);
            return !apart;
        }
    }

    /**
     * The form of edits.
     *
     * @param depth number of blocks of the model, if it is known; relative choices of layers stay what they are without
     * @return one text for each thing that is done, in an order that is the same for all lists of this form
     */
    static List<String> of(final List<Edit> edits, final OptionalInt depth) {
        final EditForm form = new EditForm(depth);
        edits.forEach(form::add);
        return form.ordered();
    }

    // The first, by text, of those that none before them meets, again and again.
    private List<String> ordered() {
        final List<Part> left = new ArrayList<>(parts);
        final List<String> ordered = new ArrayList<>();
        while (!left.isEmpty()) {
            int next = 0;
            for (int i = 1; i < left.size(); i++) {
                final Part one = left.get(i);
                if (one.text.compareTo(left.get(next).text) < 0
                        && left.subList(0, i).stream().noneMatch(one::meets)) {
                    next = i;
                }
            }
            ordered.add(left.remove(next).text);
        }
        return ordered;
    }

    private void add(final Edit edit) {
        switch (edit) {
            case SteeringEdit steer -> steering(steer);
            case PromptSteeringEdit steer -> {
                final Fingerprint text = new Fingerprint();
                text.put("operation", steer.operation());
                text.put("amount", (float) steer.amount() + 0f);
                text.put("without", steer.without().label());
                steer.seed().ifPresent(seed -> text.put("seed", seed));
                steer.when().ifPresent(when -> when(text, when.when()));
                spread(
                        steer.place().label(), steer.layers().orElse(Layers.all()), steer.scope(), Heads.ALL, Set.of(),
                        text);
            }
            case VisionEdit vision -> vision(vision);
            case AttentionEdit attention -> attention(attention);
            case ExitEdit exits -> {
                final Fingerprint text = new Fingerprint();
                text.put("exits", exits.method());
                switch (exits) {
                    case ExitEdit.Average average -> {
                        text.put("weight", (float) average.weight());
                        text.put("normed", average.normed());
                    }
                    case ExitEdit.Contrast contrast -> {
                        text.put("relativeTop", (float) contrast.relativeTop());
                        text.put("normed", contrast.normed());
                        // The first has no word of its own: fingerprints are older than the second.
                        if (contrast.divergence() != Divergence.JENSEN_SHANNON && !isAlone(contrast.layers())) {
                            text.put("divergence", contrast.divergence());
                        }
                    }
                }
                text.put("layers", known(exits.layers()));
                put("exits", OptionalInt.empty(), Scope.all(), Heads.ALL, Set.of(), text);
            }
        }
    }

    // The blocks, where they can be said.
    private Optional<SortedSet<Integer>> known(final Layers layers) {
        try {
            if (depth.isPresent()) {
                return Optional.of(layers.resolve(depth.getAsInt()));
            }
        } catch (final BadInputException e) {
            return Optional.empty(); // not for this model; refused when it is to be carried out
        }
        return layers instanceof Layers.Blocks blocks
                ? Optional.of(blocks.resolve(blocks.last() + 1))
                : Optional.empty();
    }

    // Whether there is but one to choose.
    private boolean isAlone(final Exits exits) {
        try {
            return depth.isPresent() && exits.resolve(depth.getAsInt()).size() == 1;
        } catch (final BadInputException e) {
            return false; // as above
        }
    }

    private String known(final Exits exits) {
        try {
            return depth.isPresent() ? exits.resolve(depth.getAsInt()).toString() : exits.toString();
        } catch (final BadInputException e) {
            return exits.toString(); // as above
        }
    }

    private void spread(
            final String point,
            final Layers layers,
            final Scope scope,
            final Heads heads,
            final Set<Modality> keys,
            final Fingerprint what) {
        final Optional<SortedSet<Integer>> blocks = known(layers);
        if (blocks.isEmpty()) {
            final Fingerprint text = what.copy();
            text.put("layers", layers);
            put(point, OptionalInt.empty(), scope, heads, keys, text);
        } else {
            blocks.get().forEach(layer -> put(point, OptionalInt.of(layer), scope, heads, keys, what.copy()));
        }
    }

    private void put(
            final String point,
            final OptionalInt layer,
            final Scope scope,
            final Heads heads,
            final Set<Modality> keys,
            final Fingerprint text) {
        text.put("point", point);
        layer.ifPresent(number -> text.put("layer", number));
        text.scope(scope);
        if (!heads.isAll()) {
            text.put("heads", heads.numbers());
        }
        parts.add(new Part(point, layer, scope, heads, keys, text.text()));
    }

    private void steering(final SteeringEdit steer) {
        final Optional<Layers> choice = steer.layers().filter(layers -> !(layers instanceof Layers.All));
        final Optional<SortedSet<Integer>> chosen = choice.flatMap(this::known);
        for (final int layer : steer.vectors().layers()) {
            if (chosen.isPresent() && !chosen.get().contains(layer)) {
                continue;
            }
            final Fingerprint text = new Fingerprint();
            if (choice.isPresent() && chosen.isEmpty()) {
                text.put("layers", choice.get());
            }
            final float[] vector = steer.vectors().at(layer);
            if (steer.operation().isPlanar()) {
                rotation(text, steer, vector, steer.second().orElseThrow().at(layer));
            } else if (!along(text, steer.operation(), (float) steer.amount(), vector)) {
                continue;
            }
            steer.when().ifPresent(when -> when(text, when.when()));
            // What enters the first block takes one vector, whatever its layer was.
            final int at = steer.place() == Place.EMBEDDING ? 0 : layer;
            put(steer.place().label(), OptionalInt.of(at), steer.scope(), Heads.ALL, Set.of(), text);
        }
    }

    // False if it changes nothing.
    private static boolean along(
            final Fingerprint text, final Operation operation, final float amount, final float[] vector) {
        text.put("operation", operation.name().toLowerCase(Locale.ROOT));
        switch (operation) {
            case ADD, ADD_NORM_PRESERVING, ADD_NORM_CAPPED -> {
                // Products of single precision are exact in double, which the engine computes them in.
                final double[] added = new double[vector.length];
                for (int i = 0; i < added.length; i++) {
                    added[i] = (double) amount * vector[i] + 0.0;
                }
                if (Arrays.stream(added).allMatch(value -> value == 0)) {
                    return false;
                }
                text.put("added", Arrays.toString(added));
            }
            case TURN_AWARE -> {
                text.put("amount", amount + 0f);
                text.put("direction", Arrays.toString(unit(vector)));
            }
            case ADD_SIGNED -> {
                if (amount == 0) {
                    return false;
                }
                // The side is its own, whichever way v points.
                text.put("amount", amount);
                text.put("vector", Arrays.toString(upright(vector)));
            }
            case ABLATE -> text.put("direction", Arrays.toString(unit(upright(vector))));
            default -> {
                // Along -v to -a is along v to a.
                text.put("amount", (isUpright(vector) ? amount : -amount) + 0f);
                text.put("direction", Arrays.toString(unit(upright(vector))));
            }
        }
        return true;
    }

    // Turning by a towards w is turning by -a towards -w.
    private static void rotation(
            final Fingerprint text, final SteeringEdit steer, final float[] first, final float[] second) {
        text.put("operation", steer.operation().name().toLowerCase(Locale.ROOT));
        final float angle = (float) steer.amount();
        final float[] across = unit(across(second, unit(first)));
        text.put("amount", (isUpright(across) ? angle : -angle) + 0f);
        text.put("direction", Arrays.toString(unit(first)));
        text.put("across", Arrays.toString(upright(across)));
    }

    private static boolean isUpright(final float[] vector) {
        for (final float value : vector) {
            if (value != 0) {
                return value > 0;
            }
        }
        return true;
    }

    private static float[] upright(final float[] vector) {
        final float[] made = vector.clone();
        final boolean is = isUpright(vector);
        for (int i = 0; i < made.length; i++) {
            made[i] = (is ? made[i] : -made[i]) + 0f;
        }
        return made;
    }

    // As the engine does it: sums in double, entries in single precision.
    private static float[] unit(final float[] vector) {
        final double squared = dot(vector, vector);
        final float[] unit = vector.clone();
        final double inverse = squared == 0 ? 1 : 1 / Math.sqrt(squared);
        for (int i = 0; i < unit.length; i++) {
            unit[i] = (float) (unit[i] * inverse) + 0f;
        }
        return unit;
    }

    private static float[] across(final float[] vector, final float[] unit) {
        final double along = dot(unit, vector);
        final float[] across = vector.clone();
        for (int i = 0; i < across.length; i++) {
            across[i] = (float) (across[i] - along * unit[i]);
        }
        return across;
    }

    private static double dot(final float[] one, final float[] other) {
        double sum = 0;
        for (int i = 0; i < one.length; i++) {
            sum += (double) one[i] * other[i];
        }
        return sum;
    }

    // Names and order are of no consequence, nor is a direction's half of its line: states are projected onto it.
    private static void when(final Fingerprint text, final When when) {
        final SortedSet<String> conditions = new TreeSet<>();
        for (final Condition condition : when.conditions()) {
            final Fingerprint one = new Fingerprint();
            one.put("place", condition.place());
            one.put("layer", condition.readAt());
            one.put("pooling", condition.pooling());
            one.put("side", condition.side());
            one.put("threshold", condition.threshold() + 0.0);
            one.put("direction", Arrays.toString(upright(condition.direction().at(condition.layer()))));
            conditions.add(one.text());
        }
        text.put("when", (conditions.size() == 1 ? When.Rule.ANY : when.rule()) + conditions.toString());
    }

    // Before the language model; its directions are too many to be spelled out.
    private void vision(final VisionEdit edit) {
        final Fingerprint text = new Fingerprint();
        text.put("amount", (float) edit.amount() + 0f);
        text.put("positions", edit.directions().positions());
        for (final int layer : edit.directions().layers()) {
            final float[] values = edit.directions().at(layer);
            final ByteBuffer bytes = ByteBuffer.allocate(values.length * Float.BYTES);
            bytes.asFloatBuffer().put(values);
            text.put("directions." + layer, Fingerprint.digest(bytes.array()));
        }
        put("vision", OptionalInt.empty(), Scope.all(), Heads.ALL, Set.of(), text);
    }

    private void attention(final AttentionEdit edit) {
        final Fingerprint text = new Fingerprint();
        switch (edit) {
            case AttentionEdit.Multiply multiply ->
                mask(text, multiply, multiply.span(), multiply.medium(), multiply.factor());
            // What it does is what a factor of 0 does.
            case AttentionEdit.Mask mask -> mask(text, mask, mask.span(), mask.medium(), 0);
            case AttentionEdit.Temperature temperature -> {
                text.put("tau", (float) (1 / temperature.tau()));
                spread(text, temperature, "queries", Set.of());
            }
            case AttentionEdit.Pai pai -> {
                text.put("raised", (float) pai.alpha() + 0f);
                scores(text, pai, pai.span());
            }
            case AttentionEdit.Vaf vaf -> {
                final Fingerprint system = new Fingerprint();
                text.put("scaled", (float) vaf.spanFactor() + 0f);
                scores(text, vaf, vaf.span());
                if (vaf.systemFactor() != 1) {
                    system.put("scaled", (float) vaf.systemFactor() + 0f);
                    // Where there is a system text.
                    system.put("optional", true);
                    scores(system, vaf, Modality.SYSTEM);
                }
            }
            case AttentionEdit.Var var -> {
                text.put("to", var.span().label());
                text.put("sinks", new TreeSet<>(var.sinkDimensions()));
                text.put("tau", (float) var.tau());
                text.put("rho", (float) var.rho());
                text.put("mass", (float) var.mass());
                text.put("keep", (float) var.sinkWeight());
                spread(text, var, "weights", Set.of());
            }
            case AttentionEdit.Reallocate move -> {
                text.put("from", move.from().label());
                text.put("to", move.to().label());
                text.put("threshold", (float) move.threshold());
                text.put("fraction", (float) move.fraction());
                spread(text, move, "weights", Set.of());
            }
            case AttentionEdit.OutRo outro -> {
                text.put("turned", (float) outro.gamma() + 0f);
                if (outro.gamma() != 0) {
                    text.put("temperature", (float) outro.temperature());
                }
                text.put("threshold", (float) outro.threshold() + 0f);
                text.put("median", (float) outro.medianFactor() + 0f);
                text.put("every", every(outro));
                // What a token was in one block counts in the next: they are one thing.
                text.put("layers", known(outro.layers()).map(Object::toString).orElse(outro.layers().toString()));
                put("weights", OptionalInt.empty(), Scope.all(), Heads.ALL, Set.of(), text);
            }
        }
    }

    private String every(final AttentionEdit.OutRo outro) {
        return outro.every().isPresent() || depth.isPresent()
                ? String.valueOf(outro.everyOf(depth.orElse(1)))
                : "a seventh";
    }

    private void spread(
            final Fingerprint text, final AttentionEdit edit, final String point, final Set<Modality> keys) {
        spread(point, edit.layers(), edit.queries(), edit.heads(), keys, text);
    }

    private void mask(
            final Fingerprint text,
            final AttentionEdit edit,
            final Modality span,
            final OptionalInt medium,
            final double factor) {
        text.put("span", span.label());
        medium.ifPresent(number -> text.put("medium", number));
        text.put("bias", (float) Math.log(factor) + 0f);
        spread(text, edit, "mask", EnumSet.of(span));
    }

    private void scores(final Fingerprint text, final AttentionEdit edit, final Modality span) {
        text.put("span", span.label());
        spread(text, edit, "scores", EnumSet.of(span));
    }
}
