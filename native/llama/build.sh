#!/usr/bin/env bash
# Gets the pinned llama.cpp, patches it and builds it in the user's cache; prints the folder, which then holds
#   src/      the patched source
#   build/    its CMake build, libraries in build/bin
#   variant   the name of the CPU variant that was built ("all" for the packaging build)
#
#   native/llama/build.sh [TARGET...]     targets of llama.cpp, default mtmd (ggml, llama and libmtmd);
#                                         llama-bench and llama-batched-bench are the useful others
#   native/llama/build.sh --unpack DIR    only the patched source, into DIR
#
#   EQUIPOISE_LLAMA_SOURCE=DIR    use this checkout of the same version instead of the npm package; it is copied, not touched
#   EQUIPOISE_LLAMA_DEVELOP=1     build the tree that native/llama/patch.sh opened, incrementally
#   EQUIPOISE_CPU_VARIANT=NAME    this CPU variant instead of this machine's: what is built for one other machine
#   EQUIPOISE_ALL_VARIANTS=1      every CPU variant, chosen at load: what is packaged for other machines
#   EQUIPOISE_CUDA=1              the CUDA backend too, for EQUIPOISE_CUDA_ARCHS (default: the card of this machine)
#   EQUIPOISE_JOBS=N              parallel compile jobs
#
# The folder is keyed by source, patch, flags and compiler. A finished target leaves a mark, so a second call, from any
# clone, builds nothing; an interrupted one goes on where it stopped; two at once take turns.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
source "$here/../common.sh"
source "$here/pin"
patch="$here/equipoise.patch"

# The variants ggml knows for x86 (ggml/src/CMakeLists.txt), worst first, with the features each one needs; the last
# one this machine satisfies is built. /proc/cpuinfo lists a feature only if the operating system enabled it.
x86_variants="
x64
sse42 SSE42
sandybridge SSE42 AVX
ivybridge SSE42 AVX F16C
piledriver SSE42 AVX F16C FMA
haswell SSE42 AVX F16C FMA AVX2 BMI2
alderlake SSE42 AVX F16C FMA AVX2 BMI2 AVX_VNNI
skylakex SSE42 AVX F16C FMA AVX2 BMI2 AVX512
cannonlake SSE42 AVX F16C FMA AVX2 BMI2 AVX512 AVX512_VBMI
cascadelake SSE42 AVX F16C FMA AVX2 BMI2 AVX512 AVX512_VNNI
icelake SSE42 AVX F16C FMA AVX2 BMI2 AVX512 AVX512_VBMI AVX512_VNNI
cooperlake SSE42 AVX F16C FMA AVX2 BMI2 AVX512 AVX512_VNNI AVX512_BF16
zen4 SSE42 AVX F16C FMA AVX2 BMI2 AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16
sapphirerapids SSE42 AVX F16C FMA AVX2 BMI2 AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16 AMX_TILE AMX_INT8"
x86_features="SSE42 AVX F16C FMA AVX2 BMI2 AVX_VNNI AVX512 AVX512_VBMI AVX512_VNNI AVX512_BF16 AMX_TILE AMX_INT8 AMX_BF16"

# cpuinfo_names FEATURE: the words of /proc/cpuinfo that together make one of ggml's features.
cpuinfo_names() {
    case "$1" in
        SSE42) echo sse4_2 ;;
        AVX512) echo avx512f avx512cd avx512vl avx512dq avx512bw ;;
        AVX512_VBMI) echo avx512vbmi ;;
        *) local name="${1,,}"; echo "$name" ;;
    esac
}

# Sets `variant` and `cpu_flags`.
choose_cpu_variant() {
    local words name features feature word wanted="${EQUIPOISE_CPU_VARIANT:-}"
    words=" $(grep -m1 -iE '^(flags|features)' /proc/cpuinfo | cut -d: -f2-) "
    cpu_flags=(-DGGML_NATIVE=OFF)
    if [[ ${EQUIPOISE_ALL_VARIANTS:-0} == 1 ]]; then
        variant=all
        cpu_flags+=(-DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON)
        return
    fi
    case "$(uname -m)" in
        x86_64)
            local chosen=""
            variant=x64
            [[ -n $wanted ]] && variant=""
            while read -r name features; do
                [[ -n $name ]] || continue
                if [[ -n $wanted ]]; then
                    [[ $name == "$wanted" ]] || continue
                else
                    for feature in $features; do
                        for word in $(cpuinfo_names "$feature"); do
                            [[ $words == *" $word "* ]] || continue 3
                        done
                    done
                fi
                variant=$name chosen=" $features "
            done <<<"$x86_variants"
            [[ -n $variant ]] ||
                fail 2 "EQUIPOISE_CPU_VARIANT is no variant of x86-64" "$wanted" "one of $(cut -d' ' -f1 <<<"$x86_variants" | paste -sd' ')"
            for feature in $x86_features; do
                [[ $chosen == *" $feature "* ]] && cpu_flags+=("-DGGML_$feature=ON") || cpu_flags+=("-DGGML_$feature=OFF")
            done
            ;;
        aarch64)
            variant=armv8-a
            [[ $words == *" asimddp "* ]] && variant=armv8.2-a+dotprod
            [[ $words == *" asimddp "* && $words == *" asimdhp "* ]] && variant+=+fp16
            [[ $words == *" asimddp "* && $words == *" sve "* ]] && variant+=+sve
            [[ $words == *" asimddp "* && $words == *" i8mm "* ]] && variant+=+i8mm
            [[ $words == *" sve2 "* ]] && variant+=+sve2
            cpu_flags+=("-DGGML_CPU_ARM_ARCH=$variant")
            ;;
        *)
            variant=baseline
            ;;
    esac
}

