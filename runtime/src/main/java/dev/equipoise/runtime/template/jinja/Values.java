package dev.equipoise.runtime.template.jinja;

import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Python's meaning of values. A value is null (none), {@link Boolean}, {@link Long}, {@link Double}, {@link String},
 * {@link List}, {@link Map} with scalar keys, {@link Function}, {@link Namespace} or {@link Undefined}.
 */
final class Values {
    private Values() {}

    static boolean truth(final Object value) {
        return switch (value) {
            case null -> false;
            case Undefined undefined -> false;
            case Boolean bool -> bool;
            case Long number -> number != 0;
            case Double number -> number != 0;
            case String text -> !text.isEmpty();
            case List<?> list -> !list.isEmpty();
            case Map<?, ?> map -> !map.isEmpty();
            default -> true;
        };
    }

    static String typeName(final Object value) {
        return switch (value) {
            case null -> "none";
            case Boolean bool -> "boolean";
            case Long number -> "integer";
            case Double number -> "float";
            case String text -> "string";
            case List<?> list -> "list";
            case Map<?, ?> map -> "dict";
            case Undefined undefined -> "undefined";
            default -> "object";
        };
    }

    /** As {@code str()}: what printing shows. */
    static String text(final Object value, final Budget budget) {
        if (value instanceof String text) {
            return text;
        }
        final StringBuilder out = new StringBuilder();
        write(value, out, budget);
        return out.toString();
    }

    private static void write(final Object value, final StringBuilder out, final Budget budget) {
        budget.charge(1);
        switch (value) {
            case null -> out.append("None");
            case Undefined undefined -> out.append("");
            case Boolean bool -> out.append(bool ? "True" : "False");
            case Double number -> out.append(decimal(number));
            case List<?> list -> {
                out.append('[');
                final Iterator<?> items = list.iterator();
                while (items.hasNext()) {
                    representation(items.next(), out, budget);
                    out.append(items.hasNext() ? ", " : "");
                }
                out.append(']');
            }
            case Map<?, ?> map -> {
                out.append('{');
                final var entries = map.entrySet().iterator();
                while (entries.hasNext()) {
                    final var entry = entries.next();
                    representation(entry.getKey(), out, budget);
                    representation(entry.getValue(), out.append(": "), budget);
                    out.append(entries.hasNext() ? ", " : "");
                }
                out.append('}');
            }
            case Long number -> out.append(number.longValue());
            case String text -> out.append(text);
            default -> throw new Fault("a function or namespace cannot be printed");
        }
    }

    private static void representation(final Object value, final StringBuilder out, final Budget budget) {
        if (value instanceof String text) {
            budget.charge(text.length());
            final String quote = text.contains("'") && !text.contains("\"") ? "\"" : "'";
            out.append(quote)
                    .append(text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
                            .replace("\r", "\\r").replace(quote, "\\" + quote))
                    .append(quote);
        } else {
            write(value, out, budget);
        }
    }

    static String decimal(final double number) {
        if (Double.isNaN(number)) {
            return "nan";
        }
        if (Double.isInfinite(number)) {
            return number > 0 ? "inf" : "-inf";
        }
        final double size = Math.abs(number);
        if (size == 0 || size >= 1e-4 && size < 1e16) {
            final String plain = new BigDecimal(Double.toString(number)).toPlainString();
            return plain.contains(".") ? plain : plain + ".0";
        }
        return Double.toString(number).replace(".0E", "e").replace('E', 'e');
    }

