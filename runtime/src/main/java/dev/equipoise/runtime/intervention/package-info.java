/**
 * What acts inside the network while a branch is decoded: values that say which tokens and layers are touched and how.
 * The engine lowers them to operations in the compute graph; where their vectors come from is {@code
 * dev.equipoise.steering}'s business.
 */
package dev.equipoise.runtime.intervention;
