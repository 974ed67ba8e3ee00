#!/usr/bin/env bash
# Gathers in one folder what check.sh needs on a machine that has a GPU but no JDK, no compiler and no network: a small
# Java, our jars and tests, our libraries and llama.cpp's with the CUDA backend, its two measuring
# programs and ours.
#
#   EQUIPOISE_CUDA_ARCHS=90 EQUIPOISE_CPU_VARIANT=haswell bench/device/pack.sh FOLDER
#
# The variables of native/llama/build.sh apply; name that machine's card and, unless it is like this one, its CPU.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
source "$root/native/common.sh"
(($# == 1)) || fail 2 "one folder" "${*:-nothing}" "usage: bench/device/pack.sh FOLDER"
[[ -n ${JAVA_HOME:-} && -x $JAVA_HOME/bin/jlink ]] || fail 4 "no JDK" "${JAVA_HOME:-JAVA_HOME}" "set JAVA_HOME to a JDK 25"
need mvn strip
export EQUIPOISE_CUDA=1
mkdir -p "$1"
pack="$(cd "$1" && pwd)"
rm -rf "$pack"/{native,lib,tests,jdk}
mkdir -p "$pack"/{native,lib,tests}

llama="$("$root/native/build.sh" --tests)"
"$root/native/build.sh" --bench >/dev/null
"$root/native/llama/build.sh" mtmd llama-bench llama-batched-bench >/dev/null
cp -P "$llama"/build/bin/*.so* "$llama"/build/bin/llama-{bench,batched-bench} "$root"/native/build/lib/* "$pack/native/"
find "$root/native/build/release" -type f -perm -u+x \( -name 'kernels_*' -o -name equipoise-step \) -exec cp {} "$pack/native/" \;
strip "$pack"/native/* 2>/dev/null || true

mvn --batch-mode --quiet -f "$root/pom.xml" -DskipTests package dependency:copy-dependencies -DincludeScope=test \
    "-DoutputDirectory=$pack/lib"
mvn --batch-mode --quiet -f "$root/bench/device/console.xml" dependency:copy-dependencies "-DoutputDirectory=$pack/lib"
cp "$root"/bench/target/equipoise-bench-*[!s].jar "$pack/lib/"
rm -f "$pack"/lib/llama-*.jar # the JNI peer brings its own llama.cpp, for the CPU
for module in kernels runtime steering decoding bench; do
    cp -r "$root/$module/target/test-classes" "$pack/tests/$module"
done
"$JAVA_HOME/bin/jlink" --add-modules java.se,jdk.unsupported,jdk.management,jdk.zipfs,jdk.localedata --include-locales en \
    --strip-debug --no-header-files --no-man-pages --output "$pack/jdk"
git -C "$root" describe --always --dirty --abbrev=12 >"$pack/commit"
