package dev.equipoise.runtime.template.jinja;

import java.time.Clock;
import java.time.LocalDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** The functions that a chat template finds without being given them. */
final class Globals {
    private static final Map<Character, String> DATE_FIELDS = Map.ofEntries(
            Map.entry('d', "dd"), Map.entry('m', "MM"), Map.entry('Y', "yyyy"), Map.entry('y', "yy"),
            Map.entry('b', "MMM"), Map.entry('B', "MMMM"), Map.entry('a', "EEE"), Map.entry('A', "EEEE"),
            Map.entry('H', "HH"), Map.entry('I', "hh"), Map.entry('M', "mm"), Map.entry('S', "ss"),
            Map.entry('p', "a"), Map.entry('j', "DDD"), Map.entry('F', "yyyy-MM-dd"), Map.entry('T', "HH:mm:ss"));

    private Globals() {}

    static Map<String, Function> all(final Clock clock, final Budget budget) {
        return Map.of(
                "namespace", (positional, named) -> new Namespace(new LinkedHashMap<>(named)),
                "dict", (positional, named) -> new LinkedHashMap<>(named),
                "range", (positional, named) -> range(positional, budget),
                "raise_exception", (positional, named) -> {
                    throw new Fault(Values.text(new Arguments(positional, named).require(0, "message"), budget));
                },
                "strftime_now", (positional, named) ->
                    date(Values.string(new Arguments(positional, named).require(0, "format")), clock, budget));
    }

    private static List<Object> range(final List<Object> bounds, final Budget budget) {
        if (bounds.isEmpty() || bounds.size() > 3) {
            throw new Fault("range takes one to three numbers");
        }
        final long from = bounds.size() == 1 ? 0 : Values.whole(bounds.getFirst());
        final long to = Values.whole(bounds.get(bounds.size() == 1 ? 0 : 1));
        final long step = bounds.size() == 3 ? Values.whole(bounds.get(2)) : 1;
        if (step == 0) {
            throw new Fault("range step is zero");
        }
        final List<Object> numbers = new ArrayList<>();
        if (from == Long.MIN_VALUE || Math.abs(from) > Budget.LIMIT || Math.abs(step) > Budget.LIMIT) {
            throw new Fault("range out of bounds");
        }
        // The budget ends the loop long before the sum can overflow.
        for (long i = from; step > 0 ? i < to : i > to; i += step) {
            budget.charge(1);
            numbers.add(i);
        }
        return numbers;
    }

    private static String date(final String format, final Clock clock, final Budget budget) {
        final LocalDateTime now = LocalDateTime.now(clock);
        final StringBuilder text = new StringBuilder();
        for (int i = 0; i < format.length(); i++) {
            final char c = format.charAt(i);
            if (c != '%' || i + 1 == format.length()) {
                text.append(c);
                continue;
            }
            final char field = format.charAt(++i);
            if (field == '%') {
                text.append('%');
            } else if (DATE_FIELDS.containsKey(field)) {
                text.append(now.format(DateTimeFormatter.ofPattern(DATE_FIELDS.get(field), Locale.ENGLISH)));
            } else {
                throw new Fault("unknown date field %" + field);
            }
            budget.charge(10);
        }
        return text.toString();
    }
}
