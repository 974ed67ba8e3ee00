package dev.equipoise.runtime.template.jinja;

import java.time.Clock;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** One rendering: walks the nodes and collects what they print. */
final class Interpreter {
    private static final int MAX_DEPTH = 200;

    private enum Flow {
        NEXT,
        BREAK,
        CONTINUE
    }

    private final Budget budget = new Budget();
    private final Clock clock;
    private Scope scope = new Scope(null);
    private StringBuilder out = new StringBuilder();
    private int line;
    private int depth;

    Interpreter(final Clock clock) {
        this.clock = clock;
    }

    String render(final List<Node> nodes, final Map<String, ?> variables) {
        Globals.all(clock, budget).forEach(scope::set);
        variables.forEach(scope::set);
        try {
            run(nodes);
        } catch (final Fault fault) {
            throw new JinjaException(fault.getMessage(), line);
        } catch (final StackOverflowError e) {
            throw new JinjaException("values nested too deeply", line);
        }
        return out.toString();
    }

    private Flow run(final List<Node> nodes) {
        for (final Node node : nodes) {
            final Flow flow = run(node);
            if (flow != Flow.NEXT) {
                return flow;
            }
        }
        return Flow.NEXT;
    }

    private Flow run(final Node node) {
        budget.charge(1);
        switch (node) {
            case Node.Data data -> print(data.text());
            case Node.Print print -> {
                line = print.line();
                print(Values.text(value(print.value()), budget));
            }
            case Node.If choice -> {
                return run(chosen(choice));
            }
            case Node.For loop -> loop(loop);
            case Node.Assign assign -> {
                line = assign.line();
                bind(assign.targets(), value(assign.value()));
            }
            case Node.AssignAttribute assign -> {
                line = assign.line();
                if (!(scope.get(assign.object()) instanceof Namespace space)) {
                    throw new Fault("only a namespace has attributes to set: " + assign.object());
                }
                space.attributes().put(assign.attribute(), value(assign.value()));
            }
            case Node.AssignBlock block -> {
                line = block.line();
                scope.set(block.target(), filtered(captured(block.body()), block.filters()));
            }
            case Node.FilterBlock block -> {
                line = block.line();
                print(Values.text(filtered(captured(block.body()), block.filters()), budget));
            }
            case Node.Macro macro -> scope.set(macro.name(), macro(macro));
            case Node.CallBlock block -> {
                line = block.line();
                final Scope body = scope;
                final Function caller = (positional, named) -> inScope(new Scope(body), () -> captured(block.body()));
                print(Values.text(call(block.call(), Optional.of(caller)), budget));
            }
            case Node.Region region -> {
                return run(region.body());
            }
            case Node.Break end -> {
                return Flow.BREAK;
            }
            case Node.Continue next -> {
                return Flow.CONTINUE;
            }
        }
        return Flow.NEXT;
    }

    private void print(final String text) {
        budget.charge(text.length());
        out.append(text);
    }

    private List<Node> chosen(final Node.If choice) {
        line = choice.line();
        for (int i = 0; i < choice.conditions().size(); i++) {
            if (Values.truth(value(choice.conditions().get(i)))) {
                return choice.bodies().get(i);
            }
        }
        return choice.otherwise();
    }

    private void loop(final Node.For loop) {
        line = loop.line();
        final Scope outer = scope;
        final List<Object> items = new ArrayList<>();
        for (final Object item : Values.items(value(loop.source()), budget)) {
            budget.charge(1);
            scope = new Scope(outer);
            bind(loop.targets(), item);
            if (loop.condition().isEmpty() || Values.truth(value(loop.condition().get()))) {
                items.add(item);
            }
        }
        for (int i = 0; i < items.size(); i++) {
            scope = new Scope(outer);
            bind(loop.targets(), items.get(i));
            scope.set("loop", position(items, i));
            if (run(loop.body()) == Flow.BREAK) {
                break;
            }
        }
        scope = outer;
        if (items.isEmpty()) {
            run(loop.otherwise());
        }
    }

