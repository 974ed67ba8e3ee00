package dev.equipoise.bench.cli;

import java.util.List;
import java.util.function.Function;
import java.util.stream.Collectors;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.TypeConversionException;

/** Values of options that are one of a few names. */
final class Choice {
    private Choice() {}

    /** Takes the name of one of {@code values}, in any case, and names them all otherwise. */
    static <T> ITypeConverter<T> of(final List<T> values, final Function<T, String> name) {
        return text -> values.stream()
                .filter(value -> name.apply(value).equalsIgnoreCase(text))
                .findFirst()
                .orElseThrow(() -> new TypeConversionException("'" + text + "' is none of "
                        + values.stream().map(name).collect(Collectors.joining(", "))));
    }
}
