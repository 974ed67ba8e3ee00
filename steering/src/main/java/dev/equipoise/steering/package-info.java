/**
 * Where in the network something acts: a choice of layers, absolute or as shares of the depth, that means the same
 * place in any model. What acts there lives in the packages below, contrasts of whole branches in
 * {@code dev.equipoise.decoding}.
 */
package dev.equipoise.steering;
