package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.runtime.Answer;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Limits;
import dev.equipoise.runtime.NextLogits;
import dev.equipoise.runtime.Request;
import dev.equipoise.runtime.TraceEntry;
import dev.equipoise.runtime.oracle.Tolerance;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedSet;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Branches whose choices of tokens turn out to take the same, or nothing, are decoded once. */
class JoinedBranchesTest {
    private static final String STRATEGY = """
            {"contrast": {"branches": {"one": {"tokens": {"by": "dominated", "weaker": "first", "refresh": "request"}},
                                       "two": {"tokens": {"by": "dominated", "weaker": "second", "refresh": "request"}},
                                       "all": {"tokens": {"by": "dominated", "weaker": "both", "refresh": "request"}}},
                          "coefficients": {"base": 3, "one": 0.5, "two": "-0.25 * min(8, t)", "all": -1}}}""";

    @TempDir
    static Path directory;

    private static TinyRig rig;

    @BeforeAll
    static void open() {
        rig = new TinyRig(directory, 71);
    }

    @AfterAll
    static void close() {
        rig.close();
    }

    private static Plan plan(final SortedSet<Integer> first, final SortedSet<Integer> second) {
        final Strategy strategy = Strategies.parse(STRATEGY, "test");
        final SortedSet<Integer> both = new TreeSet<>(first);
        both.addAll(second);
        final Map<TokenChoice, Optional<SortedSet<Integer>>> taken = new HashMap<>();
        for (final TokenChoice choice : strategy.resolved().choices()) {
            taken.put(choice, Optional.of(switch (((TokenChoice.Dominated) choice).weaker()) {
                case FIRST -> first;
                case SECOND -> second;
                case BOTH -> both;
            }));
        }
        return Lowering.lower(
                strategy, rig.prompt, 1, rig.model.info().layers(), Preparation.NONE.taking(taken));
    }

    private static SortedSet<Integer> columns() {
        final NextLogits next = rig.engine.logits(Request.plain(rig.prompt));
        return new TreeSet<>(List.of(next.spans().getFirst().start() + 1, next.spans().getFirst().start() + 2));
    }

    private static float[] weights(final Plan plan, final int token) {
        final float[] weights = new float[plan.branches().size()];
        plan.combination().orElseThrow().coefficients().at(token, weights);
        return weights;
    }

    @Test
    void branchesThatLoseTheSameAreOneAndThoseThatLoseNothingAreTheBase() {
        final Plan plan = plan(columns(), new TreeSet<>());
        final List<String> names = plan.branches().stream().map(Branch::name).toList();
        assertEquals(2, names.size());
        assertEquals("base", names.getFirst());
        assertEquals(new TreeSet<>(List.of("all", "one")), new TreeSet<>(List.of(names.get(1).split("\\+"))));
        // The base has the weight of the branch that turned out to be it.
        assertArrayEquals(new float[] {3 - 0.25f * 4, 0.5f - 1}, weights(plan, 4));
        assertEquals(1, plan(new TreeSet<>(), new TreeSet<>()).branches().size());
    }

    @Test
    void theRowIsThatOfAllBranches() {
        final SortedSet<Integer> taken = columns();
        final Plan joined = plan(taken, new TreeSet<>());
        final float[] actual = rig.engine.logits(joined.request(Limits.defaults(), 0)).logits();
        final float[] base = row(joined.branches().getFirst());
        final float[] less = row(joined.branches().getLast());
        final double[] expected = new double[base.length];
        for (int i = 0; i < expected.length; i++) {
            expected[i] = 3 * base[i] + 0.5 * less[i] - 0.25 * base[i] - less[i];
        }
        final double difference = Tolerance.largestDifference(expected, actual);
        assertTrue(difference <= Tolerance.f32(expected), "largest difference " + difference);
    }

    private static float[] row(final Branch branch) {
        final Request plain = Request.plain(branch.prompt());
        return rig.engine.logits(new Request(
                        List.of(branch),
                        Optional.empty(),
                        plain.sampling(),
                        plain.limits(),
                        0,
                        plain.strategy()))
                .logits();
    }

    /** What acts in cells that a branch shares acts on its tokens too. */
    @Test
    void tokensInSharedCellsCount() {
        final Strategy strategy = Strategies.parse("""
                {"attention": [{"edit": "temperature", "tau": 2}],
                 "contrast": {"branches": {"other": {"text": "which shape"}},
                              "coefficients": {"base": 2, "other": -1}}}""", "test");
        final Plan plan = Lowering.lower(strategy, rig.prompt, 1, rig.model.info().layers());
        final Answer answer = rig.engine.run(plan.request(new Limits(3, List.of()), 0));
        final int prompt = rig.engine.logits(Request.plain(rig.prompt)).promptTokens().length;
        final int read = answer.tokens().size() - 1 + prompt;
        final List<TraceEntry> traced = answer.trace().stream()
                .filter(entry -> entry.intervention().endsWith("attention:temperature"))
                .toList();
        assertEquals(2, traced.size());
        assertEquals(read, traced.getFirst().tokens());
        final int other = rig.engine.logits(Request.plain(plan.branches().getLast().prompt())).promptTokens().length;
        assertEquals(answer.tokens().size() - 1 + other, traced.getLast().tokens());
        assertTrue(traced.getLast().meanDeltaNorm() > 0);
    }
}
