/** Doors to the kernels: shapes in, results out. Knows nothing of llama.cpp. */
module dev.equipoise.kernels {
    exports dev.equipoise.kernels.error;
}