    private static Map<String, Object> position(final List<Object> items, final int i) {
        final int size = items.size();
        final Map<String, Object> loop = new HashMap<>();
        loop.put("index", i + 1L);
        loop.put("index0", (long) i);
        loop.put("revindex", (long) size - i);
        loop.put("revindex0", size - i - 1L);
        loop.put("first", i == 0);
        loop.put("last", i == size - 1);
        loop.put("length", (long) size);
        loop.put("previtem", i == 0 ? new Undefined("previtem") : items.get(i - 1));
        loop.put("nextitem", i == size - 1 ? new Undefined("nextitem") : items.get(i + 1));
        loop.put("cycle", (Function) (positional, named) ->
                positional.isEmpty() ? new Undefined("cycle") : positional.get(i % positional.size()));
        return loop;
    }

    private void bind(final List<String> targets, final Object value) {
        if (targets.size() == 1) {
            scope.set(targets.getFirst(), value);
            return;
        }
        final List<?> parts = Values.items(value, budget);
        if (parts.size() != targets.size()) {
            throw new Fault("cannot unpack " + parts.size() + " values into " + targets.size() + " names");
        }
        for (int i = 0; i < targets.size(); i++) {
            scope.set(targets.get(i), parts.get(i));
        }
    }

    private Object filtered(final Object text, final List<Expression.Filter> filters) {
        Object result = text;
        for (final Expression.Filter filter : filters) {
            result = Filters.apply(filter.name(), result, arguments(filter.arguments()), budget);
        }
        return result;
    }

    private String captured(final List<Node> body) {
        final StringBuilder before = out;
        out = new StringBuilder();
        try {
            run(body);
            return out.toString();
        } finally {
            out = before;
        }
    }

    private <T> T inScope(final Scope inner, final java.util.function.Supplier<T> action) {
        final Scope before = scope;
        scope = inner;
        if (++depth > MAX_DEPTH) {
            throw new Fault("macros call each other too deeply");
        }
        try {
            return action.get();
        } finally {
            depth--;
            scope = before;
        }
    }

    private Function macro(final Node.Macro macro) {
        final Scope home = scope;
        return (positional, named) -> inScope(new Scope(home), () -> {
            if (positional.size() > macro.parameters().size()) {
                throw new Fault("too many arguments for macro " + macro.name());
            }
            for (int i = 0; i < macro.parameters().size(); i++) {
                final String name = macro.parameters().get(i);
                final Optional<Expression> otherwise = macro.defaults().get(i);
                if (i < positional.size()) {
                    scope.set(name, positional.get(i));
                } else if (named.containsKey(name)) {
                    scope.set(name, named.get(name));
                } else {
                    scope.set(name, otherwise.isPresent() ? value(otherwise.get()) : new Undefined(name));
                }
            }
            if (named.containsKey("caller")) {
                scope.set("caller", named.get("caller"));
            }
            return captured(macro.body());
        });
    }

    private Object value(final Expression expression) {
        budget.charge(1);
        return switch (expression) {
            case Expression.Literal literal -> literal.value();
            case Expression.Name name -> scope.get(name.name());
            case Expression.ListOf list -> values(list.items());
            case Expression.DictOf dict -> dict(dict);
            case Expression.Attribute attribute -> attribute(value(attribute.object()), attribute.name());
            case Expression.Index index -> indexed(value(index.object()), value(index.index()));
            case Expression.Slice slice -> Values.slice(
                    value(slice.object()), bound(slice.from()), bound(slice.to()), bound(slice.step()), budget);
            case Expression.Call call -> call(call, Optional.empty());
            case Expression.Filter filter ->
                Filters.apply(filter.name(), value(filter.operand()), arguments(filter.arguments()), budget);
            case Expression.Test test -> test.negated()
                    != Tests.apply(test.name(), value(test.operand()), arguments(test.arguments()), budget);
            case Expression.Negative negative -> Values.arithmetic("-", 0L, value(negative.operand()), budget);
            case Expression.Not not -> !Values.truth(value(not.operand()));
            case Expression.And and -> {
                final Object left = value(and.left());
                yield Values.truth(left) ? value(and.right()) : left;
            }
            case Expression.Or or -> {
                final Object left = value(or.left());
                yield Values.truth(left) ? left : value(or.right());
            }
            case Expression.Binary binary -> binary(binary);
            case Expression.Comparison comparison -> comparison(comparison);
            case Expression.Conditional conditional -> Values.truth(value(conditional.condition()))
                    ? value(conditional.then())
                    : conditional.otherwise().isPresent()
                            ? value(conditional.otherwise().get()) : new Undefined("the missing else");
        };
    }

