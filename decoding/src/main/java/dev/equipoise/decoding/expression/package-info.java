/**
 * Arithmetic over the token's index and a strategy's names, as strategy files write coefficients. An expression is
 * read once, proved finite for every token, and evaluated at every step without allocating.
 */
package dev.equipoise.decoding.expression;
