package dev.equipoise.decoding.expression;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.DoubleBinaryOperator;
import java.util.function.ToDoubleFunction;
import java.util.function.UnaryOperator;

/**
 * A number that may depend on the token's index and on names. Immutable; {@link ExpressionReader} makes one from a
 * text, {@link #toString} gives a text that reads as an equal one.
 */
public sealed interface Expression {
    /** The last token index that bounds are stated for. */
    int LAST_TOKEN = 1 << 24;

    /** The entropies where none is read. */
    ToDoubleFunction<String> UNREAD = row -> Double.NaN;

    /** How tightly a text holds together: a sum least. */
    int SUM = 1;
    /** A product. */
    int PRODUCT = 2;
    /** What begins with a sign. */
    int SIGNED = 3;
    /** A power. */
    int POWER = 4;
    /** What needs no parentheses anywhere. */
    int ATOM = 5;

    /**
     * The value at one token. Allocates nothing.
     *
     * @param token which generated token, counted from 1
     * @param entropies of the rows at this token, in nats; asked only where {@link #readsEntropy}
     * @throws IllegalStateException if a name is still unbound
     */
    double at(int token, ToDoubleFunction<String> entropies);

    /** The value at one token of what does not read an entropy; else not a number. */
    default double at(final int token) {
        return at(token, UNREAD);
    }

    /** Adds the rows whose entropy it mentions to {@code rows}. */
    default void collectRows(final Set<String> rows) {}

    /** The rows whose entropy it mentions, in order. */
    default Set<String> rows() {
        final Set<String> rows = new TreeSet<>();
        collectRows(rows);
        return rows;
    }

    /** Whether it mentions the entropy of a row. */
    default boolean readsEntropy() {
        return !rows().isEmpty();
    }

    /** This expression with other names for rows. */
    default Expression withRows(final UnaryOperator<String> names) {
        return this;
    }

    /** This expression with numbers in place of the names that {@code values} has. */
    Expression bind(Map<String, Double> values);

    /**
     * Between which values it stays at tokens 1..{@link #LAST_TOKEN}.
     *
     * @param names bounds of the names that are still unbound
     */
    Bounds bounds(Map<String, Bounds> names);

    /** An expression of equal values in which what can be worked out is; only for what is finite everywhere. */
    default Expression simplified() {
        return this;
    }

    /** Adds the unbound names to {@code names}. */
    default void collect(final Set<String> names) {}

    /** The unbound names, in order. */
    default Set<String> names() {
        final Set<String> names = new TreeSet<>();
        collect(names);
        return names;
    }

    /** How tightly its text holds together, {@link #SUM}..{@link #ATOM}. */
    default int level() {
        return ATOM;
    }

    /** Whether it mentions the token's index. */
    default boolean growing() {
        return false;
    }

    /** The number it is, if it is one. */
    default Optional<Double> constant() {
        return Optional.empty();
    }

    /** A number. */
    static Expression of(final double value) {
        return new Number(value);
    }

    /** The sum of two, simplified. */
    static Expression sum(final Expression left, final Expression right) {
        return new Binary(Operator.ADD, left, right).simplified();
    }

    /** A number; zero has no sign. */
    record Number(double value) implements Expression {
        public Number {
            value += 0.0;
        }

        @Override
        public double at(final int token, final ToDoubleFunction<String> entropies) {
            return value;
        }

        @Override
        public Expression bind(final Map<String, Double> values) {
            return this;
        }

        @Override
        public Bounds bounds(final Map<String, Bounds> names) {
            return Bounds.of(value);
        }

        @Override
        public Optional<Double> constant() {
            return Optional.of(value);
        }

        @Override
        public int level() {
            return value < 0 ? SIGNED : ATOM;
        }

        @Override
        public String toString() {
            return Double.toString(value);
        }
    }

    /** The index of the generated token, from 1. */
    record Token() implements Expression {
        /** Texts call it so. */
        public static final String NAME = "t";

        @Override
        public double at(final int token, final ToDoubleFunction<String> entropies) {
            return token;
        }

        @Override
        public Expression bind(final Map<String, Double> values) {
            return this;
        }

        @Override
        public Bounds bounds(final Map<String, Bounds> names) {
            return new Bounds(1, LAST_TOKEN);
        }

        @Override
        public boolean growing() {
            return true;
        }

        @Override
        public String toString() {
            return NAME;
        }
    }

    /**
     * The entropy, in nats, of the softmax of a row at the token in hand, before anything is combined.
     *
     * @param row the branch whose row it is
     */
    record Entropy(String row) implements Expression {
        /** Texts call it so. */
        public static final String NAME = "entropy";
        // ln of the largest vocabulary that an int can count, rounded up.
        private static final double LARGEST = 21.5;

        public Entropy {
            Objects.requireNonNull(row);
        }

