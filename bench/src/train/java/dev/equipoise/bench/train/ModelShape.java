package dev.equipoise.bench.train;

/** The sizes of the testbed model. Matrix widths are multiples of 32, the block of Q8_0. */
final class ModelShape {
    /** Width of the text model and of every media embedding. */
    static final int WIDTH = 128;
    static final int LAYERS = 4;
    static final int HEADS = 4;
    static final int HEAD = WIDTH / HEADS;
    static final int FEED_FORWARD = 352;
    static final int CONTEXT = 512;
    static final float NORM_EPSILON = 1e-5f;
    static final float ROPE_BASE = 10_000f;

    /** Edge of a square patch in pixels. */
    static final int PATCH = 8;
    static final int PATCH_VALUES = 3 * PATCH * PATCH;
    static final int PATCHES = 16;
    static final int VISION_WIDTH = 128;
    static final int VISION_HIDDEN = 256;

    static final int MEL_BINS = 80;
    static final int EAR_WIDTH = 32;
    static final int EAR_HEADS = 2;
    static final int EAR_FEED_FORWARD = 64;
    static final int EAR_POSITIONS = 1500;
    /** Encoder positions (50 a second) that make one token. */
    static final int STACK = 150;
    static final int SOUND_TOKENS = EAR_POSITIONS / STACK;
    /** Width of a sound feature between the frozen projector layer and the trained one. */
    static final int EAR_FEATURES = 128;

    private ModelShape() {
    }
}
