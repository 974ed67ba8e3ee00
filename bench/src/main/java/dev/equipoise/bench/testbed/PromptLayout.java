package dev.equipoise.bench.testbed;

import java.util.List;
import java.util.ArrayList;

/**
 * The one order in which an item's pieces reach the model, in training as at run time: system, note, picture, sound,
 * question, each tokenised on its own, nothing between them. It is the order of a model without a chat template.
 */
public final class PromptLayout {
    private PromptLayout() {
    }

    /** A piece of a prompt. */
    public sealed interface Piece {
        /** System words. */
        record SystemWords(String text) implements Piece {
        }

        /** The note. */
        record Note(String text) implements Piece {
        }

        /** The picture. */
        record Picture() implements Piece {
        }

        /** The sound. */
        record Sound() implements Piece {
        }

        /** The user's words. */
        record Question(String text) implements Piece {
        }
    }

    /** The pieces of an item, in order; those it lacks are left out. */
    public static List<Piece> pieces(final Item item) {
        final List<Piece> pieces = new ArrayList<>();
        item.system().ifPresent(text -> pieces.add(new Piece.SystemWords(text)));
        item.context().ifPresent(text -> pieces.add(new Piece.Note(text)));
        item.image().ifPresent(file -> pieces.add(new Piece.Picture()));
        item.audio().ifPresent(file -> pieces.add(new Piece.Sound()));
        pieces.add(new Piece.Question(item.question()));
        return pieces;
    }
}
