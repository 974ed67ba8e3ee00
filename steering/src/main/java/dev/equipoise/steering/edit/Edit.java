package dev.equipoise.steering.edit;

import dev.equipoise.runtime.intervention.Intervention;

/** Something that acts inside the network, with layers that may be relative to a depth not known yet. */
public sealed interface Edit permits SteeringEdit, AttentionEdit {
    /** How traces call it. */
    String name();

    /** Whether it leaves every token as it is, whatever the prompt. */
    boolean isIdle();

    /**
     * The intervention meant in a model.
     *
     * @param depth its number of blocks
     * @throws dev.equipoise.kernels.error.BadInputException for layers that it does not have
     */
    Intervention resolve(int depth);
}
