#!/usr/bin/env bash
# What pack.sh gathered, run on a machine with a GPU: the kernels' tests, the Java tests with all blocks of every model on
# the GPU, and the measurements against llama.cpp there. Run it in a checkout of the same commit.
#
#   bench/device/check.sh PACK OUT PART...
#
# Parts: machine, kernels, tests, step (one process), bare (plain and two branches against llama.cpp), inside
# (interventions), workloads. GGML_CUDA_DISABLE_GRAPHS=1 measures without CUDA graphs, SHAPE another synthetic model.
# Each leaves its log in OUT, the measurements their JSON too; a part that fails does not stop the next.
set -uo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
pack="$(cd "$1" && pwd)" out="$(mkdir -p "$2" && cd "$2" && pwd)"
shift 2
# CUDA's own libraries are wherever the machine has them.
cublas="$(find / -name 'libcublas.so.13' -not -path '/proc/*' -print -quit 2>/dev/null)"
export LD_LIBRARY_PATH="$pack/native:${cublas:+$(dirname "$cublas")}:${LD_LIBRARY_PATH:-}"
export EQUIPOISE_NATIVE_DIR="$pack/native" XDG_CACHE_HOME="${XDG_CACHE_HOME:-/tmp/equipoise-device}" LC_ALL=C.UTF-8
java=("$pack/jdk/bin/java" --enable-native-access=ALL-UNNAMED -XX:+UseSerialGC "-Dequipoise.commit=$(<"$pack/commit")")
weights="/tmp/equipoise-device-${SHAPE:=0.35b}.gguf"
ROUNDS="${ROUNDS:-21}"
layers=999 # more than any model has, so the output matrix too

main() {
    "${java[@]}" -cp "$pack/lib/*" dev.equipoise.bench.cli.Main "$@"
}

part_machine() {
    nvidia-smi
    grep -m1 'model name' /proc/cpuinfo
    echo "cublas: $cublas"
    main doctor
}

part_kernels() {
    local test failed=0
    for test in "$pack"/native/kernels_{cuda,blocks,columns,mask,attention_blocks,exits}; do
        echo "== $(basename "$test")"
        "$test" || failed=$?
    done
    return "$failed"
}

# A JVM for each class, so that one that dies takes no other along. Classes that never load a model onto a device, or load
# broken ones on purpose, are left out.
part_tests() {
    local room list="$out/classes"
    for room in kernels runtime decoding steering bench; do
        (cd "$pack/tests/$room" && find . -name '*Test.class' ! -name '*$*' -printf '%P\n') |
            sed "s|/|.|g; s|\.class$||; s|^|$room |"
    done | grep -E "${TESTS:-.}" | grep -vE 'Fuzz|Launcher|Speed|Workload|Jmh|jmh|Architecture(Test)?$' >"$list"
    rm -f "$out/failed-classes"
    export -f one_class
    export root pack out layers java_line="${java[*]}"
    xargs -P "${JOBS:-8}" -L 1 bash -c 'one_class "$@"' _ <"$list"
    ! grep -q . "$out/failed-classes" 2>/dev/null
}

# one_class ROOM CLASS: a line about it, the whole of it in OUT/tests.
one_class() {
    local log="$out/tests/$2.log" status=0
    mkdir -p "$out/tests"
    # Many at once: none may spin on cores that the others want.
    # shellcheck disable=SC2086  # options are words
    (cd "$root/$1" && exec env OMP_WAIT_POLICY=passive timeout 150 $java_line -XX:ActiveProcessorCount=2 \
        "-XX:ErrorFile=$out/tests/$2.crash" "-Dequipoise.test.gpuLayers=$layers" "-Dequipoise.native.dir=$pack/native" -cp "$pack/tests/$1:$pack/lib/*" \
        org.junit.platform.console.ConsoleLauncher execute --disable-banner --details=tree --disable-ansi-colors \
        "--select-class=$2") >"$log" 2>&1 || status=$?
    printf '%3d  %4s passed %3s failed  %s\n' "$status" "$(sed -nE 's/^\[ *([0-9]+) tests successful.*/\1/p' "$log")" \
        "$(sed -nE 's/^\[ *([0-9]+) tests failed.*/\1/p' "$log")" "$2"
    ((status == 0)) || echo "$2" >>"$out/failed-classes"
}

synth() {
    [[ -e $weights ]] || main synth --shape "$SHAPE" --quant q4_0 --out "$weights"
}

# Native steps by bare ones in one process, of one branch and of two.
part_step() {
    local branches
    synth
    for branches in 1 2; do
        "$pack/native/equipoise-step" "$weights" --gpu-layers "$layers" --threads 2 --tokens 64 --branches "$branches" |
            tee "$out/step-$SHAPE-$branches${GGML_CUDA_DISABLE_GRAPHS:+-no-graphs}.json"
    done
}

part_bare() {
    synth
    main bench --model "$weights" --against-llama-bench --llama-bin "$pack/native" --gpu-layers "$layers" --threads 2 \
        --rounds "$ROUNDS" --out "$out/bare-$SHAPE${GGML_CUDA_DISABLE_GRAPHS:+-no-graphs}.json"
}

part_inside() {
    synth
    local files="/tmp/equipoise-device-strategies"
    mkdir -p "$files"
    printf '{"positive": {"prompt": "w%d w%d w%d"}, "negative": {"prompt": "w%d w%d w%d"}}\n' {10..33} >"$files/pairs.jsonl"
    main steer extract --model "$weights" --gpu-layers "$layers" --pairs "$files/pairs.jsonl" --method mean --layers all --out "$files/v.gguf"
    echo '{"steer": [{"vector": "v.gguf", "scale": 0.02}]}' >"$files/steer.json"
    echo '{"attention": [{"edit": "multiply", "span": "context", "factor": 1.5}]}' >"$files/multiply.json"
    main bench --model "$weights" --gpu-layers "$layers" --threads 2 --rounds "$ROUNDS" --tokens 64 \
        --strategies "$files/steer.json,$files/multiply.json,fmd-note" --out "$out/inside-$SHAPE${GGML_CUDA_DISABLE_GRAPHS:+-no-graphs}.json"
}

part_workloads() {
    synth
    main bench --model "$weights" --workloads --llama-bin "$pack/native" --gpu-layers "$layers" --threads 2 \
        --rounds "$ROUNDS" --out "$out/workloads-$SHAPE${GGML_CUDA_DISABLE_GRAPHS:+-no-graphs}.json"
}

for part in "$@"; do
    began=$SECONDS status=0
    "part_$part" >"$out/$part.log" 2>&1 || status=$?
    tail -n "${TAIL:-25}" "$out/$part.log"
    echo "---- $part ended with $status after $((SECONDS - began)) s"
done
