package dev.equipoise.runtime.template.jinja;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import net.jqwik.api.Arbitraries;
import net.jqwik.api.Arbitrary;
import net.jqwik.api.ForAll;
import net.jqwik.api.From;
import net.jqwik.api.Property;
import net.jqwik.api.Provide;
import net.jqwik.api.constraints.Size;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Expected texts were taken from Python's jinja2 with trim_blocks, lstrip_blocks and loop controls. */
class JinjaTest {
    private static final Clock CLOCK = Clock.fixed(Instant.parse("2025-03-04T05:06:07Z"), ZoneOffset.UTC);
    private static final Map<String, Object> VARIABLES = Map.of(
            "word", " Ab'c ",
            "list", List.of(3L, 1L, 2L),
            "dict", Map.of("role", "user"),
            "people", List.of(
                    Map.of("name", "ann", "age", 7L), Map.of("name", "Bob", "age", 5L)));

    private static String render(final String template) {
        return Jinja.parse(template).render(VARIABLES, CLOCK);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '¦', quoteCharacter = '`', ignoreLeadingAndTrailingWhitespace = true, value = {
        "1 + 2 * 3 ¦ 7",
        "7 // 2 ~ '|' ~ -7 // 2 ~ '|' ~ -7 % 3 ~ '|' ~ 7 / 2 ¦ 3|-4|2|3.5",
        "2 ** 10 ~ 'x' ¦ 1024x",
        "1e3 ~ ' ' ~ 0.5 ~ ' ' ~ 10 / 5 ¦ 1000.0 0.5 2.0",
        "'a' + word | trim + 'b' ¦ aAb'cb",
        "word.strip().upper() ¦ AB'C",
        "'xxabxx'.lstrip('x') ~ '|' ~ 'xxabxx'.rstrip('x') ¦ abxx|xxab",
        "'a-b-c'.split('-')[-1] ~ 'a-b-c'.split('-', 1)[1] ~ 'a-b-c'.rsplit('-', 1)[0] ¦ cb-ca-b",
        "' a  b '.split() ¦ ['a', 'b']",
        "'abc'.startswith('ab') and not 'abc'.endswith(('x', 'y')) ¦ True",
        "'{}-{}-{x}-{{}}'.format(1, 2, x=3) ~ '{1}{0}'.format('a', 'b') ¦ 1-2-3-{}ba",
        "'abc'.replace('', '-') ~ 'aaa' | replace('a', 'b', 2) ¦ -a-b-c-bba",
        "'abcdef'[1:4] ~ 'abcdef'[::-2] ~ 'abcdef'[-2:] ~ 'abcdef'[:-4] ¦ bcdfdbefab",
        "list[::-1] ~ list[5:] ~ list[-2:] ¦ [2, 1, 3][][1, 2]",
        "list | sort ~ list | max ~ list | sum ¦ [1, 2, 3]36",
        "people | map(attribute='name') | join(', ') ¦ ann, Bob",
        "people | sort(attribute='age') | map(attribute='name') | list ¦ ['Bob', 'ann']",
        "people | selectattr('age', 'gt', 5) | list | length ¦ 1",
        "(people | rejectattr('name', 'equalto', 'ann') | first).name ¦ Bob",
        "dict.role ~ dict['role'] ~ dict.get('x', 'y') ~ dict.get('x') ¦ useruseryNone",
        "'role' in dict and 'x' not in dict and 'b' in word ¦ True",
        "(dict.items() | list)[0] | join('=') ¦ role=user",
        "nothing is defined or nothing ¦ ``",
        "nothing | default('d') ~ ('' | default('e', true)) ~ ('' | default('f')) ¦ de",
        "[none, true, 1.0, 'it\\'s', \"q\"] ¦ [None, True, 1.0, \"it's\", 'q']",
        "none is none and 1 is number and 'a' is string and dict is mapping and list is iterable ¦ True",
        "3 is odd and 4 is divisibleby 2 and 2 in [1, 2] and 1 is not in [2] ¦ True",
        "true == 1 and 1 == 1.0 and [1] == [1.0] and 'a' != 1 ¦ True",
        "1 < 2 <= 2 and not 'b' < 'a' ¦ True",
        "('a' if nothing else 'b') ~ ('c' if false) ¦ b",
        "not not 'x' ¦ True",
        "[1, [2]] | tojson ~ 'ä\"\\n' | tojson ¦ [1, [2]]\"ä\\\"\\n\"",
        "{'a': none, 'b': [1], 'c': []} | tojson(indent=2) | replace('\\n', '/') ¦ "
                + "{/  \"a\": null,/  \"b\": [/    1/  ],/  \"c\": []/}",
        "{'b': 1, 'a': 2} | tojson(sort_keys=true, separators=(',', ':')) ¦ {\"a\":2,\"b\":1}",
        "strftime_now('%d %b %Y %H:%M %%') ¦ 04 Mar 2025 05:06 %",
        "range(5) | list ~ range(5, 1, -2) | list ¦ [0, 1, 2, 3, 4][5, 3]",
        "'a\\tb\\u00e9\\x41\\q' ¦ a\tbéA\\q",
        "'one' 'two' ¦ onetwo",
        "[1,2,] ~ {'a':1,} ~ (1,) | length ¦ [1, 2]{'a': 1}1",
        "'Hello World' | lower | title | capitalize ¦ Hello world",
        "'3' | int + 'x' | int(4) ¦ 7",
        "2.567 | round(1) ~ (3.2 | round | int) ¦ 2.63",
        "'a\\nb' | indent(2) | replace('\\n', '/') ¦ a/  b",
        "'<&>' | e ¦ &lt;&amp;&gt;",
    })
    void expressions(final String expression, final String expected) {
        assertEquals(expected, render("{{ " + expression + " }}"));
    }

