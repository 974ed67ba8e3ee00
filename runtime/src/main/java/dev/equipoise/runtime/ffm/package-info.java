/**
 * The binding to libequipoise: one class of method handles, and one owner per native handle. Not exported; the only
 * package of this module that knows {@code java.lang.foreign}.
 */
package dev.equipoise.runtime.ffm;
