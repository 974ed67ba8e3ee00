package dev.equipoise.runtime;

import java.util.Locale;

/** Number format of the key-value cache. */
public enum KvType {
    /** Half precision, llama.cpp's default. */
    F16,
    /** Single precision, for comparisons with a reference. */
    F32,
    /** 8-bit blocks of 32; the value cache needs flash attention. */
    Q8_0;

    /** The lower-case name of the command line. */
    public String label() {
        return name().toLowerCase(Locale.ROOT);
    }
}
