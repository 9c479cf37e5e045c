#!/bin/sh
# Ends whoever is left in the cgroup of session ID and takes the cgroup away: a monitor that was killed could not take its
# command down with it. Usage: clear.sh ID kill|stop|wait
#   kill  at once
#   stop  after SIGTERM and two seconds
#   wait  after two seconds, for those that are ending by themselves
set -eu
id=$1
mode=$2
root=$(awk '/ - cgroup2 / && $5 !~ /\\/ { print $5; exit }' /proc/self/mountinfo)
[ -n "$root" ] || exit 0

# A cgroup and all below it, the deepest first.
cgroups() {
    for one in "$1"/*/; do
        if [ -d "$one" ]; then cgroups "${one%/}"; fi
    done
    printf '%s\n' "$1"
}

# Processes outside of our own process id namespace are shown as 0.
members() {
    cgroups "$1" | while IFS= read -r one; do
        cat "$one/cgroup.procs" 2>/dev/null || true
    done | grep -v '^0$' || true
}

populated() {
    grep -qs '^populated 1' "$1/cgroup.events"
}

# For so many tenths of a second.
await() {
    left=$2
    while populated "$1" && [ "$left" -gt 0 ]; do
        left=$((left - 1))
        sleep 0.1
    done
}

kill_all() {
    { echo 1 >"$1/cgroup.kill"; } 2>/dev/null && return
    # A kernel that cannot do it at once: until nothing new appears.
    for round in 1 2 3 4 5 6 7 8 9 10; do
        all=$(members "$1")
        [ -n "$all" ] || return 0
        # shellcheck disable=SC2086
        kill -KILL $all 2>/dev/null || true
    done
}

# Names of cgroups may hold blanks, no line ends.
IFS='
'
for cgroup in $(cgroups "$root" | grep "/wharf-$id\$" || true); do
    if [ "$mode" = stop ]; then
        all=$(members "$cgroup")
        # shellcheck disable=SC2086
        [ -z "$all" ] || kill -TERM $all 2>/dev/null || true
    fi
    [ "$mode" = kill ] || await "$cgroup" 20
    if populated "$cgroup"; then
        kill_all "$cgroup"
        await "$cgroup" 50
    fi
    if populated "$cgroup"; then
        echo "some processes of the session cannot be killed" >&2
        exit 75
    fi
    cgroups "$cgroup" | while IFS= read -r one; do
        rmdir "$one" 2>/dev/null || true
    done
done
