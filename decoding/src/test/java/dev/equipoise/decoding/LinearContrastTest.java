package dev.equipoise.decoding;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.equipoise.kernels.error.BadInputException;
import dev.equipoise.runtime.Branch;
import dev.equipoise.runtime.Image;
import dev.equipoise.runtime.Modality;
import dev.equipoise.runtime.Prompt;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Contrasts that are spelled out: what they equal, what they become, and what is refused. */
class LinearContrastTest {
    private static final Prompt PROMPT = Prompt.builder()
            .context("it is red")
            .image(Image.rgb(1, 1, new byte[3]))
            .text("which colour?")
            .build();

    private static Strategy read(final String json) {
        return Strategies.parse(json.replace('\'', '"'), "test");
    }

    private static Plan lower(final Strategy strategy) {
        return Lowering.lower(strategy, PROMPT, 3, 4);
    }

    private static List<String> names(final Plan plan) {
        return plan.branches().stream().map(Branch::name).toList();
    }

    private static float[] weights(final Plan plan, final int index) {
        final float[] out = new float[plan.branches().size()];
        plan.combination().orElseThrow().coefficients().at(index, out);
        return out;
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "{'method':'vcd'} | {'branches':{'x':{'noise':{'step':500}}},'coefficients':{'base':2,'x':-1},'beta':0.1}",
        "{'method':'vcd','alpha':0.3,'seed':4} | {'parameters':{'q':0.3},'branches':{'x':{'noise':{'seed':4}}},"
                + "'coefficients':{'base':'1+q','x':'-q'},'beta':0.1}",
        "{'method':'icd','instruction':'be odd'} | {'branches':{'odd':{'system':'be odd'}},"
                + "'coefficients':{'base':'4/2','odd':'1-2'},'beta':0.1}",
        "{'method':'cad','without':'context'} | {'branches':{'n':{'without':['context']}},"
                + "'coefficients':{'base':2,'n':-1}}",
        "{'method':'m3id'} | {'branches':{'u':{'without':['image']}},'parameters':{'l':0.02},"
                + "'coefficients':{'base':'1+min(10,expm1(l*t))','u':'-min(10,expm1(l*t))'},"
                + "'logProbabilities':true,'beta':0.1}",
        "{'method':'plausibility','beta':0.4} | {'branches':{},'coefficients':{'base':1},'beta':0.4}",
        "{'method':'plausibility','beta':0.4} | {'branches':{'x':{'without':['image']}},"
                + "'coefficients':{'base':1,'x':0},'beta':0.4}",
        "{'method':'plausibility','beta':0} | {'branches':{'x':{}},'coefficients':{'base':3,'x':-2}}",
        "{'method':'cad','without':'context'} | {'branches':{'n':{'without':['context']},'m':{'without':['context']}},"
                + "'coefficients':{'base':2,'n':-0.5,'m':-0.5}}",
    })
    void aShorthandAndItsSpelledOutFormAreOne(final String method, final String linear) {
        final Strategy one = read("{'contrast':" + method + "}");
        final Strategy other = read("{'contrast':" + linear + "}");
        assertInstanceOf(LinearContrast.class, other.contrast().orElseThrow());
        assertEquals(one.fingerprint(), other.fingerprint());
        assertEquals(one.resolved().contrast(), other.resolved().contrast());
        assertEquals(lower(one).branches(), lower(other).branches());
        assertEquals(other, Strategies.parse(other.toJson(), "again"));
    }

    @Test
    void anythingElseIsSomethingElse() {
        final String cad = "{'contrast':{'branches':{'n':{'without':['context']%s}},"
                + "'coefficients':{'base':2,'n':-1}%s}}";
        final List<String> fingerprints = new ArrayList<>();
        fingerprints.add(read(cad.formatted("", "")).fingerprint());
        fingerprints.add(read(cad.formatted("", ",'logProbabilities':true")).fingerprint());
        fingerprints.add(read(cad.formatted("", ",'beta':0.1")).fingerprint());
        fingerprints.add(read(cad.formatted("", ",'beta':0.1,'cutOff':'n'")).fingerprint());
        fingerprints.add(read(cad.formatted(",'silence':['image']", "")).fingerprint());
        fingerprints.add(read(cad.formatted(",'text':'{question} now'", "")).fingerprint());
        fingerprints.add(read(cad.formatted(
                ",'attention':[{'edit':'multiply','span':'image','factor':2}]", "")).fingerprint());
        fingerprints.add(read(cad.replace("-1", "-0.999").formatted("", "")).fingerprint());
        assertEquals(fingerprints.size(), fingerprints.stream().distinct().count());
        // A cut-off that is off asks no row anything.
        assertEquals(fingerprints.getFirst(), read(cad.formatted("", ",'cutOff':'n'")).fingerprint());
    }

    @Property(tries = 30)
    void neitherNamesNorOrderOfBranchesCount(@ForAll final long shuffle) {
        final List<String> kinds = new ArrayList<>(List.of(
                "{'without':['image']}|-0.5", "{'without':['context']}|-0.25", "{'only':['image']}|'0.5/t'",
                "{'system':'be odd'}|-0.125"));
        final Strategy first = several(kinds, "a");
        Collections.shuffle(kinds, new Random(shuffle));
        final Strategy second = several(kinds, "z");
        assertEquals(first.fingerprint(), second.fingerprint());
        final List<Prompt> prompts = lower(first).branches().stream().map(Branch::prompt).toList();
        assertEquals(prompts, lower(second).branches().stream().map(Branch::prompt).toList());
        for (int t = 1; t < 4; t++) {
            assertEquals(List.of(boxed(weights(lower(first), t))), List.of(boxed(weights(lower(second), t))));
        }
    }

    private static List<Float> boxed(final float[] values) {
        final List<Float> list = new ArrayList<>();
        for (final float value : values) {
            list.add(value);
        }
        return list;
    }

    private static Strategy several(final List<String> kinds, final String prefix) {
        final List<String> branches = new ArrayList<>();
        final List<String> coefficients = new ArrayList<>(List.of("'base':1.5"));
        for (final String kind : kinds) {
            final String name = "'" + prefix + branches.size() + "':";
            branches.add(name + kind.substring(0, kind.indexOf('|')));
            coefficients.add(name + kind.substring(kind.indexOf('|') + 1));
        }
        return read("{'contrast':{'branches':{" + String.join(",", branches) + "},'coefficients':{"
                + String.join(",", coefficients) + "}}}");
    }

    @Test
    void theBranchOfTheCutOffComesFirst() {
        final Plan plan = lower(Strategies.named("ibd-style"));
        assertEquals(List.of("biased", "base"), names(plan));
        assertEquals(List.of(2f, -1f), boxed(weights(plan, 1)));
        assertEquals(1, plan.branches().get(0).interventions().size());
        assertTrue(plan.branches().get(1).interventions().isEmpty());
        assertEquals("nothing: the request as it is", Explanation.of(plan).branches().get(1).differsIn());
        assertTrue(Explanation.of(plan).steps().stream().anyMatch(step -> step.mechanism().contains("whose biased")));
    }

    @Test
    void branchesDifferAsTheySay() {
        final Plan plan = lower(read("{'contrast':{'branches':{'x':{'without':['context'],'noise':{'step':9},"
                + "'system':'be odd','text':'{question} really?','silence':['image']}},"
                + "'coefficients':{'base':'1+0.1*t','x':'-0.1*t'}}}".replace("0.1*t", "min(1,0.1*t)")));
        final Branch odd = plan.branches().get(1);
        assertEquals(
                List.of(Modality.SYSTEM, Modality.IMAGE, Modality.TEXT),
                odd.prompt().parts().stream().map(part -> part.modality()).toList());
        assertEquals("which colour? really?", Pass.question(odd.prompt()));
        assertEquals("silence:image", odd.interventions().getFirst().name());
        assertEquals(List.of(1.5f, -0.5f), boxed(weights(plan, 5)));
        final String differs = Explanation.of(plan).branches().get(1).differsIn();
        assertTrue(differs.contains("image: noised at step 9") && differs.contains("context: left out"), differs);
    }

    @Test
    void wordsStandWhereWordsOfTheirKindStood() {
        final Prompt noted = Variation.say(PROMPT.without(Modality.CONTEXT), Modality.CONTEXT, "it is blue");
        assertEquals(
                List.of(Modality.CONTEXT, Modality.IMAGE, Modality.TEXT),
                noted.parts().stream().map(part -> part.modality()).toList());
        assertEquals(PROMPT, Variation.say(PROMPT, Modality.CONTEXT, "it is red"));
        assertEquals(PROMPT.without(Modality.CONTEXT), Variation.say(PROMPT, Modality.CONTEXT, " "));
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "{'branches':{}}                             | $.contrast.coefficients        | without coefficients",
        "{'coefficients':{}}                         | $.contrast.coefficients.base   | no coefficient",
        "{'branches':{'x':{}},'coefficients':{'base':1}} | $.contrast.coefficients.x  | no coefficient",
        "{'coefficients':{'base':1,'y':1}}           | $.contrast.coefficients.y      | unknown key",
        "{'coefficients':{'base':'1+'}}              | $.contrast.coefficients.base column 3 | too early",
        "{'coefficients':{'base':'w'}}               | $.contrast.coefficients.base   | unknown name",
        "{'coefficients':{'base':'exp(t)'}}          | $.contrast.coefficients.base   | not shown to be finite",
        "{'coefficients':{'base':'1/(t-3)'}}         | $.contrast.coefficients.base   | not shown to be finite",
        "{'coefficients':{'base':1e9}}               | $.contrast.coefficients.base   | out of range",
        "{'parameters':{'t':1},'coefficients':{'base':1}} | $.contrast.parameters.t   | not a name",
        "{'branches':{'base':{}},'coefficients':{'base':1}} | $.contrast.branches.base | called",
        "{'branches':{'x':{'witout':'image'}},'coefficients':{'base':1,'x':1}} | branches.x.witout | unknown",
        "{'branches':{'x':{'only':'text'}},'coefficients':{'base':1,'x':1}} | branches.x.only | unknown only",
        "{'branches':{'x':{'text':'{foo}'}},'coefficients':{'base':1,'x':1}} | branches.x | unknown name {foo}",
        "{'branches':{'x':{}},'coefficients':{'base':1,'x':1},'cutOff':'y'} | $.contrast.cutOff | unknown cutOff",
        "{'method':'mad'}                            | $.contrast.method              | preset",
        "{'method':'cad','branches':{}}              | $.contrast.branches            | not supported",
    })
    void faultsNameTheirPath(final String json, final String path, final String what) {
        final BadInputException fault =
                assertThrows(BadInputException.class, () -> read("{'contrast':" + json + "}"));
        assertTrue(fault.where().startsWith("test ") && fault.where().contains(path), fault.getMessage());
        assertTrue(fault.what().contains(what), fault.getMessage());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "{'without':['audio']}       | add a sound",
        "{'only':['image','context']} | add a picture, a sound or a note",
        "{'silence':['audio']}       | add a sound",
        "{'text':'which colour?'}    | another",
        "{'without':['image'],'noise':{}} | add a picture",
    })
    void aBranchWithoutADifferenceIsRefused(final String variation, final String cure) {
        final Strategy strategy = read(
                "{'name':'n','contrast':{'branches':{'x':" + variation + "},'coefficients':{'base':2,'x':-1}}}");
        final BadInputException fault = assertThrows(BadInputException.class, () -> lower(strategy));
        assertTrue(fault.remedy().contains(cure), fault.getMessage());
    }

    @Test
    void passesMustBeMade() {
        assertThrows(BadInputException.class, () -> lower(Strategies.named("mad-note")));
        Lowering.check(Strategies.named("mad-note"), PROMPT, 0);
        assertNotEquals(Strategies.named("mad").fingerprint(), Strategies.named("mad-note").fingerprint());
        final Strategy mad = Strategies.named("mad-note");
        final Explanation explanation =
                Explanation.of(Lowering.lower(mad, PROMPT, 0, 4, Preparation.unknown(mad)));
        assertEquals("prepare:assess", explanation.steps().getFirst().intervention());
        assertTrue(explanation.steps().stream().anyMatch(step -> step.extraCost().startsWith("3 more branches")));
    }

    @Test
    void aPassThatNothingUsesIsLeftOut() {
        final Strategy idle = read("{'prepare':[{'name':'facts','ask':'look'},{'name':'more','ask':'{facts}?'}]}");
        assertEquals(Strategy.plain().fingerprint(), idle.fingerprint());
        final Strategy used = read("{'prepare':[{'name':'facts','ask':'look'},{'name':'more','ask':'{facts}?'}],"
                + "'prompt':{'text':'{more} {question}'}}");
        assertEquals(2, used.resolved().passes().size());
        assertEquals(
                Strategies.named("reminder").fingerprint(),
                Strategies.parse(Strategies.named("reminder").toJson(), "x").fingerprint());
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', quoteCharacter = '`', value = {
        "'prepare':[{}]                                   | $.prepare[0].ask   | asks nothing",
        "'prepare':[{'ask':'x'}]                          | $.prepare[0].name  | without a name",
        "'prepare':[{'ask':'x','name':'t'}]               | $.prepare          | not a name",
        "'prepare':[{'ask':'x','words':{'a':'b'}}]        | $.prepare          | nothing to weigh",
        "'prepare':[{'ask':'{later}','name':'a'},{'ask':'x','name':'later'}] | $.prepare | unknown name {later}",
        "'prepare':[{'ask':'x','name':'a'},{'ask':'x','name':'a'}] | $.prepare | two findings",
        "'prompt':{'text':'{nothing}'}                    | $.prompt.text      | unknown name",
        "'prompt':{'method':'shout'}                      | $.prompt.method    | unknown method",
        "'prompt':{'method':'reminder','modality':'image'} | $.prompt.modality | unknown key",
        "'prompt':{'method':'verbalised-sampling','responses':1} | $.prompt.responses | out of range",
    })
    void faultsOfPassesAndPromptsNameTheirPath(final String json, final String path, final String what) {
        final BadInputException fault = assertThrows(BadInputException.class, () -> read("{" + json + "}"));
        assertTrue(fault.where().startsWith("test ") && fault.where().contains(path), fault.getMessage());
        assertTrue(fault.what().contains(what), fault.getMessage());
    }
}
