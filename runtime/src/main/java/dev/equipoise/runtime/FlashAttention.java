package dev.equipoise.runtime;

/** Whether attention is computed without materialising its weights. */
public enum FlashAttention {
    /** Always; an error where the model or backend has none. */
    ON,
    /** Never. */
    OFF,
    /** Where model and backend support it. */
    AUTO
}
