#!/usr/bin/env bash
# Builds the native libraries of Equipoise into native/build/lib, over a llama.cpp built in the user's cache.
#
#   native/build.sh               the libraries
#   native/build.sh --tests       the programs of ctest too, in native/build/release
#   native/build.sh --bench       native/build/release/bench/equipoise-step too, which times a step beside llama.cpp's
#   native/build.sh --sanitized   libraries and programs with address and undefined-behaviour sanitizers, all of it in
#                                 native/build/sanitized
#   native/build.sh --emulated    libraries and programs whose graphs launch the CUDA kernels' bodies on the host, all
#                                 of it in native/build/emulated
#
# Prints the folder of the llama.cpp it was built over.
# The variables of native/llama/build.sh apply. A second run with nothing changed compiles nothing.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/common.sh"

build="$here/build/release" targets=(all) options=(-DCMAKE_BUILD_TYPE=RelWithDebInfo)
case "${1:-}" in
    "") ;;
    --tests) targets+=(native-tests) ;;
    --bench) targets+=(equipoise-step) ;;
    --sanitized)
        build="$here/build/sanitized" targets+=(native-tests)
        options=(-DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG=-O1 -DEQUIPOISE_SANITIZE=ON)
        ;;
    --emulated)
        build="$here/build/emulated" targets+=(native-tests)
        options+=(-DEQUIPOISE_EMULATED_DEVICE=ON)
        ;;
    *) fail 2 "unknown option" "$1" "usage: native/build.sh [--tests|--bench|--sanitized|--emulated]" ;;
esac

llama="$("$here/llama/build.sh" mtmd)"
need cmake g++
options+=("-DEQUIPOISE_LLAMA_SOURCE_DIR=$llama/src" "-DEQUIPOISE_LLAMA_BUILD_DIR=$llama/build" "-DEQUIPOISE_CPU_VARIANT=$(<"$llama/variant")")

configure() {
    local generator=()
    [[ ! -f $build/CMakeCache.txt ]] && command -v ninja >/dev/null && generator=(-G Ninja)
    cmake -S "$here" -B "$build" "${generator[@]}" "${options[@]}"
}

# Two starts of one clone must not compile into the same folder at once.
mkdir -p "$build"
exec 9>"$build.lock"
flock 9
if [[ "$(cat "$build/options" 2>/dev/null)" != "${options[*]}" ]]; then
    logged "configuring the native libraries" "$build/configure.log" configure || exit 1
    printf '%s' "${options[*]}" >"$build/options"
fi
logged "building the native libraries" "$build/build.log" cmake --build "$build" --parallel "$(jobs_allowed)" --target "${targets[@]}" || exit 1
echo "$llama"