    static boolean equal(final Object left, final Object right, final Budget budget) {
        budget.charge(1);
        if (isNumber(left) && isNumber(right)) {
            return number(left) == number(right);
        }
        if (left instanceof List<?> a && right instanceof List<?> b) {
            boolean same = a.size() == b.size();
            for (int i = 0; same && i < a.size(); i++) {
                same = equal(a.get(i), b.get(i), budget);
            }
            return same;
        }
        if (left instanceof Map<?, ?> a && right instanceof Map<?, ?> b) {
            boolean same = a.keySet().equals(b.keySet());
            for (final Iterator<?> keys = a.keySet().iterator(); same && keys.hasNext(); ) {
                final Object key = keys.next();
                same = equal(a.get(key), b.get(key), budget);
            }
            return same;
        }
        if (left instanceof String a && right instanceof String b) {
            return a.equals(b);
        }
        return left == right || left instanceof Undefined && right instanceof Undefined;
    }

    /** Negative, zero or positive; numbers and texts only. */
    static int compare(final Object left, final Object right) {
        if (isNumber(left) && isNumber(right)) {
            return Double.compare(number(left), number(right));
        }
        if (left instanceof String a && right instanceof String b) {
            return a.compareTo(b);
        }
        throw new Fault("cannot compare " + typeName(left) + " with " + typeName(right));
    }

    static boolean isNumber(final Object value) {
        return value instanceof Long || value instanceof Double || value instanceof Boolean;
    }

    static double number(final Object value) {
        return switch (value) {
            case Long whole -> whole;
            case Double real -> real;
            case Boolean bool -> bool ? 1 : 0;
            case Undefined undefined -> throw undefined.fault();
            case null, default -> throw new Fault("expected a number, found " + typeName(value));
        };
    }

    static long whole(final Object value) {
        return switch (value) {
            case Long whole -> whole;
            case Boolean bool -> bool ? 1 : 0;
            case Undefined undefined -> throw undefined.fault();
            case null, default -> throw new Fault("expected an integer, found " + typeName(value));
        };
    }

    static String string(final Object value) {
        return switch (value) {
            case String text -> text;
            case Undefined undefined -> throw undefined.fault();
            case null, default -> throw new Fault("expected a string, found " + typeName(value));
        };
    }

    /** What a loop goes through: entries, keys or characters; nothing for an undefined value. */
    static List<?> items(final Object value, final Budget budget) {
        switch (value) {
            case Undefined undefined -> {
                return List.of();
            }
            case List<?> list -> {
                return list;
            }
            case Map<?, ?> map -> {
                budget.charge(map.size());
                return new ArrayList<>(map.keySet());
            }
            case String text -> {
                budget.charge(text.length());
                return text.codePoints().mapToObj(Character::toString).toList();
            }
            case null, default -> throw new Fault("cannot go through " + typeName(value));
        }
    }

    static boolean contains(final Object container, final Object item, final Budget budget) {
        return switch (container) {
            case String text -> text.contains(string(item));
            case Map<?, ?> map -> isKey(item) && map.containsKey(item);
            case Undefined undefined -> false;
            case List<?> list -> {
                for (final Object entry : list) {
                    if (equal(entry, item, budget)) {
                        yield true;
                    }
                }
                yield false;
            }
            case null, default -> throw new Fault("cannot look inside " + typeName(container));
        };
    }

    /** {@code object[index]}; undefined when there is no such entry. */
    static Object index(final Object object, final Object index) {
        return switch (object) {
            case Undefined undefined -> throw undefined.fault();
            case Map<?, ?> map when isKey(index) && map.containsKey(index) -> map.get(index);
            case List<?> list when index instanceof Long at && inside(at, list.size()) ->
                list.get(wrapped(at, list.size()));
            case String text when index instanceof Long at && inside(at, text.length()) ->
                String.valueOf(text.charAt(wrapped(at, text.length())));
            case null, default -> new Undefined(isKey(index) ? index.toString() : "entry");
        };
    }

    /** Whether a dict can hold it as a key; hashing a nested list could take for ever. */
    static boolean isKey(final Object value) {
        return value instanceof String || isNumber(value);
    }

    private static boolean inside(final long at, final int size) {
        return at >= -size && at < size;
    }

    private static int wrapped(final long at, final int size) {
        return (int) (at < 0 ? at + size : at);
    }

