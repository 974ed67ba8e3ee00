package dev.equipoise.decoding;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.Operation;
import dev.equipoise.runtime.intervention.Phase;
import dev.equipoise.runtime.intervention.Reach;
import dev.equipoise.runtime.intervention.Scope;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeSet;

/**
 * Refuses two edits of one list where one of them would leave the other without effect, or each would set what the
 * other sets: on the same tokens, at the same place of the same block. A branch's own edits come after those of the
 * strategy and may undo them; edits under different conditions may exclude each other, and act in their order.
 */
final class Conflicts {
    // Directions are one if the sine between them is at most this: single precision leaves 1e-7 of each entry open.
    private static final double SINE = 1e-4;
    private static final Set<Modality> MEDIA = EnumSet.of(Modality.IMAGE, Modality.AUDIO);

    private Conflicts() {}

    /**
     * Refuses the first pair that conflicts.
     *
     * @param list what acts, in its order
     * @param where whose list it is
     * @throws BadInputException naming both and a way out
     */
    static void require(final List<Intervention> list, final String where) {
        for (int later = 1; later < list.size(); later++) {
            for (int earlier = 0; earlier < later; earlier++) {
                require(list.get(earlier), list.get(later), where);
            }
        }
    }

    private static void require(final Intervention one, final Intervention other, final String where) {
        if (isExit(one) && isExit(other)) {
            throw refused("two ways to let earlier blocks speak", one, other, where, "keep one of the exits");
        }
        if (one.editsAttention() && other.editsAttention() && (isTurn(one) || isTurn(other))) {
            throw refused("a turn to sinks, and what it is about", one, other, where, "keep one of them");
        }
        if (Collections.disjoint(layers(one), layers(other))
                || !overlap(one.scope(), other.scope())
                || !one.when().equals(other.when())) {
            return;
        }
        if (one instanceof Intervention.Steer first && other instanceof Intervention.Steer second) {
            requireSteering(first, second, where);
        }
        if (isHidingWhatIsEdited(one, other) || isHidingWhatIsEdited(other, one)) {
            throw refused(
                    "an edit of attention to what is hidden",
                    one,
                    other,
                    where,
                    "keep one of them, or give them layers, heads or queries that do not overlap");
        }
    }

    // Embeddings enter at one place, which has a number only where its vector lies.
    private static Set<Integer> layers(final Intervention intervention) {
        return intervention instanceof Intervention.Steer steer ? steer.vectors().layers() : intervention.layers();
    }

    private static BadInputException refused(
            final String what,
            final Intervention one,
            final Intervention other,
            final String where,
            final String remedy) {
        return new BadInputException(
                "edits that conflict: " + what, where + ", " + one.name() + " and " + other.name(), remedy);
    }

    private static boolean isExit(final Intervention intervention) {
        return intervention instanceof Intervention.AverageExits || intervention instanceof Intervention.ContrastExits;
    }

    private static boolean isTurn(final Intervention intervention) {
        return intervention instanceof Intervention.TurnToSinks;
    }

    /** Whether a token may be in both. */
    static boolean overlap(final Scope one, final Scope other) {
        final boolean positions = one.positions().isEmpty() || other.positions().isEmpty()
                || one.positions().get().first() <= other.positions().get().last()
                        && other.positions().get().first() <= one.positions().get().last();
        final boolean media = one.medium().isEmpty() || other.medium().isEmpty() || one.medium().equals(other.medium());
        return positions
                && media
                && (!Collections.disjoint(given(one), given(other)) || isGenerated(one) && isGenerated(other));
    }

    // Whose prompt tokens a scope holds: those of media stand before all that a reach holds.
    private static Set<Modality> given(final Scope scope) {
        final Set<Modality> given = EnumSet.noneOf(Modality.class);
        if (scope.phases().contains(Phase.PROMPT)) {
            given.addAll(scope.modalities());
            if (scope.medium().isPresent()) {
                given.retainAll(MEDIA);
            }
            if (scope.reach() != Reach.ALL) {
                given.removeAll(MEDIA);
            }
        }
        return given;
    }

    private static boolean isGenerated(final Scope scope) {
        return scope.phases().contains(Phase.GENERATED)
                && scope.modalities().contains(Modality.TEXT)
                && scope.medium().isEmpty();
    }

    // Whether every token of the one is in the other.
    private static boolean covers(final Scope other, final Scope one) {
        final boolean positions = other.positions().isEmpty()
                || one.positions().isPresent()
                        && other.positions().get().first() <= one.positions().get().first()
                        && one.positions().get().last() <= other.positions().get().last();
        return positions
                && (other.medium().isEmpty() || other.medium().equals(one.medium()))
                && (other.reach() == Reach.ALL || other.reach() == one.reach())
                && other.phases().containsAll(one.phases())
                && other.modalities().containsAll(one.modalities());
    }

    // Hidden keys have no score to change and no weight to give or take. Two that hide the same agree.
    private static boolean isHidingWhatIsEdited(final Intervention hiding, final Intervention other) {
        if (!(hiding instanceof Intervention.Reweigh mask) || mask.factor() != 0) {
            return false;
        }
        final OptionalInt medium =
                other instanceof Intervention.Reweigh reweigh ? reweigh.medium() : OptionalInt.empty();
        final boolean media = mask.medium().isEmpty() || medium.isEmpty() || mask.medium().equals(medium);
        final boolean heads = hiding.heads().isAll() || other.heads().isAll()
                || !Collections.disjoint(hiding.heads().numbers(), other.heads().numbers());
        return media && heads && !Collections.disjoint(mask.span(), edited(other));
    }