    @Test
    void whiteSpaceControl() {
        assertEquals("a\nb\n", render("  {% if true %}\na\n  {% endif %}\nb\n\n"));
        assertEquals("ab", render("a\n {%- if true -%} \n b {%- endif %}"));
        assertEquals("a  x", render("a {{ '' }} {% if true %}x{% endif %}"));
        assertEquals("  x\n", render("  {%+ if true %}x{% endif +%}\n\n"));
        assertEquals("x", render("{# note #}\nx"));
        assertEquals("ax", render("a {#- note -#} x"));
        assertEquals("{{ 1 }}", render("{% raw %}{{ 1 }}{% endraw %}"));
        assertEquals("1}", render("{{ {'a': {'b': 1}}['a']['b'] }}}"));
        assertEquals("\n", render("\r\n\r\n"));
    }

    @Test
    void statements() {
        assertEquals("1:3,2:1,3:2.", render(
                "{% for x in list %}{{ loop.index }}:{{ x }}{{ '.' if loop.last else ',' }}{% endfor %}"));
        assertEquals("13", render("{% for x in [1,2,3,4] %}{% if x == 2 %}{% continue %}{% endif %}"
                + "{% if x == 4 %}{% break %}{% endif %}{{ x }}{% endfor %}"));
        assertEquals("none", render("{% for x in list if x > 9 %}{{ x }}{% else %}none{% endfor %}"));
        assertEquals("32 of 2", render("{% for x in list if x > 1 %}{{ x }}{% if loop.last %} of {{ loop.length }}"
                + "{% endif %}{% endfor %}"));
        assertEquals("role=user", render("{% for k, v in dict.items() %}{{ k }}={{ v }}{% endfor %}"));
        assertEquals("0", render("{% set n = 0 %}{% for x in list %}{% set n = n + x %}{% endfor %}{{ n }}"));
        assertEquals("6", render("{% set ns = namespace(n=0) %}{% for x in list %}{% set ns.n = ns.n + x %}"
                + "{% endfor %}{{ ns.n }}"));
        assertEquals("12", render("{% set a, b = 1, 2 %}{{ a }}{{ b }}"));
        assertEquals("AB'C!", render("{% set x | trim | upper %}{{ word }}{% endset %}{{ x }}!"));
        assertEquals("<1:2><3:4>", render("{% macro f(x, y=2) %}<{{ x }}:{{ y }}>{% endmacro %}"
                + "{{ f(1) }}{{ f(3, y=4) }}"));
        assertEquals("(body)", render("{% macro f() %}({{ caller() }}){% endmacro %}"
                + "{% call f() %}body{% endcall %}"));
        assertEquals("ABC", render("{% filter upper %}abc{% endfilter %}"));
        assertEquals("b", render("{% if false %}a{% elif 1 %}b{% else %}c{% endif %}"));
        assertEquals("x", render("{% generation %}x{% endgeneration %}"));
        assertEquals("ann 3 | bob 1", render("{% for p in people %}{{ p.name | lower }} {{ list[loop.index0] }}"
                + "{{ ' | ' if not loop.last }}{% endfor %}"));
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{{ 'x' + 1 }}", "{{ nothing.x }}", "{{ nothing + 1 }}", "{{ raise_exception('no') }}", "{{ 1 / 0 }}",
        "{{ 1 // 0 }}", "{{ 1 | nofilter }}", "{{ 1 is notest }}", "{{ word() }}", "{{ 'a'.nomethod() }}",
        "{% set word.x = 1 %}", "{{ none.x.y }}", "{{ 9223372036854775807 + 1 }}", "{{ {[1]: 2} }}",
        "{{ namespace() }}", "{{ list | sort(attribute='x') }}", "{{ 'a' < 1 }}", "{{ strftime_now('%Q') }}",
        "{{ word.getClass() }}", "{{ word.class.forName('x') }}", "{% for a, b in [1] %}{% endfor %}",
    })
    void faultsWhileRendering(final String template) {
        final Jinja jinja = Jinja.parse("line one\n" + template);
        final JinjaException fault = assertThrows(JinjaException.class, () -> jinja.render(VARIABLES, CLOCK));
        assertEquals(2, fault.line());
    }

    @ParameterizedTest
    @ValueSource(strings = {
        "{{ 1", "{% if true %}", "{% endif %}", "{{ }}", "{{ 'a }}", "{% nothing %}", "{% include 'x' %}", "{# x",
        "{% raw %}", "{{ a b }}", "{{ 1 ? 2 }}", "{% for x %}{% endfor %}", "{{ [1, 2 }}", "{{ a.'b' }}", "{{ a[] }}",
        "{{ 99999999999999999999 }}", "{% for x in y recursive %}{% endfor %}", "{{ '\\uZZZZ' }}", "{% set %}",
    })
    void faultsWhileParsing(final String template) {
        final JinjaException fault = assertThrows(JinjaException.class, () -> Jinja.parse("line one\n" + template));
        assertEquals(2, fault.line());
    }

    /** Templates come from files of strangers: none may run for ever, fill the heap or overflow the stack. */
    @ParameterizedTest
    @ValueSource(strings = {
        "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 9999999999 }}",
        "{{ range(9999999999) }}",
        "{% set ns = namespace(s='xxxxxxxxxx') %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}"
                + "{{ ns.l | tojson }}",
        "{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}"
                + "{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
        "{% set ns = namespace(l=[1]) %}{% for i in range(100000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
        "{% set x = 'x' * 99999 %}{{ x.replace('', x) }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    })
    void hostileTemplatesEnd(final String template) {
        final Jinja jinja = Jinja.parse(template);
        assertThrows(JinjaException.class, () -> jinja.render(VARIABLES, CLOCK));
    }

    /** Any heap of words renders or is refused with the one exception that callers expect. */
    @Property(tries = 1000)
    void wordHeapsRenderOrAreRefused(@ForAll @Size(min = 1, max = 12) final List<@From("words") String> words) {
        final String expression = String.join(" ", words);
        for (final String template : List.of(
                "{{ " + expression + " }}", "{% for x in " + expression + " %}{{ x }}{% endfor %}",
                "{% set x = " + expression + " %}{{ x | tojson }}", expression)) {
            try {
                Jinja.parse(template).render(VARIABLES, CLOCK);
            } catch (final JinjaException refused) {
                assertTrue(refused.line() <= 1);
            }
        }
    }

    @Provide
    Arbitrary<String> words() {
        return Arbitraries.of(
                "(", ")", "[", "]", "{", "}", "|", ".", ",", ":", "=", "==", "<", "+", "-", "*", "/", "//", "%", "**",
                "~", "not", "and", "or", "in", "is", "if", "else", "0", "1", "-1", "2.5", "'a'", "'b c'", "none",
                "true", "word", "list", "dict", "people", "nothing", "x", "range", "namespace", "loop", "odd",
                "defined", "trim", "sort", "first", "last", "list | first", "join", "tojson", "length", "upper",
                "map('upper')", "sum", "unique", "round", "int", "split", ".split()", ".items()", "[::-1]", "[1:]",
                "[-1]", ".get('role')", "{{", "}}", "{%", "%}", "{#", "#}", "{% if", "%}", "{% endif %}", "{% raw %}");
    }

    @Test
    void deepSourceIsRefused() {
        for (final String piece : List.of("(", "[", "-", "{% if x %}", "not (", "a[", "{'a':")) {
            final String template = piece.startsWith("{%") ? piece.repeat(5000) : "{{ " + piece.repeat(5000);
            assertThrows(JinjaException.class, () -> Jinja.parse(template), piece);
        }
        final Jinja sum = Jinja.parse("{{ 1" + " + 1".repeat(500_000) + " }}");
        final JinjaException deep = assertThrows(JinjaException.class, () -> sum.render(VARIABLES, CLOCK));
        assertTrue(deep.getMessage().contains("deep"), deep.getMessage());
    }
}