    /** {@code object[from:to:step]} with Python's defaults and clamping. */
    static Object slice(
            final Object object,
            final Optional<Long> from,
            final Optional<Long> to,
            final Optional<Long> step,
            final Budget budget) {
        final boolean isText = object instanceof String;
        final List<?> items = object instanceof Map ? null
                : isText ? ((String) object).chars().mapToObj(c -> (char) c).toList() : items(object, budget);
        if (items == null) {
            throw new Fault("cannot slice a dict");
        }
        // A longer stride picks the same entries, and this one cannot overflow.
        final long stride = Math.clamp(step.orElse(1L), -Integer.MAX_VALUE, Integer.MAX_VALUE);
        if (stride == 0) {
            throw new Fault("slice step is zero");
        }
        final int size = items.size();
        final long low = stride > 0 ? 0 : -1;
        final long high = stride > 0 ? size : size - 1L;
        final long first = from.map(at -> clamp(at, size, low, high)).orElse(stride > 0 ? low : high);
        final long last = to.map(at -> clamp(at, size, low, high)).orElse(stride > 0 ? high : low);
        budget.charge(size);
        final List<Object> picked = new ArrayList<>();
        for (long i = first; stride > 0 ? i < last : i > last; i += stride) {
            picked.add(items.get((int) i));
        }
        if (!isText) {
            return picked;
        }
        final StringBuilder text = new StringBuilder(picked.size());
        picked.forEach(text::append);
        return text.toString();
    }

    private static long clamp(final long at, final int size, final long low, final long high) {
        return Math.clamp(at < 0 ? at + size : at, low, high);
    }

    static Object arithmetic(final String operator, final Object left, final Object right, final Budget budget) {
        if (left instanceof Undefined undefined) {
            throw undefined.fault();
        }
        if (right instanceof Undefined undefined) {
            throw undefined.fault();
        }
        if (operator.equals("+") && left instanceof String a && right instanceof String b) {
            budget.charge(a.length() + b.length());
            return a + b;
        }
        if (operator.equals("+") && left instanceof List<?> a && right instanceof List<?> b) {
            budget.charge(a.size() + b.size());
            final List<Object> joined = new ArrayList<>(a);
            joined.addAll(b);
            return joined;
        }
        if (operator.equals("*") && left instanceof String a && right instanceof Long times) {
            return Strings.repeat(a, times, budget);
        }
        if (!isNumber(left) || !isNumber(right)) {
            throw new Fault("cannot compute " + typeName(left) + " " + operator + " " + typeName(right));
        }
        if (left instanceof Double || right instanceof Double || operator.equals("/")) {
            return real(operator, number(left), number(right));
        }
        return integer(operator, whole(left), whole(right));
    }

    private static Object integer(final String operator, final long a, final long b) {
        try {
            return switch (operator) {
                case "+" -> Math.addExact(a, b);
                case "-" -> Math.subtractExact(a, b);
                case "*" -> Math.multiplyExact(a, b);
                case "//" -> Math.floorDiv(a, b);
                case "%" -> Math.floorMod(a, b);
                default -> b >= 0 ? (Object) BigDecimal.valueOf(a).pow((int) Math.min(b, 64)).longValueExact()
                        : (Object) Math.pow(a, b);
            };
        } catch (final ArithmeticException e) {
            throw new Fault("integer out of range in " + a + " " + operator + " " + b);
        }
    }

    private static Object real(final String operator, final double a, final double b) {
        if (b == 0 && !operator.equals("+") && !operator.equals("-") && !operator.equals("*")
                && !operator.equals("**")) {
            throw new Fault("division by zero");
        }
        return switch (operator) {
            case "+" -> a + b;
            case "-" -> a - b;
            case "*" -> a * b;
            case "/" -> a / b;
            case "//" -> Math.floor(a / b);
            case "%" -> a - Math.floor(a / b) * b;
            default -> Math.pow(a, b);
        };
    }
}
