/** What acts across branches and logits: the contrastive family and the strategy files. */
@SuppressWarnings("module") // bench is compiled after this module
module dev.equipoise.decoding {
    requires tools.jackson.core;
    requires tools.jackson.databind;
    requires transitive dev.equipoise.steering;

    exports dev.equipoise.decoding;
    exports dev.equipoise.decoding.expression;
    exports dev.equipoise.decoding.procedure;
    // The same strictness for data files.
    exports dev.equipoise.decoding.spec to dev.equipoise.bench;
}
