package dev.equipoise.decoding;

import dev.equipoise.decoding.expression.Bounds;
import dev.equipoise.decoding.expression.Expression;
import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Modality;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;

/**
 * Any combination {@code sum_b c_b z_b} of named branches: the mechanism on which all methods that are linear in logits
 * (or log-probabilities) are written. A coefficient is a number or an expression over the parameters, the generated
 * token's index {@code t} and the weights that a {@link Pass.Assess} finds, which lie in 0..1; it must be shown to stay
 * within {@value #LARGEST} at every token.
 *
 * @param parameters numbers by name
 * @param branches how each extra branch differs from the base, by name
 * @param coefficients of the base, called {@value #BASE}, and of every extra branch
 * @param logProbabilities combine log-softmax rows instead of raw logits
 * @param beta see {@link Contrast}
 * @param cutOff the branch whose row the cut-off is about
 * @param cutOffValue the logit of what is cut off, not 0; empty: -infinity
 */
public record LinearContrast(
        Map<String, Double> parameters,
        Map<String, Variation> branches,
        Map<String, Expression> coefficients,
        boolean logProbabilities,
        double beta,
        String cutOff,
        OptionalDouble cutOffValue)
        implements Contrast {
    /** Strategy files may call it so. */
    public static final String METHOD = "linear";
    /** The branch that reads the request as it is. */
    public static final String BASE = "base";
    /** Largest size of a coefficient. */
    public static final double LARGEST = 1e6;

    private static final Bounds WEIGHT = new Bounds(0, 1);

    public LinearContrast {
        parameters = Collections.unmodifiableMap(new LinkedHashMap<>(parameters));
        branches = Collections.unmodifiableMap(new LinkedHashMap<>(branches));
        coefficients = Collections.unmodifiableMap(new LinkedHashMap<>(coefficients));
        beta = BETA.require("beta", beta);
        Objects.requireNonNull(cutOff);
        Objects.requireNonNull(cutOffValue);
        final Set<String> rows = new TreeSet<>(branches.keySet());
        if (!rows.add(BASE)) {
            throw new BadInputException("an extra branch called " + BASE, "contrast.branches", "call it otherwise");
        }
        if (!rows.equals(coefficients.keySet())) {
            throw new BadInputException(
                    "branches and coefficients do not match",
                    "contrast.coefficients " + new TreeSet<>(coefficients.keySet()),
                    "give one each for " + String.join(", ", rows));
        }
        if (!rows.contains(cutOff)) {
            throw new BadInputException(
                    "no branch \"" + cutOff + "\"", "contrast.cutOff", "choose " + String.join(", ", rows));
        }
        for (final Map.Entry<String, Expression> entry : coefficients.entrySet()) {
            requireFinite(entry.getValue(), parameters, "contrast.coefficients." + entry.getKey());
            if (!rows.containsAll(entry.getValue().rows())) {
                throw new BadInputException(
                        "an entropy of no branch: " + entry.getValue(),
                        "contrast.coefficients." + entry.getKey(),
                        "choose " + String.join(", ", rows));
            }
        }
    }

    /** A contrast whose cut-off leaves nothing of what it takes. */
    public LinearContrast(
            final Map<String, Double> parameters,
            final Map<String, Variation> branches,
            final Map<String, Expression> coefficients,
            final boolean logProbabilities,
            final double beta,
            final String cutOff) {
        this(parameters, branches, coefficients, logProbabilities, beta, cutOff, OptionalDouble.empty());
    }

    /** This contrast with other branches of the same names. */
    public LinearContrast withBranches(final Map<String, Variation> others) {
        return new LinearContrast(parameters, others, coefficients, logProbabilities, beta, cutOff, cutOffValue);
    }

    /** This contrast with other coefficients, which name no parameters. */
    LinearContrast withCoefficients(final Map<String, Expression> others) {
        return new LinearContrast(Map.of(), branches, others, logProbabilities, beta, cutOff, cutOffValue);
    }

    /** Refuses a coefficient that could be too large, or no number, at some token. */
    static void requireFinite(
            final Expression coefficient, final Map<String, Double> parameters, final String where) {
        final Expression bound = coefficient.bind(parameters);
        final Map<String, Bounds> weights =
                bound.names().stream().collect(Collectors.toMap(name -> name, name -> WEIGHT));
        final Bounds bounds = bound.bounds(weights);
        if (!bounds.within(LARGEST)) {
            throw new BadInputException(
                    "coefficient not shown to be finite (" + bounds.low() + " to " + bounds.high() + " at some token)",
                    where + " \"" + coefficient + "\"",
                    "keep it within " + LARGEST + ", with min and max, and divide by nothing that may be zero");
        }
    }

    @Override
    public String method() {
        return METHOD;
    }

    @Override
    public LinearContrast linear(final Set<Modality> present) {
        return this;
    }

    /** The names whose values a preparatory pass must find. */
    Set<String> weights() {
        final Set<String> names = new TreeSet<>();
        coefficients.values().forEach(coefficient -> coefficient.bind(parameters).collect(names));
        return names;
    }

    /** Whether a coefficient depends on the entropy of a row. */
    boolean readsEntropy() {
        return coefficients.values().stream().anyMatch(Expression::readsEntropy);
    }

    /** This contrast with numbers for the parameters and for the weights that passes found. */
    LinearContrast prepared(final Map<String, Double> weights) {
        final Map<String, Expression> bound = new LinkedHashMap<>();
        coefficients.forEach((name, coefficient) -> bound.put(name, coefficient.bind(parameters).bind(weights)));
        return withCoefficients(bound);
    }

    /**
     * This contrast at a share of its strength: every coefficient moves from plain decoding's (1 for the base, 0 for
     * all others) towards its own.
     *
     * @param share 0 is plain decoding behind the same cut-off, 1 is this contrast
     */
    LinearContrast scaled(final double share) {
        final Map<String, Expression> scaled = new LinkedHashMap<>();
        coefficients.forEach((name, coefficient) -> {
            final Expression moved = new Expression.Binary(
                    Expression.Operator.MULTIPLY, Expression.of(share), coefficient.bind(parameters));
            final double rest = name.equals(BASE) ? 1 - share : 0;
            scaled.put(name, new Expression.Binary(Expression.Operator.ADD, Expression.of(rest), moved));
        });
        return withCoefficients(scaled);
    }

    /**
     * The one spelling of all contrasts of equal behaviour: numbers for parameters, equal branches joined, those
     * without a part in the outcome left out, the rest in an order that does not depend on names.
     */
    LinearContrast canonical() {
        // A cut-off of 0 asks no row anything.
        final String tested = beta == 0 ? BASE : cutOff;
        Expression base = simple(BASE);
        String last = tested;
        final Map<String, String> first = new HashMap<>();
        // Rows that are another's, or the base's, by name.
        final Map<String, String> twins = new HashMap<>();
        final Map<String, Expression> sums = new LinkedHashMap<>();
        final Map<String, Variation> kept = new LinkedHashMap<>();
        for (final String name : ordered()) {
            final Variation variation = branches.get(name).resolved();
            final String key = Fingerprint.key(variation);
            if (variation.equals(Variation.NONE)) {
                base = Expression.sum(base, simple(name));
                twins.put(name, BASE);
                last = name.equals(last) ? BASE : last;
            } else if (first.containsKey(key)) {
                final String twin = first.get(key);
                sums.merge(twin, simple(name), Expression::sum);
                twins.put(name, twin);
                last = name.equals(last) ? twin : last;
            } else {
                first.put(key, name);
                kept.put(name, variation);
                sums.put(name, simple(name));
            }
        }
        final UnaryOperator<String> renamed = row -> twins.getOrDefault(row, row);
        base = base.withRows(renamed);
        sums.replaceAll((name, sum) -> sum.withRows(renamed));
        final Set<String> asked = base.rows();
        sums.values().forEach(sum -> sum.collectRows(asked));
        final Map<String, Expression> all = new LinkedHashMap<>();
        all.put(BASE, base);
        for (final Map.Entry<String, Expression> entry : sums.entrySet()) {
            // A row without a part in the sum may say how the others are weighed.
            if (entry.getKey().equals(last) || !isZero(entry.getValue()) || asked.contains(entry.getKey())) {
                all.put(entry.getKey(), entry.getValue());
            }
        }
        kept.keySet().retainAll(all.keySet());
        return new LinearContrast(
                Map.of(), kept, all, logProbabilities, beta, last, beta == 0 ? OptionalDouble.empty() : cutOffValue);
    }

    private static boolean isZero(final Expression expression) {
        return expression.constant().filter(value -> value == 0).isPresent();
    }

    private Expression simple(final String name) {
        return coefficients.get(name).bind(parameters).simplified();
    }

    // By what the branches are, then by their weights: sums are then the same whatever the names and the order.
    private List<String> ordered() {
        final List<String> names = new ArrayList<>(branches.keySet());
        names.sort(Comparator.comparing((String name) -> Fingerprint.key(branches.get(name).resolved()))
                .thenComparing(name -> simple(name).toString()));
        return names;
    }
}
