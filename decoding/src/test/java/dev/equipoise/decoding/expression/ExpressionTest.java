package dev.equipoise.decoding.expression;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import java.util.List;
import java.util.Map;
import java.util.Set;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.Combinators;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ExpressionTest {
    private static final Set<String> NAMES = Set.of("a", "w_both");
    private static final Map<String, Bounds> WEIGHTS = Map.of("a", new Bounds(0, 1), "w_both", new Bounds(0, 1));

    private static Expression read(final String text) {
        return ExpressionReader.read(text, "here", NAMES, Set.of("base", "x y"));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "1 + 2 * 3            | 7", "(1 + 2) * 3          | 9", "8 - 4 - 2            | 2", "8 / 4 / 2            | 1",
        "-2 ^ 2               | -4",
        "2 ^ 3 ^ 2            | 512", "2 ^ -1               | 0.5", "--3                  | 3",
        "min(2, t)            | 2", "max(2, t)            | 7", "expm1(0)             | 0", "exp(0) + log(1)      | 1",
        "sqrt(9) + abs(-4)    | 7", "1e-3 * 1E+3          | 1",
        ".5 + 2.              | 2.5", "t                    | 7",
    })
    void textsMeanWhatTheySay(final String text, final double value) {
        assertEquals(value, read(text).at(7));
        assertEquals(value, read(text).simplified().at(7));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', value = {
        "1 +        | here column 4 | ends too early", "1 2     | here column 3 | unexpected '2'",
        "beta       | here column 1 | unknown name", "foo(1)  | here column 1 | unknown function",
        "min(1)     | here column 7 | min of 1 values", "(1      | here column 3 | not closed",
        "1..2       | here column 1 | not a number", "1e999   | here column 6 | too large",
        "2 * $      | here column 5 | unexpected '$'", "exp     | here column 1 | unknown name",
    })
    void faultsNameTheirColumn(final String text, final String where, final String what) {
        final BadInputException fault = assertThrows(BadInputException.class, () -> read(text));
        assertEquals(where, fault.where());
        assertTrue(fault.what().contains(what), fault.what());
    }

    @Test
    void longAndDeepTextsAreRefused() {
        assertThrows(BadInputException.class, () -> read("1+".repeat(1000) + "1"));
        assertThrows(BadInputException.class, () -> read("(".repeat(100) + "1" + ")".repeat(100)));
        assertThrows(BadInputException.class, () -> read("-".repeat(100) + "1"));
        assertThrows(BadInputException.class, () -> read("2^".repeat(100) + "1"));
        assertEquals(300, read("1+".repeat(299) + "1").at(1));
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "1 / (t - 5)", "log(t - 1)", "exp(t)", "t ^ t", "sqrt(3 - t)", "1 / a", "log(a)", "(a - 0.5) ^ 0.5",
        "exp(t) - exp(t)",
        "0 * exp(t)", "(t - 5) ^ -1",
    })
    void whatMayHaveNoValueIsNotBounded(final String text) {
        assertFalse(read(text).bounds(WEIGHTS).within(1e6), text);
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "1 + min(10, expm1(0.02 * t))", "2 + 2 * 2.5 * w_both", "1 / t", "1 / (t + a)", "exp(-0.1 * t)",
        "(a - 0.5) ^ 2",
        "log(1 + t)", "min(1, t / 100)", "abs(a - w_both)", "0.5 ^ t", "max(0, 1 - 0.01 * t)",
    })
    void whatHasAValueIsBounded(final String text) {
        assertTrue(read(text).bounds(WEIGHTS).within(1e6), text);
    }

    @Provide
    Arbitrary<Expression> expressions() {
        return nested(4);
    }

    private static Arbitrary<Expression> nested(final int depth) {
        final Arbitrary<Expression> leaf = Arbitraries.oneOf(
                Arbitraries.doubles().between(-20, 20).map(Expression::of),
                Arbitraries.integers().between(-3, 3).map(value -> Expression.of(value)),
                Arbitraries.of("a", "w_both").map(Expression.Name::new),
                Arbitraries.just(new Expression.Token()));
        if (depth == 0) {
            return leaf;
        }
        final Arbitrary<Expression> part = nested(depth - 1);
        return Arbitraries.oneOf(
                leaf,
                part.map(Expression.Negative::negative),
                Combinators.combine(Arbitraries.of(Expression.Operator.class), part, part)
                        .as(Expression.Binary::new),
                Combinators.combine(Arbitraries.of(Expression.Function.class), part, part)
                        .as((function, one, two) -> new Expression.Call(
                                function, function.arguments() == 1 ? List.of(one) : List.of(one, two))));
    }

    @Property(tries = 500)
    void whatIsWrittenReadsAsTheSame(@ForAll("expressions") final Expression expression) {
        final String text = expression.toString();
        if (text.length() <= ExpressionReader.MAX_LENGTH) {
            assertEquals(expression, read(text), text);
        }
    }

    @Property(tries = 2000)
    void boundsHoldEveryValueAndSimplifyingKeepsIt(
            @ForAll("expressions") final Expression expression,
            @ForAll @IntRange(min = 1, max = 2000) final int token,
            @ForAll @IntRange(max = 8) final int a,
            @ForAll @IntRange(max = 8) final int both) {
        final Bounds bounds = expression.bounds(WEIGHTS);
        if (!bounds.within(1e6)) {
            return;
        }
        final Map<String, Double> values = Map.of("a", a / 8.0, "w_both", both / 8.0);
        final Expression bound = expression.bind(values);
        final double value = bound.at(token);
        // Bounds are computed as values are, in the same order; a rounding of each of some ten steps may differ.
        final double slack = 1e-12 * Math.max(1, Math.max(Math.abs(bounds.low()), Math.abs(bounds.high())));
        assertTrue(value >= bounds.low() - slack && value <= bounds.high() + slack, expression + " at " + token);
        assertTrue(Math.abs(bound.simplified().at(token) - value) <= slack, expression.toString());
    }
}
