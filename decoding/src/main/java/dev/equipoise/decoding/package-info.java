/**
 * Decoding strategies as data, and what they become: branches of a request and the way in which their rows combine.
 * {@link dev.equipoise.decoding.Strategies} finds or reads one, {@link dev.equipoise.decoding.Lowering} applies it to a
 * prompt, {@link dev.equipoise.decoding.Explanation} says in words what would happen. All contrasts are linear sums of
 * named branches ({@link dev.equipoise.decoding.LinearContrast}), and named methods are short ways of writing one.
 */
package dev.equipoise.decoding;
