/** What acts inside the network: vectors, attention edits, token compression. */
module dev.equipoise.steering {
    requires transitive dev.equipoise.runtime;
}
