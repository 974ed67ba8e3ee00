/** Models, engines, prompts, samplers and GGUF files: everything that owns a native lifetime. */
module dev.equipoise.runtime {
    requires java.desktop;
    requires transitive dev.equipoise.kernels;

    exports dev.equipoise.runtime;

    exports dev.equipoise.runtime.gguf;
    exports dev.equipoise.runtime.intervention;
    exports dev.equipoise.runtime.picture;
    exports dev.equipoise.runtime.search;
    exports dev.equipoise.runtime.serving;
    exports dev.equipoise.runtime.template;
}
