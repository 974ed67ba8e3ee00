/** Benchmarks, the testbed model and its data, and the command line. */
module dev.equipoise.bench {
    requires HdrHistogram;
    requires info.picocli;
    requires java.desktop;
    requires java.logging;
    requires java.management;
    requires org.apache.commons.statistics.distribution;
    requires org.knowm.xchart;
    requires tools.jackson.core;
    requires tools.jackson.databind;
    // The JMH suite, which runs on the class path, and the binding that it measures beside ours.
    requires static jmh.core;
    requires static llama;
    requires transitive dev.equipoise.decoding;

    exports dev.equipoise.bench.demo;
    exports dev.equipoise.bench.pairs;
    exports dev.equipoise.bench.testbed;

    opens dev.equipoise.bench.cli to
            info.picocli;
    opens dev.equipoise.bench.speed to
            info.picocli;
}
