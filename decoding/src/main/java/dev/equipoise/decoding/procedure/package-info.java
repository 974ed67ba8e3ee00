/**
 * What happens around a generation: {@link dev.equipoise.decoding.procedure.Decoding} makes a strategy's preparatory
 * passes, runs its plan and, where several answers were written down, draws one, on an engine or among others on a
 * service. Commands and callers that take any strategy go through it.
 */
package dev.equipoise.decoding.procedure;
