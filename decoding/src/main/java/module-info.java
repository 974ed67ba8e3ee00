/** What acts across branches and logits: the contrastive family and the strategy files. */
module dev.equipoise.decoding {
    requires transitive dev.equipoise.steering;
}
