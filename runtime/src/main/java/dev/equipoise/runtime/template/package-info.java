/**
 * A model's own chat template: turns go in, and come out as pieces that say which text is the template's and which the
 * user's. What the user wrote never passes through the template, so it can neither run in it nor pose as its text.
 */
package dev.equipoise.runtime.template;
