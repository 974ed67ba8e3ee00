package dev.equipoise.steering.edit;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.Operation;
import dev.equipoise.runtime.intervention.Intervention.Place;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.steering.Layers;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.SortedSet;

/**
 * Steers hidden states along a direction.
 *
 * @param source where the vectors come from, to be told in traces and strategy files; of no consequence
 * @param operation what happens
 * @param place where in the block
 * @param vectors one per layer
 * @param second the plane's other vectors, for a rotation
 * @param amount scale, target or angle in radians, as the operation says
 * @param layers which of the vectors' layers; empty for all of them. What enters the first block takes one vector, of
 *     whatever layer
 * @param scope tokens
 * @param when on what it depends whether it acts at all
 */
public record SteeringEdit(
        Source source,
        Operation operation,
        Place place,
        LayerVectors vectors,
        Optional<LayerVectors> second,
        double amount,
        Optional<Layers> layers,
        Scope scope,
        Optional<Conditional> when)
        implements Edit {
    /**
     * The files that vectors were read from.
     *
     * @param vector of the direction
     * @param second of the other vector of a plane, empty without one
     */
    public record Source(String vector, String second) {
        public Source {
            Objects.requireNonNull(vector);
            Objects.requireNonNull(second);
        }
    }

    public SteeringEdit {
        Objects.requireNonNull(source);
        Objects.requireNonNull(operation);
        Objects.requireNonNull(place);
        Objects.requireNonNull(vectors);
        Objects.requireNonNull(second);
        Objects.requireNonNull(layers);
        Objects.requireNonNull(scope);
        Objects.requireNonNull(when);
    }

    /** Steering that depends on nothing. */
    public SteeringEdit(
            final Source source,
            final Operation operation,
            final Place place,
            final LayerVectors vectors,
            final Optional<LayerVectors> second,
            final double amount,
            final Optional<Layers> layers,
            final Scope scope) {
        this(source, operation, place, vectors, second, amount, layers, scope, Optional.empty());
    }

    /** The same by another amount. */
    public SteeringEdit withAmount(final double other) {
        return new SteeringEdit(source, operation, place, vectors, second, other, layers, scope, when);
    }

    /** The same along other vectors. */
    public SteeringEdit along(
            final Source files, final LayerVectors others, final Optional<LayerVectors> otherSecond) {
        return new SteeringEdit(files, operation, place, others, otherSecond, amount, layers, scope, when);
    }

    @Override
    public String name() {
        return "steer:" + operation.name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    @Override
    public boolean isIdle() {
        return amount == 0 && operation.isIdleAtZero();
    }

    @Override
    public List<Intervention> resolve(final int depth, final Set<Modality> present) {
        final Optional<SortedSet<Integer>> chosen = layers.map(choice -> choice.resolve(depth));
        return List.of(new Intervention.Steer(
                name(),
                operation,
                place,
                placed(chosen.map(vectors::only).orElse(vectors)),
                second.map(other -> placed(chosen.map(other::only).orElse(other))),
                amount,
                scope,
                when.map(Conditional::when)));
    }

    private LayerVectors placed(final LayerVectors found) {
        if (place != Place.EMBEDDING) {
            return found;
        }
        if (found.layers().size() != 1) {
            throw new BadInputException(
                    "several vectors for what enters the first block",
                    name() + ": of layers " + found.layers(),
                    "choose one of them by \"layers\"");
        }
        return new LayerVectors(Map.of(0, found.at(found.layers().first())));
    }
}
