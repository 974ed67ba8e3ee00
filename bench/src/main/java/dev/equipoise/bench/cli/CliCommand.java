package dev.equipoise.bench.cli;

import java.io.PrintWriter;
import java.util.concurrent.Callable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** What all commands share: where to print, and in which form. */
abstract class CliCommand implements Callable<Integer> {
    /** The command as picocli sees it. */
    @Spec
    protected CommandSpec spec;

    /** Does the work; a failure is thrown. */
    protected abstract void run();

    @Override
    public Integer call() {
        run();
        return ExitCode.DONE;
    }

    /** Whether exactly one JSON document is wanted. */
    protected boolean json() {
        return ((Main) spec.root().userObject()).json();
    }

    /** Standard output, UTF-8. */
    protected PrintWriter out() {
        return spec.commandLine().getOut();
    }

    /** Standard error, UTF-8. */
    protected PrintWriter err() {
        return spec.commandLine().getErr();
    }
}
