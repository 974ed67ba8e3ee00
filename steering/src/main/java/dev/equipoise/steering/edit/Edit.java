package dev.equipoise.steering.edit;

import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.intervention.Intervention;
import java.util.List;
import java.util.Set;

/** Something that acts inside the network, with layers that may be relative to a depth not known yet. */
public sealed interface Edit permits SteeringEdit, PromptSteeringEdit, VisionEdit, AttentionEdit, ExitEdit {
    /** How traces call it. */
    String name();

    /** Whether it leaves every token as it is, whatever the prompt. */
    boolean isIdle();

    /**
     * The interventions meant in a model, in the order in which they act.
     *
     * @param depth its number of blocks
     * @param present what the prompt has
     * @throws dev.equipoise.kernels.error.BadInputException for layers that it does not have
     */
    List<Intervention> resolve(int depth, Set<Modality> present);
}
