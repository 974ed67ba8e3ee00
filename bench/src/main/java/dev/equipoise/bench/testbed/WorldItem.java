package dev.equipoise.bench.testbed;

import java.util.Optional;

/**
 * A generated item together with its media, not yet in files.
 *
 * @param item the item; its image and audio paths are relative names, present exactly where the media are
 * @param truth what picture and sound show
 * @param pixels the picture as {@link Picture#draw} gives it
 * @param samples the clip as {@link Sound#play} gives it
 */
public record WorldItem(Item item, Scene truth, Optional<byte[]> pixels, Optional<short[]> samples) {
}
