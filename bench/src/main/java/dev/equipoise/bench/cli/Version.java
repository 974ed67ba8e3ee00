package dev.equipoise.bench.cli;

import picocli.CommandLine.IVersionProvider;

/** What this build calls itself. */
final class Version implements IVersionProvider {
    /** The version in the jar's manifest; {@code development} outside a jar. */
    static String current() {
        final String version = Main.class.getPackage().getImplementationVersion();
        return version == null ? "development" : version;
    }

    @Override
    public String[] getVersion() {
        return new String[] {"equipoise " + current()};
    }
}
