package dev.equipoise.bench.train;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import java.util.HashMap;
import java.util.Map;

/** AdamW with one clipped global gradient norm; decay acts on matrices only. One thread. */
final class AdamW {
    private static final float BETA1 = 0.9f;
    private static final float BETA2 = 0.98f;
    private static final float EPSILON = 1e-8f;
    private static final float DECAY = 0.01f;
    private static final double MAX_NORM = 1.0;

    private final Map<String, NDArray> parameters;
    private final Map<String, NDArray> first = new HashMap<>();
    private final Map<String, NDArray> second = new HashMap<>();
    private int steps;

    AdamW(final Map<String, NDArray> parameters) {
        this.parameters = parameters;
        parameters.forEach((name, p) -> {
            first.put(name, p.zerosLike());
            second.put(name, p.zerosLike());
        });
    }

    /** Applies the gradients at rate {@code rate} and clears them; returns their norm before clipping. */
    double step(final double rate, final NDManager scope) {
        steps++;
        double sum = 0;
        final Map<String, NDArray> gradients = new HashMap<>();
        for (final Map.Entry<String, NDArray> entry : parameters.entrySet()) {
            final NDArray gradient = entry.getValue().getGradient();
            gradient.attach(scope);
            gradients.put(entry.getKey(), gradient);
            sum += gradient.square().sum().getFloat();
        }
        final double norm = Math.sqrt(sum);
        if (!(norm < Double.POSITIVE_INFINITY)) {
            throw new IllegalStateException("the gradient is not finite at step " + steps);
        }
        final double clip = Math.min(1, MAX_NORM / norm);
        final double correction1 = 1 - Math.pow(BETA1, steps);
        final double correction2 = 1 - Math.pow(BETA2, steps);
        parameters.forEach((name, p) -> {
            final NDArray gradient = gradients.get(name);
            final NDArray g = gradient.mul((float) clip);
            final NDArray m = first.get(name);
            final NDArray v = second.get(name);
            // What is computed from an array joins its manager: lend the long-lived ones to the step's.
            m.tempAttach(scope);
            v.tempAttach(scope);
            p.tempAttach(scope);
            m.muli(BETA1).addi(g.mul(1 - BETA1));
            v.muli(BETA2).addi(g.square().mul(1 - BETA2));
            if (p.getShape().dimension() > 1) {
                p.muli((float) (1 - rate * DECAY));
            }
            p.subi(m.mul((float) (rate / correction1)).div(v.div((float) correction2).sqrt().add(EPSILON)));
            gradient.subi(gradient);
        });
        return norm;
    }
}