    private List<Object> values(final List<Expression> expressions) {
        final List<Object> values = new ArrayList<>(expressions.size());
        expressions.forEach(expression -> values.add(value(expression)));
        return values;
    }

    private Map<Object, Object> dict(final Expression.DictOf dict) {
        final Map<Object, Object> map = new LinkedHashMap<>();
        for (int i = 0; i < dict.keys().size(); i++) {
            final Object key = value(dict.keys().get(i));
            if (!Values.isKey(key)) {
                throw new Fault("a dict key must be a string or a number, not " + Values.typeName(key));
            }
            map.put(key, value(dict.values().get(i)));
        }
        return map;
    }

    // A dict's methods hide its entries after a dot, its entries come first in brackets, as in Python and Jinja.
    private Object attribute(final Object object, final String name) {
        return switch (object) {
            case Undefined undefined -> throw undefined.fault();
            case Namespace space -> space.attributes().getOrDefault(name, new Undefined(name));
            case null, default -> {
                final Optional<Function> method = Methods.find(object, name, budget);
                yield method.isPresent() ? method.get() : Values.index(object, name);
            }
        };
    }

    private Object indexed(final Object object, final Object index) {
        if (object instanceof Namespace) {
            return attribute(object, Values.string(index));
        }
        final Object found = Values.index(object, index);
        return found instanceof Undefined && index instanceof String name
                ? Methods.find(object, name, budget).map(method -> (Object) method).orElse(found) : found;
    }

    private Optional<Long> bound(final Optional<Expression> expression) {
        return expression.map(this::value).map(Values::whole);
    }

    private Object call(final Expression.Call call, final Optional<Function> caller) {
        final Object callee = value(call.callee());
        if (callee instanceof Undefined undefined) {
            throw undefined.fault();
        }
        if (!(callee instanceof Function function)) {
            throw new Fault(Values.typeName(callee) + " cannot be called");
        }
        final Arguments arguments = arguments(call.arguments());
        if (caller.isEmpty()) {
            return function.call(arguments.positional(), arguments.named());
        }
        final Map<String, Object> named = new LinkedHashMap<>(arguments.named());
        named.put("caller", caller.get());
        return function.call(arguments.positional(), named);
    }

    private Arguments arguments(final Expression.Arguments arguments) {
        if (arguments == Expression.Arguments.NONE) {
            return Arguments.NONE;
        }
        final Map<String, Object> named = new LinkedHashMap<>();
        final List<Object> positional = values(arguments.positional());
        arguments.named().forEach((name, expression) -> named.put(name, value(expression)));
        return new Arguments(positional, named);
    }

    private Object binary(final Expression.Binary binary) {
        final Object left = value(binary.left());
        final Object right = value(binary.right());
        if (!binary.operator().equals("~")) {
            return Values.arithmetic(binary.operator(), left, right, budget);
        }
        final String a = Values.text(left, budget);
        final String b = Values.text(right, budget);
        budget.charge(a.length() + b.length());
        return a + b;
    }

    private boolean comparison(final Expression.Comparison comparison) {
        Object left = value(comparison.operands().getFirst());
        for (int i = 0; i < comparison.operators().size(); i++) {
            final Object right = value(comparison.operands().get(i + 1));
            final boolean holds = switch (comparison.operators().get(i)) {
                case "==" -> Values.equal(left, right, budget);
                case "!=" -> !Values.equal(left, right, budget);
                case "in" -> Values.contains(right, left, budget);
                case "not in" -> !Values.contains(right, left, budget);
                case "<" -> Values.compare(left, right) < 0;
                case "<=" -> Values.compare(left, right) <= 0;
                case ">" -> Values.compare(left, right) > 0;
                default -> Values.compare(left, right) >= 0;
            };
            if (!holds) {
                return false;
            }
            left = right;
        }
        return true;
    }
}
