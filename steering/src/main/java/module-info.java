/** What acts inside the network: steering vectors and where they apply. */
module dev.equipoise.steering {
    requires commons.math3;
    requires transitive dev.equipoise.runtime;

    exports dev.equipoise.steering;
    exports dev.equipoise.steering.edit;
    exports dev.equipoise.steering.vector;
}
