package dev.equipoise.steering.edit;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Intervention.Operation;
import dev.equipoise.runtime.intervention.Intervention.Place;
import dev.equipoise.runtime.intervention.LayerVectors;
import dev.equipoise.runtime.intervention.Scope;
import dev.equipoise.steering.Layers;
import dev.equipoise.steering.vector.RandomDirections;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;

/**
 * Steers along a direction that is found from the prompt itself: what a modality changes in the states of the last
 * prompt token, behind each block (VISTA, arXiv 2502.03628). Becomes a {@link SteeringEdit} when that was observed.
 *
 * @param without the modality
 * @param seed of random vectors as long as those that are found, to stand in their place
 * @param operation what happens; not a rotation, which needs two directions
 * @param place where in the block
 * @param amount as the operation says
 * @param layers which blocks; empty for all of them
 * @param scope tokens
 * @param when on what it depends whether it acts at all
 */
public record PromptSteeringEdit(
        Modality without,
        OptionalLong seed,
        Operation operation,
        Place place,
        double amount,
        Optional<Layers> layers,
        Scope scope,
        Optional<Conditional> when)
        implements Edit {
    public PromptSteeringEdit {
        Objects.requireNonNull(without);
        Objects.requireNonNull(seed);
        Objects.requireNonNull(place);
        Objects.requireNonNull(layers);
        Objects.requireNonNull(scope);
        Objects.requireNonNull(when);
        if (operation.isPlanar()) {
            throw new BadInputException(
                    "a rotation along one direction", "without " + without.label(), "choose another operation");
        }
        if (without == Modality.TEXT) {
            throw new BadInputException(
                    "a prompt without its question", "without " + without.label(), "leave something else out");
        }
    }

    @Override
    public String name() {
        return "steer:" + operation.name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    @Override
    public boolean isIdle() {
        return amount == 0 && operation.isIdleAtZero();
    }

    /** The same by another amount. */
    public PromptSteeringEdit withAmount(final double other) {
        return new PromptSteeringEdit(without, seed, operation, place, other, layers, scope, when);
    }

    /** The same along random vectors. */
    public PromptSteeringEdit random(final long other) {
        return new PromptSteeringEdit(
                without, OptionalLong.of(other), operation, place, amount, layers, scope, when);
    }

    /** The same along what another modality changes. */
    public PromptSteeringEdit about(final Modality other) {
        return new PromptSteeringEdit(other, seed, operation, place, amount, layers, scope, when);
    }

    /** This edit with what was found. */
    public SteeringEdit along(final LayerVectors found) {
        return new SteeringEdit(
                new SteeringEdit.Source("prompt", ""),
                operation,
                place,
                seed.isPresent() ? RandomDirections.like(found, seed.getAsLong()) : found,
                Optional.empty(),
                amount,
                layers,
                scope,
                when);
    }

    /** Refused: what it is along is not known yet. */
    @Override
    public List<Intervention> resolve(final int depth, final Set<Modality> present) {
        throw new BadInputException(
                "a direction that was not observed", name() + ", without " + without.label(),
                "let Decoding prepare the plan");
    }
}
