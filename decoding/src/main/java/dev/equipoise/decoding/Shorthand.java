package dev.equipoise.decoding;

import dev.equipoise.decoding.expression.Expression;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** Finds the method that a spelled-out contrast is, so that both have one fingerprint. */
final class Shorthand {
    private Shorthand() {}

    /** The method whose contrast this is to the last bit of its float coefficients, or the contrast itself. */
    static Contrast of(final LinearContrast canonical) {
        return candidates(canonical).stream()
                .filter(candidate -> same(candidate.linear(Set.of()).canonical(), canonical))
                .findFirst()
                .orElse(canonical);
    }

    private static List<Contrast> candidates(final LinearContrast linear) {
        final List<Contrast> candidates = new ArrayList<>();
        if (linear.branches().isEmpty()) {
            candidates.add(new Contrast.Plausibility(linear.beta()));
        }
        if (linear.branches().size() != 1) {
            return candidates;
        }
        final Map.Entry<String, Variation> second = linear.branches().entrySet().iterator().next();
        final Expression weight = linear.coefficients().get(second.getKey());
        weight.constant()
                .map(value -> -value)
                .filter(Contrast.ALPHA::holds)
                .ifPresent(alpha -> constant(alpha, linear.beta(), second.getValue(), candidates));
        growing(weight, linear.beta(), second.getValue()).ifPresent(candidates::add);
        return candidates;
    }

    private static void constant(
            final double alpha, final double beta, final Variation variation, final List<Contrast> candidates) {
        variation.noise().ifPresent(noise ->
                candidates.add(new Contrast.Vcd(alpha, beta, noise.step(), noise.seed())));
        variation.words().values().stream().findFirst().ifPresent(words ->
                candidates.add(new Contrast.Icd(alpha, beta, words)));
        variation.without().stream().findFirst().ifPresent(without ->
                candidates.add(new Contrast.Cad(alpha, beta, Optional.of(without))));
    }

    // Minus min(cap, expm1(lambda t)).
    private static Optional<Contrast> growing(final Expression weight, final double beta, final Variation variation) {
        if (weight instanceof Expression.Negative negative
                && negative.of() instanceof Expression.Call least
                && least.function() == Expression.Function.MIN
                && least.arguments().get(0).constant().filter(Contrast.MAX_WEIGHT::holds).isPresent()
                && least.arguments().get(1) instanceof Expression.Call grown
                && grown.function() == Expression.Function.EXPM1
                && variation.without().size() == 1) {
            final Expression rate = grown.arguments().get(0);
            final Optional<Double> lambda = rate instanceof Expression.Token
                    ? Optional.of(1.0)
                    : rate instanceof Expression.Binary product ? product.left().constant() : Optional.empty();
            return lambda.filter(Contrast.LAMBDA::holds)
                    .map(found -> new Contrast.M3id(
                            found,
                            beta,
                            least.arguments().get(0).at(1),
                            variation.without().iterator().next()));
        }
        return Optional.empty();
    }

    private static boolean same(final LinearContrast one, final LinearContrast other) {
        return one.logProbabilities() == other.logProbabilities()
                && one.cutOffValue().equals(other.cutOffValue())
                && one.beta() == other.beta()
                && one.cutOff().equals(LinearContrast.BASE)
                && other.cutOff().equals(LinearContrast.BASE)
                && List.copyOf(one.branches().values()).equals(List.copyOf(other.branches().values()))
                && weights(one).equals(weights(other));
    }

    private static List<String> weights(final LinearContrast linear) {
        return linear.coefficients().values().stream().map(Fingerprint::coefficient).toList();
    }
}
