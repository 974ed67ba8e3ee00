package dev.equipoise.runtime;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.intervention.Intervention;
import dev.equipoise.runtime.intervention.Phase;
import dev.equipoise.runtime.intervention.Scope;
import java.util.List;

/**
 * Which interventions of a branch act on which of its columns: bit k of a column's mask is intervention k. Columns are
 * the prompt's and, counting on, the generated tokens'.
 */
final class ActiveColumns {
    private final List<Intervention> interventions;
    private final long[] prompt;
    // What acts, beside the following, on the first generated tokens, as far as they are told apart.
    private final long[] named;
    // What acts on generated tokens, wherever they are.
    private final long generated;
    // What acts on some generated tokens only.
    private final long placed;

    private ActiveColumns(final List<Intervention> interventions, final EncodedPrompt from, final long idle) {
        this.interventions = interventions;
        prompt = new long[from.size()];
        named = new long[from.known() - from.size()];
        final int afterMedia = endOfMedia(from);
        final int afterInstruction = Math.min(from.instructionEnd(), from.size() - 1);
        long always = 0;
        long sometimes = 0;
        for (int k = 0; k < interventions.size(); k++) {
            final Intervention intervention = interventions.get(k);
            if ((idle >> k & 1) != 0) {
                continue;
            }
            final Scope scope = intervention.scope();
            final int first = switch (scope.reach()) {
                case ALL -> intervention instanceof Intervention.Hide ? firstToMiss(from) : 0;
                case LAST -> from.size() - 1;
                case AFTER_MEDIA -> afterMedia;
                case AFTER_INSTRUCTION -> afterInstruction;
                case ANSWER -> from.answerStart();
            };
            for (int column = first; column < from.size(); column++) {
                if (inPrompt(scope, from, column) && chosen(intervention, from, column)) {
                    prompt[column] |= 1L << k;
                }
            }
            final boolean names = intervention instanceof Intervention.Mute
                    || intervention instanceof Intervention.MuteAttended;
            for (int column = 0; column < named.length && names; column++) {
                named[column] |= chosen(intervention, from, from.size() + column) ? 1L << k : 0;
            }
            if (scope.phases().contains(Phase.GENERATED)
                    && scope.modalities().contains(Modality.TEXT)
                    && scope.medium().isEmpty()) {
                always |= scope.positions().isEmpty() ? 1L << k : 0;
                // Positions that the prompt takes up hold no generated token.
                final boolean beyond = scope.positions()
                        .map(positions -> positions.last() >= from.size())
                        .orElse(false);
                sometimes |= beyond ? 1L << k : 0;
            }
        }
        generated = always;
        placed = sometimes;
    }

    /**
     * Resolves scopes against a prompt.
     *
     * @param most tokens that may be generated, at least 1; the last of them is never read, so that nothing acts on it
     * @throws BadInputException naming the intervention that no token is in the scope of, and the tokens that there are
     */
    static ActiveColumns of(final Branch branch, final EncodedPrompt prompt, final int most) {
        final ActiveColumns made = new ActiveColumns(branch.interventions(), prompt, 0);
        for (int k = 0; k < branch.interventions().size(); k++) {
            // What generated tokens are to miss may come with what the prompt does, whether or not any are read.
            final boolean idle = made.touchesGenerated(k)
                    && branch.interventions().get(k) instanceof Intervention.HideAttended;
            if (made.touched(k) == 0 && !made.touchesGenerated(k, most - 1) && !idle) {
                throw new BadInputException(
                        "an intervention that acts on no token",
                        branch.interventions().get(k).name() + ", branch " + branch.name() + ": prompt tokens 0-"
                                + (prompt.size() - 1) + ", then " + (most - 1) + " that are generated and read",
                        made.touchesGenerated(k)
                                ? "widen its scope, or let more tokens be generated"
                                : "widen its scope, or add what it names to the prompt");
            }
        }
        return made;
    }

    /** Nothing acts on any column. */
    static ActiveColumns none(final EncodedPrompt prompt) {
        return new ActiveColumns(List.of(), prompt, 0);
    }

    /**
     * As {@link #of}, when tokens were chosen anew.
     *
     * @param idle bit k: intervention k has been given none, and acts nowhere
     */
    static ActiveColumns chosen(final List<Intervention> interventions, final EncodedPrompt prompt, final long idle) {
        return new ActiveColumns(interventions, prompt, idle);
    }

    private static boolean chosen(
            final Intervention intervention, final EncodedPrompt prompt, final int column) {
        return switch (intervention) {
            case Intervention.Silence silence ->
                HiddenColumns.isMeant(silence.modalities(), silence.tokens(), prompt, column);
            case Intervention.Mute mute -> HiddenColumns.isMeant(mute.modalities(), mute.tokens(), prompt, column);
            case Intervention.MuteAttended mute ->
                HiddenColumns.isMeant(mute.modalities(), mute.tokens(), prompt, column);
            default -> true;
        };
    }

