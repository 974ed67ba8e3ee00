/**
 * Edits of the residual stream and of attention as a strategy writes them, before a model is known. Resolved against a
 * model they are the interventions that the runtime carries out.
 */
package dev.equipoise.steering.edit;
