package dev.equipoise.bench.speed;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.junit.jupiter.api.Test;

class MachineTest {
    @Test
    void readsTheTablesOfLinux() {
        final List<String> lines = List.of("processor\t: 0", "model name\t: Some CPU: 3 GHz", "model name\t: another");
        assertEquals("Some CPU: 3 GHz", Machine.value(lines, "model name"));
        assertEquals("24 kB", Machine.value(List.of("MemTotal:       24 kB"), "MemTotal"));
        assertEquals("", Machine.value(lines, "absent"));
    }
}
