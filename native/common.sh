# Shared by the launcher and the native build (sourced): messages, tools, logged commands, the cache.
# Everything said here goes to standard error; standard output belongs to the command that runs.

cache_root="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/equipoise"

say() {
    printf 'equipoise: %s\n' "$*" >&2
}

# fail CODE WHAT WHERE REMEDY: one line, then the exit codes of the command line (1 bug, 2 usage, 3 input, 4 unavailable).
fail() {
    printf 'equipoise: %s: %s: %s\n' "$2" "$3" "$4" >&2
    exit "$1"
}

jobs_allowed() {
    local jobs="${EQUIPOISE_JOBS:-$(nproc 2>/dev/null || echo 2)}"
    [[ $jobs =~ ^[1-9][0-9]*$ ]] || fail 2 "EQUIPOISE_JOBS is not a positive number" "$jobs" "set it to the number of parallel compile jobs"
    echo "$jobs"
}

debian_package_of() {
    case "$1" in
        ctest) echo cmake ;;
        mvn) echo maven ;;
        ninja) echo ninja-build ;;
        flock) echo util-linux ;;
        *) echo "$1" ;;
    esac
}

# Sets `missing` and `packages` to the tools that are not on PATH and to what Debian calls them.
find_missing() {
    local tool
    missing=() packages=()
    for tool in "$@"; do
        command -v "$tool" >/dev/null && continue
        missing+=("$tool")
        packages+=("$(debian_package_of "$tool")")
    done
}

# need TOOL...: returns when all are on PATH. As root on Debian or Ubuntu the missing ones are installed, unless
# EQUIPOISE_NO_INSTALL=1; elsewhere the error names them.
need() {
    local missing packages
    find_missing "$@"
    ((${#missing[@]} == 0)) && return
    if may_install; then
        say "installing ${packages[*]} with apt-get (EQUIPOISE_NO_INSTALL=1 forbids it)"
        apt_get update || true
        apt_get install --no-install-recommends "${packages[@]}" || tail -n 3 "$cache_root/apt-get.log" >&2
        hash -r
        find_missing "$@"
        ((${#missing[@]} == 0)) && return
    fi
    fail 4 "missing on PATH" "${missing[*]}" "install them (Debian and Ubuntu: apt-get install ${packages[*]})"
}

may_install() {
    ((EUID == 0)) && [[ -e /etc/debian_version && ${EQUIPOISE_NO_INSTALL:-0} != 1 ]] && command -v apt-get >/dev/null
}

apt_get() {
    mkdir -p "$cache_root"
    DEBIAN_FRONTEND=noninteractive apt-get --yes "$@" >>"$cache_root/apt-get.log" 2>&1 </dev/null
}

# progress LINE: the newest step of a build, on one line of a terminal.
progress() {
    printf '\r\033[K%s' "${1:0:${COLUMNS:-79}}" >&2
}

# newest_step LOG: "87/199" from ninja, "43%" from make, "2/6" from Maven, empty when there is none yet.
newest_step() {
    tail -c 4096 "$1" 2>/dev/null | grep -aoE '(^| )\[ *([0-9]+/[0-9]+|[0-9]+%)\]' | tail -n 1 | tr -d '[] ' || true
}

# logged TITLE LOG COMMAND...: runs the command with its output in LOG, says so, and on a terminal shows how far it is. On
# failure shows the end of the log and returns the status. Interrupting the script stops the command and all its children.
logged() {
    local title="$1" log="$2" status=0 began=$SECONDS shown=$SECONDS
    shift 2
    mkdir -p "$(dirname "$log")"
    : >"$log"
    # A process group of its own: a background job of a script ignores Ctrl-C, and killing only the leader would
    # leave the compilers running.
    set -m
    "$@" >"$log" 2>&1 </dev/null &
    local job=$!
    set +m
    trap 'kill -TERM -- -'"$job"' 2>/dev/null; exit 130' INT TERM HUP
    if [[ -t 2 ]]; then
        progress "equipoise: $title"
    else
        say "$title"
    fi
    while kill -0 "$job" 2>/dev/null; do
        sleep 0.2
        if [[ -t 2 ]] && ((SECONDS > shown)); then
            shown=$SECONDS
            progress "equipoise: $title: $(newest_step "$log") ($((SECONDS - began)) s)"
        fi
    done
    wait "$job" || status=$?
    trap - INT TERM HUP
    [[ -t 2 ]] && printf '\r\033[K' >&2
    if ((status != 0)); then
        tail -n 40 "$log" >&2
        say "$title: failed, the whole log is in $log"
    fi
    return "$status"
}
