/** Benchmarks, the testbed model and its data, and the command line. */
module dev.equipoise.bench {
    requires dev.equipoise.decoding;
}
