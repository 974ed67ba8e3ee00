package dev.equipoise.bench.speed;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;

/** Stand-ins for llama.cpp's programs that print what they were asked for, with a time that is known. */
final class FakePrograms {
    static final double ONE_MILLIS = 0.5;
    static final double SEVERAL_MILLIS = 0.75;

    private static final String OPTIONS = """
            #!/usr/bin/env bash
            while (($#)); do
                case "$1" in
                    -n|-ntg) n=${2%,*} ;;
                    -d|-npp) d=$2 ;;
                    -npl) pl=$2 ;;
                    -pps) shared=1 ;;
                    -t) t=$2 ;;
                    -ngl) ngl=$2 ;;
                    -ctk) k=$2 ;;
                    -ctv) v=$2 ;;
                    -fa) [[ $2 == on ]] && fa=1 || fa=0 ;;
                esac
                shift
            done
            """;

    private FakePrograms() {}

    static void write(final Path folder) {
        script(folder.resolve(BareLlama.ONE), """
                printf '[{"n_gen":%d,"n_depth":%d,"n_threads":%d,"n_gpu_layers":%d,"flash_attn":%d,"type_k":"%s",\
                "type_v":"%s","samples_ns":[%d]}]' $n $d $t $ngl $fa $k $v $((n * 500000))
                """);
        script(folder.resolve(BareLlama.SEVERAL), """
                printf '\\n{"tg":%d,"pp":%d,"pl":%d,"is_pp_shared":%d,"n_threads":%d,"n_gpu_layers":%d,"flash_attn":%d,\
                "t_tg":0.%06d}\\n' $n $d $pl ${shared:-0} $t $ngl $fa $((n * 750))
                """);
    }

    private static void script(final Path file, final String body) {
        try {
            Files.writeString(file, OPTIONS + body);
            Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
        } catch (final IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
