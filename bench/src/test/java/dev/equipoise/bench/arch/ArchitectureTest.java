package dev.equipoise.bench.arch;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.dependencies.SlicesRuleDefinition.slices;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaClasses;
import com.tngtech.archunit.core.domain.JavaCodeUnit;
import com.tngtech.archunit.core.domain.JavaField;
import com.tngtech.archunit.core.domain.JavaMember;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.importer.ClassFileImporter;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.lang.ArchCondition;
import com.tngtech.archunit.lang.ConditionEvents;
import com.tngtech.archunit.lang.SimpleConditionEvent;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.module.ModuleDescriptor;
import java.net.URL;
import java.util.Collections;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The house rules that a compiler does not see: which way the arrows go and where pointers end. */
class ArchitectureTest {
    /** From the bottom up; a room may use those before it. */
    private static final List<String> ROOMS = List.of("kernels", "runtime", "steering", "decoding", "bench");

    private static JavaClasses ours;

    @BeforeAll
    static void importClasses() {
        final ImportOption noTestJars = location -> !location.contains("-tests.jar");
        ours = new ClassFileImporter()
                .withImportOption(ImportOption.Predefined.DO_NOT_INCLUDE_TESTS)
                .withImportOption(noTestJars)
                .importPackages("dev.equipoise");
    }

    @Test
    void everyRoomIsSeen() {
        final List<String> modules = moduleDescriptors().map(ModuleDescriptor::name).sorted().toList();
        assertEquals(ROOMS.stream().map(room -> "dev.equipoise." + room).sorted().toList(), modules);
        assertFalse(ours.isEmpty());
    }

    @Test
    void arrowsPointDown() {
        for (int room = 0; room < ROOMS.size(); room++) {
            final String[] above = ROOMS.subList(room + 1, ROOMS.size()).stream()
                    .map(ArchitectureTest::packageOf)
                    .toArray(String[]::new);
            noClasses().that().resideInAPackage(packageOf(ROOMS.get(room)))
                    .should().dependOnClassesThat().resideInAnyPackage(above)
                    .allowEmptyShould(true)
                    .check(ours);
        }
    }

    @Test
    void onlyFfmPackagesTouchForeignMemory() {
        noClasses().that().resideOutsideOfPackage("..ffm..")
                .should().dependOnClassesThat().resideInAnyPackage("java.lang.foreign..", "sun..", "jdk.internal..")
                .check(ours);
    }

    @Test
    void noPublicSignatureMentionsTheBindings() {
        classes().that().resideOutsideOfPackage("..ffm..").and().arePublic()
                .should(new KeepBindingsInside())
                .check(ours);
    }

    @Test
    void bindingsAreExportedToNamedModulesOnly() {
        moduleDescriptors()
                .flatMap(module -> module.exports().stream())
                .filter(export -> export.source().endsWith(".ffm"))
                .forEach(export ->
                        assertFalse(export.targets().isEmpty(), export.source() + " is exported to everyone"));
    }

    // By room: inside one, an API package and the package that carries it out know each other.
    @Test
    void roomsFormNoCycles() {
        slices().matching("dev.equipoise.(*)..").should().beFreeOfCycles().check(ours);
    }

    private static String packageOf(final String room) {
        return "dev.equipoise." + room + "..";
    }

    private static Stream<ModuleDescriptor> moduleDescriptors() {
        try {
            return Collections.list(ArchitectureTest.class.getClassLoader().getResources("module-info.class")).stream()
                    .map(ArchitectureTest::read)
                    .filter(module -> module.name().startsWith("dev.equipoise."));
        } catch (final IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static ModuleDescriptor read(final URL url) {
        try (InputStream in = url.openStream()) {
            return ModuleDescriptor.read(in);
        } catch (final IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Public and protected members say nothing of {@code *.ffm} types: a caller could not close or check them. */
    private static final class KeepBindingsInside extends ArchCondition<JavaClass> {
        KeepBindingsInside() {
            super("not mention *.ffm types in public or protected members");
        }

        @Override
        public void check(final JavaClass type, final ConditionEvents events) {
            for (final JavaMember member : type.getMembers()) {
                if (member.getModifiers().contains(JavaModifier.PUBLIC)
                        || member.getModifiers().contains(JavaModifier.PROTECTED)) {
                    types(member)
                            .filter(used -> used.getPackageName().contains(".ffm"))
                            .forEach(used -> events.add(SimpleConditionEvent.violated(
                                    member, member.getFullName() + " mentions " + used.getName())));
                }
            }
        }

        private static Stream<JavaClass> types(final JavaMember member) {
            return switch (member) {
                case JavaField field -> Stream.of(field.getRawType());
                case JavaCodeUnit unit -> Stream.concat(
                        Stream.of(unit.getRawReturnType()), unit.getRawParameterTypes().stream());
                default -> Stream.empty();
            };
        }
    }
}
