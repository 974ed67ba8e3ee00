/**
 * An interpreter for the Jinja that chat templates are written in, with Python's meaning of strings, slices and truth.
 * Templates come out of model files and are not trusted: no reflection, no input or output, and work is bounded.
 */
package dev.equipoise.runtime.template.jinja;