        @Override
        public double at(final int token, final ToDoubleFunction<String> entropies) {
            return entropies.applyAsDouble(row);
        }

        @Override
        public Expression bind(final Map<String, Double> values) {
            return this;
        }

        @Override
        public Bounds bounds(final Map<String, Bounds> names) {
            return new Bounds(0, LARGEST);
        }

        @Override
        public void collectRows(final Set<String> rows) {
            rows.add(row);
        }

        @Override
        public Expression withRows(final UnaryOperator<String> names) {
            return new Entropy(names.apply(row));
        }

        @Override
        public String toString() {
            return NAME + "(" + row + ")";
        }
    }

    /** Something whose value comes later. */
    record Name(String name) implements Expression {
        public Name {
            Objects.requireNonNull(name);
        }

        @Override
        public double at(final int token, final ToDoubleFunction<String> entropies) {
            throw new IllegalStateException("unbound: " + name);
        }

        @Override
        public Expression bind(final Map<String, Double> values) {
            final Double value = values.get(name);
            return value == null ? this : new Number(value);
        }

        @Override
        public Bounds bounds(final Map<String, Bounds> names) {
            return names.getOrDefault(name, new Bounds(Double.NaN, Double.NaN));
        }

        @Override
        public void collect(final Set<String> names) {
            names.add(name);
        }

        @Override
        public String toString() {
            return name;
        }
    }

    /** Less than nothing; never of a {@link Number}, which has a sign of its own. */
    record Negative(Expression of) implements Expression {
        @Override
        public double at(final int token, final ToDoubleFunction<String> entropies) {
            return -of.at(token, entropies);
        }

        @Override
        public Expression bind(final Map<String, Double> values) {
            return negative(of.bind(values));
        }

        @Override
        public Bounds bounds(final Map<String, Bounds> names) {
            return of.bounds(names).negative();
        }

        @Override
        public Expression simplified() {
            return negative(of.simplified());
        }

        @Override
        public void collect(final Set<String> names) {
            of.collect(names);
        }

        @Override
        public boolean growing() {
            return of.growing();
        }

        @Override
        public void collectRows(final Set<String> rows) {
            of.collectRows(rows);
        }

        @Override
        public Expression withRows(final UnaryOperator<String> names) {
            return new Negative(of.withRows(names));
        }

        /** The negative of any expression. */
        static Expression negative(final Expression of) {
            return of instanceof Number number ? new Number(-number.value()) : new Negative(of);
        }

        @Override
        public int level() {
            return SIGNED;
        }

        @Override
        public String toString() {
            return "-" + Binary.inside(of, SIGNED);
        }
    }

    /** What stands between two expressions. */
    enum Operator {
        /** Sum. */
        ADD('+', Double::sum),
        /** Difference. */
        SUBTRACT('-', (left, right) -> left - right),
        /** Product. */
        MULTIPLY('*', (left, right) -> left * right),
        /** Quotient. */
        DIVIDE('/', (left, right) -> left / right),
        /** Power; binds tightest, from the right. */
        POWER('^', Math::pow);

        private final char sign;
        private final DoubleBinaryOperator formula;

        Operator(final char sign, final DoubleBinaryOperator formula) {
            this.sign = sign;
            this.formula = formula;
        }
    }

    /** Two expressions and what stands between them. */
    record Binary(Operator operator, Expression left, Expression right) implements Expression {
        @Override
        public double at(final int token, final ToDoubleFunction<String> entropies) {
            return operator.formula.applyAsDouble(left.at(token, entropies), right.at(token, entropies));
        }

        @Override
        public Expression bind(final Map<String, Double> values) {
            return new Binary(operator, left.bind(values), right.bind(values));
        }

        @Override
        public Bounds bounds(final Map<String, Bounds> names) {
            final Bounds first = left.bounds(names);
            final Bounds second = right.bounds(names);
            return switch (operator) {
                case ADD -> first.plus(second);
                case SUBTRACT -> first.plus(second.negative());
                case MULTIPLY -> first.times(second);
                case DIVIDE -> first.over(second);
                case POWER -> first.power(second);
            };
        }

        @Override
        public Expression simplified() {
            final Expression first = left.simplified();
            final Expression second = right.simplified();
            if (first instanceof Number && second instanceof Number) {
                return new Number(operator.formula.applyAsDouble(first.at(1), second.at(1)));
            }
            return switch (operator) {
                case ADD -> is(first, 0) ? second : is(second, 0) ? first : new Binary(operator, first, second);
                case SUBTRACT -> is(second, 0)
                        ? first
                        : is(first, 0) ? new Negative(second) : new Binary(operator, first, second);
                // The other factor is finite wherever it is asked for.
                case MULTIPLY -> is(first, 0) || is(second, 0)
                        ? new Number(0)
                        : is(first, 1) ? second : is(second, 1) ? first : new Binary(operator, first, second);
                case DIVIDE -> is(first, 0) || is(second, 1) ? first : new Binary(operator, first, second);
                case POWER -> is(second, 1) ? first : new Binary(operator, first, second);
            };
        }

