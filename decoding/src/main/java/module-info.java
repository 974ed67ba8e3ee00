/** What acts across branches and logits: the contrastive family and the strategy files. */
module dev.equipoise.decoding {
    requires tools.jackson.core;
    requires tools.jackson.databind;
    requires transitive dev.equipoise.steering;

    exports dev.equipoise.decoding;
}