# Sets `cuda_flags`; empty without EQUIPOISE_CUDA=1.
choose_cuda() {
    cuda_flags=()
    [[ ${EQUIPOISE_CUDA:-0} == 1 ]] || return 0
    local nvcc archs="${EQUIPOISE_CUDA_ARCHS:-}"
    nvcc="${CUDACXX:-$(command -v nvcc || true)}"
    [[ -n $nvcc ]] || fail 4 "EQUIPOISE_CUDA=1 needs the CUDA compiler" nvcc "put nvcc on PATH or set CUDACXX"
    if [[ -z $archs ]] && command -v nvidia-smi >/dev/null; then
        archs="$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | tr -d . | sort -u | paste -sd';')" || archs=""
    fi
    [[ -n $archs ]] || fail 4 "EQUIPOISE_CUDA=1 finds no card to build for" nvidia-smi "set EQUIPOISE_CUDA_ARCHS, for example 90"
    cuda_flags=(-DGGML_CUDA=ON "-DCMAKE_CUDA_COMPILER=$nvcc" "-DCMAKE_CUDA_ARCHITECTURES=$archs")
}

# fingerprint_of DIR: names, sizes and times of a checkout's files; enough to notice a change without reading them.
fingerprint_of() {
    (cd "$1" && find . -name .git -prune -o -type f -printf '%P %s %T@\n' | LC_ALL=C sort | sha256sum | cut -c1-64)
}

check_version() {
    local file="$1/CMakeLists.txt" found
    [[ -f $file && -f $1/ggml/CMakeLists.txt ]] || fail 3 "not a llama.cpp checkout" "$1" "give one of v$llama_version"
    found="$(sed -nE 's/^set\((LLAMA|GGML)_VERSION_(MAJOR|MINOR|PATCH) +([0-9]+)\)$/\3/p' "$file" "$1/ggml/CMakeLists.txt" | paste -sd.)"
    [[ $found == "$llama_version.$ggml_version" ]] ||
        fail 3 "llama.cpp of another version (llama.cpp and ggml: $found)" "$1" "give a checkout of v$llama_version with ggml $ggml_version"
}

sha512_of() {
    sha512sum "$1" | cut -d' ' -f1
}