    // Tokens before the first hidden one cannot see it, unless they are of the same medium, whose tokens may see each
    // other in both directions.
    private static int firstToMiss(final EncodedPrompt prompt) {
        int column = 0;
        while (column < prompt.size() && !prompt.isHidden(column)) {
            column++;
        }
        while (column > 0 && column < prompt.size()
                && prompt.medium(column) >= 0
                && prompt.medium(column - 1) == prompt.medium(column)) {
            column--;
        }
        return column;
    }

    private static int endOfMedia(final EncodedPrompt prompt) {
        int column = prompt.size();
        while (column > 0 && prompt.medium(column - 1) < 0) {
            column--;
        }
        return column;
    }

    private static boolean inPrompt(final Scope scope, final EncodedPrompt prompt, final int column) {
        return scope.phases().contains(Phase.PROMPT)
                && scope.modalities().contains(prompt.modality(column))
                && (scope.medium().isEmpty() || scope.medium().getAsInt() == prompt.medium(column))
                && at(scope, column);
    }

    private static boolean at(final Scope scope, final int column) {
        return scope.positions()
                .map(positions -> positions.first() <= column && column <= positions.last())
                .orElse(true);
    }

    /** What acts on a column. */
    long at(final int column) {
        if (column < prompt.length) {
            return prompt[column];
        }
        long mask = generated | (column - prompt.length < named.length ? named[column - prompt.length] : 0);
        for (long left = placed; left != 0; left &= left - 1) {
            final int k = Long.numberOfTrailingZeros(left);
            if (at(interventions.get(k).scope(), column)) {
                mask |= 1L << k;
            }
        }
        return mask;
    }

    /** How many prompt columns an intervention acts on. */
    int touched(final int k) {
        int count = 0;
        for (final long mask : prompt) {
            count += (int) (mask >> k & 1);
        }
        return count;
    }

    /** The first prompt column that an intervention acts on; how many there are, if it is none of them. */
    int first(final int k) {
        int column = 0;
        while (column < prompt.length && (prompt[column] >> k & 1) == 0) {
            column++;
        }
        return column;
    }

    /** Whether an intervention may act on generated tokens, the first or later ones. */
    boolean touchesGenerated(final int k) {
        return ((generated | placed) >> k & 1) != 0;
    }

    // Whether it acts on one of the first so many generated tokens.
    private boolean touchesGenerated(final int k, final int read) {
        return read > 0
                && ((generated >> k & 1) != 0
                        || (placed >> k & 1) != 0
                                && interventions.get(k).scope().positions().orElseThrow().first()
                                        <= prompt.length + read - 1L);
    }

    private boolean watches() {
        return interventions.stream().anyMatch(Intervention.DrainSinks.class::isInstance);
    }

    private boolean turns() {
        return interventions.stream().anyMatch(Intervention.TurnToSinks.class::isInstance);
    }

    /**
     * Leading prompt columns on which the same happens here and there, so that a later branch may share the cells of
     * this one. What only looks here changes none of them, and is done with them when they are shared.
     */
    int agreeing(final ActiveColumns later) {
        final boolean same = later.interventions.equals(changing()) || later.interventions.equals(interventions);
        if (turns() || later.turns()) {
            return 0; // what earlier columns are depends on all that follow
        }
        if (!same && (watches() || later.watches())) {
            return 0; // whether a key is a sink is noted of every column, for this branch only
        }
        final long known = same && later.interventions.size() < interventions.size()
                ? (1L << later.interventions.size()) - 1
                : -1;
        final int limit = Math.min(prompt.length, later.prompt.length);
        int column = 0;
        while (column < limit
                && (same
                        ? (prompt[column] & known) == later.prompt[column]
                        : (prompt[column] & ~readers() | later.prompt[column]) == 0)) {
            column++;
        }
        return column;
    }

    // The interventions without those behind them that only look.
    private List<Intervention> changing() {
        int size = interventions.size();
        while (size > 0 && looks(interventions.get(size - 1))) {
            size--;
        }
        return interventions.subList(0, size);
    }

    private long readers() {
        long readers = 0;
        for (int k = 0; k < interventions.size(); k++) {
            readers |= looks(interventions.get(k)) ? 1L << k : 0;
        }
        return readers;
    }

    private static boolean looks(final Intervention intervention) {
        return intervention instanceof Intervention.ReadStates || intervention instanceof Intervention.ReadAttention;
    }
}