    // The keys whose scores or weights an intervention changes without hiding them.
    private static Set<Modality> edited(final Intervention intervention) {
        return switch (intervention) {
            case Intervention.Reweigh reweigh when reweigh.factor() != 0 -> reweigh.span();
            case Intervention.RaiseScores raise -> raise.span();
            case Intervention.ScaleScores scale -> scale.span();
            case Intervention.DrainSinks drain -> drain.span();
            case Intervention.MoveWeights move -> {
                final Set<Modality> both = EnumSet.copyOf(move.from());
                both.addAll(move.to());
                yield both;
            }
            default -> EnumSet.noneOf(Modality.class);
        };
    }

    private static void requireSteering(
            final Intervention.Steer one, final Intervention.Steer other, final String where) {
        if (one.place() != other.place() || one.vectors().width() != other.vectors().width()) {
            return; // what does not fit the model is refused with it
        }
        final Set<Integer> common = new TreeSet<>(one.vectors().layers());
        common.retainAll(other.vectors().layers());
        for (final int layer : common) {
            conflict(one, other, layer).ifPresent(what -> {
                throw refused(
                        what + ", at block " + layer,
                        one,
                        other,
                        where,
                        "keep the one that is meant, or give them layers or tokens that do not overlap");
            });
        }
    }

    private static Optional<String> conflict(
            final Intervention.Steer one, final Intervention.Steer other, final int layer) {
        final boolean rotates = one.operation().isPlanar();
        if (rotates && other.operation().isPlanar()) {
            return plane(one, other, layer);
        }
        if (rotates && isSetting(other) && isWithin(other.vectors().at(layer), one, layer)
                || other.operation().isPlanar() && isSetting(one) && isWithin(one.vectors().at(layer), other, layer)) {
            return Optional.of("a rotation, and a component in its plane that is set");
        }
        if (!isSetting(other) || !isParallel(one.vectors().at(layer), other.vectors().at(layer))) {
            return Optional.empty();
        }
        if (isAdding(one) && covers(other.scope(), one.scope())) {
            return Optional.of("what is added is taken away again");
        }
        return isSetting(one) && target(one, layer) != target(other, layer)
                ? Optional.of("one component set twice")
                : Optional.empty();
    }

    private static Optional<String> plane(
            final Intervention.Steer one, final Intervention.Steer other, final int layer) {
        final boolean same = isWithin(one.vectors().at(layer), other, layer)
                && isWithin(one.second().orElseThrow().at(layer), other, layer);
        final boolean halves = one.operation() == Operation.ROTATE_TOWARD
                && other.operation() == Operation.ROTATE_TOWARD
                && dot(one.vectors().at(layer), other.vectors().at(layer)) < 0;
        return same && !halves && !one.equals(other) ? Optional.of("two rotations in one plane") : Optional.empty();
    }

    private static boolean isAdding(final Intervention.Steer steer) {
        return steer.operation() == Operation.ADD || steer.operation() == Operation.ADD_SIGNED;
    }

    // Whatever the component along the direction was, it is another thing afterwards.
    private static boolean isSetting(final Intervention.Steer steer) {
        return steer.operation() == Operation.CLAMP || steer.operation() == Operation.ABLATE;
    }

    // The component along the direction's own half of its line, so that v and -v can be compared.
    private static double target(final Intervention.Steer steer, final int layer) {
        if (steer.operation() == Operation.ABLATE || steer.amount() == 0) {
            return 0;
        }
        for (final float value : steer.vectors().at(layer)) {
            if (value != 0) {
                return value > 0 ? steer.amount() : -steer.amount();
            }
        }
        return steer.amount();
    }

    private static boolean isParallel(final float[] one, final float[] other) {
        return isSmall(rejected(doubles(one), unit(doubles(other))), one);
    }

    private static boolean isWithin(final float[] vector, final Intervention.Steer rotation, final int layer) {
        final double[] first = unit(doubles(rotation.vectors().at(layer)));
        final double[] second = unit(rejected(doubles(rotation.second().orElseThrow().at(layer)), first));
        return isSmall(rejected(rejected(doubles(vector), first), second), vector);
    }

    private static boolean isSmall(final double[] rest, final float[] of) {
        return Math.sqrt(dot(rest, rest)) <= SINE * Math.sqrt(dot(of, of));
    }

    private static double[] rejected(final double[] vector, final double[] unit) {
        final double along = dot(vector, unit);
        final double[] rest = new double[vector.length];
        for (int i = 0; i < rest.length; i++) {
            rest[i] = vector[i] - along * unit[i];
        }
        return rest;
    }

    private static double[] unit(final double[] vector) {
        final double length = Math.sqrt(dot(vector, vector));
        return length == 0 ? vector : Arrays.stream(vector).map(value -> value / length).toArray();
    }

    private static double[] doubles(final float[] values) {
        final double[] doubles = new double[values.length];
        for (int i = 0; i < doubles.length; i++) {
            doubles[i] = values[i];
        }
        return doubles;
    }

    private static double dot(final float[] one, final float[] other) {
        return dot(doubles(one), doubles(other));
    }

    private static double dot(final double[] one, final double[] other) {
        double sum = 0;
        for (int i = 0; i < one.length; i++) {
            sum += one[i] * other[i];
        }
        return sum;
    }
}
