/**
 * Models, engines, prompts and samplers: everything that owns a native lifetime, and the values that go in and out.
 * A {@link dev.equipoise.runtime.Request} says what to generate, an {@link dev.equipoise.runtime.Engine} does it.
 */
package dev.equipoise.runtime;
