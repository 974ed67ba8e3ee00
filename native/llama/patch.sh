#!/usr/bin/env bash
# Work on the patch that native/llama/equipoise.patch carries.
#
#   native/llama/patch.sh open     a git work tree of the pinned llama.cpp, patched, in native/build/llama/src
#   native/llama/patch.sh save     writes the difference of that tree back into native/llama/equipoise.patch
#
# Between the two, EQUIPOISE_LLAMA_DEVELOP=1 native/build.sh builds that tree incrementally.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
tree="$(cd "$here/.." && pwd)/build/llama/src"

case "${1:-}" in
    open)
        source "$here/../common.sh"
        [[ ! -d $tree ]] || fail 2 "a tree is open already" "$tree" "save it and remove the folder first"
        mkdir -p "$(dirname "$tree")"
        "$here/build.sh" --unpack "$tree"
        ;;
    save)
        source "$here/../common.sh"
        [[ -d $tree ]] || fail 2 "no tree is open" "$tree" "run native/llama/patch.sh open"
        # New files count; the file must be the same whatever git's settings, for its hash decides what is rebuilt.
        git -C "$tree" add --intent-to-add --all
        git -C "$tree" -c core.abbrev=7 -c diff.algorithm=myers -c diff.noprefix=false -c diff.mnemonicPrefix=false \
            diff --no-color --no-ext-diff --unified=3 >"$here/equipoise.patch.new"
        mv "$here/equipoise.patch.new" "$here/equipoise.patch"
        say "wrote native/llama/equipoise.patch ($(grep -c '^+\([^+]\|$\)' "$here/equipoise.patch" || true) added lines)"
        ;;
    *)
        echo "usage: native/llama/patch.sh open|save" >&2
        exit 2
        ;;
esac
