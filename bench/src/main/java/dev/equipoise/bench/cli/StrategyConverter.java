package dev.equipoise.bench.cli;

import dev.equipoise.decoding.Strategies;
import dev.equipoise.decoding.Strategy;
import picocli.CommandLine.ITypeConverter;

/** A strategy by its name or file. */
final class StrategyConverter implements ITypeConverter<Strategy> {
    @Override
    public Strategy convert(final String nameOrFile) {
        final Strategy plain = Strategy.plain();
        if (nameOrFile.equals(plain.name())) {
            return plain;
        }
        if (Strategies.isMade(nameOrFile)) {
            return Strategies.find(nameOrFile);
        }
        if (nameOrFile.endsWith(".json")) {
            return Strategies.read(Paths.parse(nameOrFile));
        }
        return Strategies.named(nameOrFile);
    }
}
