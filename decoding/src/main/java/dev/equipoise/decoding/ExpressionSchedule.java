package dev.equipoise.decoding;

import dev.equipoise.decoding.expression.Expression;
import dev.equipoise.runtime.CoefficientSchedule;
import java.util.Arrays;
import java.util.List;
import java.util.function.ToDoubleFunction;

/** Weights that depend on the token's index, and perhaps on the rows' entropies. */
final class ExpressionSchedule implements CoefficientSchedule {
    private final Expression[] weights;
    private final List<String> rows;
    private final boolean readsEntropies;

    private ExpressionSchedule(final Expression[] weights, final List<String> rows) {
        this.weights = weights;
        this.rows = rows;
        this.readsEntropies = Arrays.stream(weights).anyMatch(Expression::readsEntropy);
    }

    /**
     * The schedule of some weights, a constant one where none of them changes.
     *
     * @param weights of the rows, in their order
     * @param rows their names, by which weights mention entropies
     */
    static CoefficientSchedule of(final List<Expression> weights, final List<String> rows) {
        if (weights.stream().allMatch(weight -> weight.constant().isPresent())) {
            final float[] fixed = new float[weights.size()];
            for (int b = 0; b < fixed.length; b++) {
                fixed[b] = (float) weights.get(b).at(1);
            }
            return CoefficientSchedule.fixed(fixed);
        }
        return new ExpressionSchedule(weights.toArray(new Expression[0]), rows);
    }

    @Override
    public void at(final int index, final float[] out) {
        at(index, Expression.UNREAD, out);
    }

    @Override
    public boolean readsEntropies() {
        return readsEntropies;
    }

    @Override
    public void at(final int index, final float[] entropies, final float[] out) {
        at(index, row -> entropies[rows.indexOf(row)], out);
    }

    private void at(final int index, final ToDoubleFunction<String> entropies, final float[] out) {
        // Beyond the last token that bounds are known for, weights stay where they are.
        final int token = Math.min(index, Expression.LAST_TOKEN);
        for (int b = 0; b < weights.length; b++) {
            out[b] = (float) weights[b].at(token, entropies);
        }
    }
}