# Downloads the package into the cache unless it is there, and leaves it there only if its hash is right.
fetch_package() {
    local file="$cache_root/download/$package_name-$package_version.tgz" expected scratch
    expected="$(base64 -d <<<"$package_sha512" | od -An -v -tx1 | tr -d ' \n')"
    package="$file"
    [[ -f $file && "$(sha512_of "$file")" == "$expected" ]] && return
    need npm
    mkdir -p "$cache_root/download"
    scratch="$(mktemp -d "$cache_root/download/partial.XXXXXX")"
    say "getting llama.cpp v$llama_version (npm package $package_name@$package_version, 36 MB)"
    (cd "$scratch" && npm pack --silent "$package_name@$package_version" >npm.out 2>npm.log </dev/null) || {
        tail -n 3 "$scratch/npm.log" >&2
        rm -rf "$scratch"
        fail 4 "npm pack failed" "$package_name@$package_version" "check the network and npm's registry setting, or set EQUIPOISE_LLAMA_SOURCE to a checkout of llama.cpp v$llama_version"
    }
    if [[ "$(sha512_of "$scratch"/*.tgz)" != "$expected" ]]; then
        rm -rf "$scratch"
        fail 4 "the npm package is not the pinned one (sha512 differs)" "$package_name@$package_version" "check npm's registry setting, or set EQUIPOISE_LLAMA_SOURCE to a checkout of llama.cpp v$llama_version"
    fi
    mv -f "$scratch"/*.tgz "$file"
    rm -rf "$scratch"
}

# unpack DIR: the patched source as a git work tree whose base commit is the unpatched one; whole or not there at all.
unpack() {
    local scratch
    mkdir -p "$(dirname "$1")"
    rm -rf "$1".partial.*
    scratch="$(mktemp -d "$1.partial.XXXXXX")"
    if [[ -n ${EQUIPOISE_LLAMA_SOURCE:-} ]]; then
        mkdir "$scratch/src"
        (cd "$EQUIPOISE_LLAMA_SOURCE" && tar -c --exclude=.git --exclude='./build*' .) | tar -x -C "$scratch/src"
        git -C "$scratch/src" init --quiet
        git -C "$scratch/src" add --all --force
        git -C "$scratch/src" -c user.name=equipoise -c user.email=equipoise@localhost -c commit.gpgsign=false \
            commit --quiet --no-verify --message "llama.cpp v$llama_version"
    else
        fetch_package
        tar -xzf "$package" -C "$scratch" package/llama/gitRelease.bundle
        git -c advice.detachedHead=false clone --quiet "$scratch/package/llama/gitRelease.bundle" "$scratch/src"
    fi
    check_version "$scratch/src"
    if [[ -s $patch ]]; then
        git -C "$scratch/src" apply --whitespace=nowarn "$patch" ||
            fail 1 "the patch does not apply" "$patch" "regenerate it against llama.cpp v$llama_version (CONTRIBUTING.md)"
    fi
    mv "$scratch/src" "$1"
    rm -rf "$scratch"
}

configure() {
    local generator=()
    [[ ! -f $dir/build/CMakeCache.txt ]] && command -v ninja >/dev/null && generator=(-G Ninja)
    cmake -S "$dir/src" -B "$dir/build" "${generator[@]}" "${flags[@]}"
}

build() {
    cmake --build "$dir/build" --parallel "$(jobs_allowed)" --target "${targets[@]}"
}

all_marked() {
    local target
    for target in "${targets[@]}"; do
        [[ -e $dir/done.$target ]] || return 1
    done
}

if [[ -n ${EQUIPOISE_LLAMA_SOURCE:-} ]]; then
    [[ -d $EQUIPOISE_LLAMA_SOURCE ]] || fail 3 "EQUIPOISE_LLAMA_SOURCE is not a folder" "$EQUIPOISE_LLAMA_SOURCE" "name a checkout of llama.cpp v$llama_version"
    check_version "$EQUIPOISE_LLAMA_SOURCE"
    source_id="$(fingerprint_of "$EQUIPOISE_LLAMA_SOURCE")"
else
    source_id="$package_sha512"
fi
if [[ ${1:-} == --unpack ]]; then
    need git
    unpack "$2"
    exit
fi

targets=("${@:-mtmd}")
choose_cpu_variant
choose_cuda
flags=(
    -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON
    # Said here because the source may lie in somebody's repository, whose commit it would report.
    -DLLAMA_BUILD_IS_DEV=OFF -DLLAMA_BUILD_NUMBER=0 "-DLLAMA_BUILD_COMMIT=v$llama_version"
    # The libraries and two bench programs: no server, no network, no child processes.
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_SERVER=OFF -DLLAMA_BUILD_APP=OFF
    -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF -DLLAMA_SUBPROCESS=OFF -DMTMD_VIDEO=OFF
    "${cpu_flags[@]}" "${cuda_flags[@]}"
)

if [[ ${EQUIPOISE_LLAMA_DEVELOP:-0} == 1 ]]; then
    dir="$(cd "$here/.." && pwd)/build/llama"
    [[ -d $dir/src ]] || fail 2 "EQUIPOISE_LLAMA_DEVELOP=1 without an opened tree" "$dir/src" "run native/llama/patch.sh open"
    need cmake g++ git
    [[ -f $dir/build/CMakeCache.txt ]] || logged "configuring llama.cpp" "$dir/configure.log" configure || exit 1
    logged "building llama.cpp ($variant, develop)" "$dir/build.log" build || exit 1
    echo "$variant" >"$dir/variant"
    echo "$dir"
    exit
fi

patch_id=none
[[ -s $patch ]] && patch_id="$(sha256sum "$patch" | cut -c1-64)"
compiler_id="$(g++ -dumpfullversion -dumpmachine 2>/dev/null | paste -sd' ' || true)"
key="$(printf '%s\n' "$source_id" "$patch_id" "${flags[*]}" "$compiler_id" | sha256sum | cut -c1-16)"
dir="$cache_root/llama-$llama_version-$key"

if all_marked; then
    echo "$dir"
    exit
fi
need cmake g++ git flock
mkdir -p "$dir"
exec 9>"$dir/lock"
if ! flock --nonblock 9; then
    say "another build of llama.cpp is under way in $dir, waiting for it"
    flock 9
fi
if ! all_marked; then
    if [[ ! -d $dir/src ]]; then
        unpack "$dir/src"
    fi
    logged "configuring llama.cpp v$llama_version" "$dir/configure.log" configure || exit 1
    logged "building llama.cpp v$llama_version for $variant (once, a few minutes)" "$dir/build.log" build || exit 1
    echo "$variant" >"$dir/variant"
    for target in "${targets[@]}"; do
        touch "$dir/done.$target"
    done
fi
echo "$dir"
