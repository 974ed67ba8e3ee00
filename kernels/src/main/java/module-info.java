/** Doors to the kernels: shapes in, results out. Knows nothing of llama.cpp. */
@SuppressWarnings("module") // runtime is compiled after this module
module dev.equipoise.kernels {
    requires jcuda;

    exports dev.equipoise.kernels;
    exports dev.equipoise.kernels.cuda;
    exports dev.equipoise.kernels.error;
    exports dev.equipoise.kernels.ffm to dev.equipoise.runtime;
}