        private static boolean is(final Expression expression, final double value) {
            return expression instanceof Number number && number.value() == value;
        }

        @Override
        public void collect(final Set<String> names) {
            left.collect(names);
            right.collect(names);
        }

        @Override
        public boolean growing() {
            return left.growing() || right.growing();
        }

        @Override
        public void collectRows(final Set<String> rows) {
            left.collectRows(rows);
            right.collectRows(rows);
        }

        @Override
        public Expression withRows(final UnaryOperator<String> names) {
            return new Binary(operator, left.withRows(names), right.withRows(names));
        }

        @Override
        public int level() {
            return switch (operator) {
                case ADD, SUBTRACT -> SUM;
                case MULTIPLY, DIVIDE -> PRODUCT;
                case POWER -> POWER;
            };
        }

        @Override
        public String toString() {
            final boolean power = operator == Operator.POWER;
            return inside(left, power ? ATOM : level()) + " " + operator.sign + " "
                    + inside(right, power ? SIGNED : level() + 1);
        }

        // Parentheses only where they are needed, so that what is written nests no deeper than what was read.
        private static String inside(final Expression part, final int least) {
            return part.level() < least ? "(" + part + ")" : part.toString();
        }
    }

    /** A named function. */
    enum Function {
        /** The smaller of two. */
        MIN(2),
        /** The larger of two. */
        MAX(2),
        /** Powers of e. */
        EXP(1),
        /** Powers of e, less one. */
        EXPM1(1),
        /** The natural logarithm. */
        LOG(1),
        /** The square root. */
        SQRT(1),
        /** The size. */
        ABS(1);

        private final int arguments;

        Function(final int arguments) {
            this.arguments = arguments;
        }

        /** How texts call it. */
        public String label() {
            return name().toLowerCase(Locale.ROOT);
        }

        /** How many arguments it takes. */
        public int arguments() {
            return arguments;
        }

        static Optional<Function> named(final String label) {
            return Arrays.stream(values()).filter(one -> one.label().equals(label)).findFirst();
        }
    }

    /** A function of one or two expressions. */
    record Call(Function function, List<Expression> arguments) implements Expression {
        public Call {
            arguments = List.copyOf(arguments);
            if (arguments.size() != function.arguments()) {
                throw new IllegalArgumentException(function + " of " + arguments.size());
            }
        }

        @Override
        public double at(final int token, final ToDoubleFunction<String> entropies) {
            final double first = arguments.get(0).at(token, entropies);
            return switch (function) {
                case MIN -> Math.min(first, arguments.get(1).at(token, entropies));
                case MAX -> Math.max(first, arguments.get(1).at(token, entropies));
                case EXP -> Math.exp(first);
                case EXPM1 -> Math.expm1(first);
                case LOG -> Math.log(first);
                case SQRT -> Math.sqrt(first);
                case ABS -> Math.abs(first);
            };
        }

        @Override
        public Expression bind(final Map<String, Double> values) {
            return new Call(function, arguments.stream().map(argument -> argument.bind(values)).toList());
        }

        @Override
        public Bounds bounds(final Map<String, Bounds> names) {
            final Bounds first = arguments.get(0).bounds(names);
            return switch (function) {
                case MIN -> first.least(arguments.get(1).bounds(names));
                case MAX -> first.largest(arguments.get(1).bounds(names));
                case EXP -> new Bounds(Math.exp(first.low()), Math.exp(first.high()));
                case EXPM1 -> new Bounds(Math.expm1(first.low()), Math.expm1(first.high()));
                case LOG -> new Bounds(Math.log(first.low()), Math.log(first.high()));
                case SQRT -> new Bounds(Math.sqrt(first.low()), Math.sqrt(first.high()));
                case ABS -> first.absolute();
            };
        }

        @Override
        public Expression simplified() {
            final Call simple = new Call(function, arguments.stream().map(Expression::simplified).toList());
            final boolean known = simple.arguments.stream().allMatch(Number.class::isInstance);
            return known ? new Number(simple.at(1)) : simple;
        }

        @Override
        public void collect(final Set<String> names) {
            arguments.forEach(argument -> argument.collect(names));
        }

        @Override
        public boolean growing() {
            return arguments.stream().anyMatch(Expression::growing);
        }

        @Override
        public void collectRows(final Set<String> rows) {
            arguments.forEach(argument -> argument.collectRows(rows));
        }

        @Override
        public Expression withRows(final UnaryOperator<String> names) {
            return new Call(function, arguments.stream().map(argument -> argument.withRows(names)).toList());
        }

        @Override
        public String toString() {
            final String list = arguments.toString();
            return function.label() + "(" + list.substring(1, list.length() - 1) + ")";
        }
    }
}
