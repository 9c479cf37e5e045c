# Ends a job: SIGTERM to the monitor, which ends its command cleanly, or for `kill` the whole tree at once. Already gone is
# success.  $1 job, without its host  $2 stop or kill
pid=${1%%:*}
rest=${1#*:}
boot=$(tr -d - < /proc/sys/kernel/random/boot_id | cut -c1-8)

alive() {
    [ "${rest#*:}" = "$boot" ] || return 1
    fields=$(sed 's/.*) //' "/proc/$pid/stat" 2> /dev/null)
    case $fields in '' | Z* | X*) return 1 ;; esac
    [ "$(printf '%s' "$fields" | cut -d' ' -f20)" = "${rest%%:*}" ]
}

# The monitor and all that descends from it.
tree() {
    cat /proc/[0-9]*/stat 2> /dev/null | sed 's/(.*) //' | awk -v root="$pid" '
        { parent[$1] = $3 }
        END {
            for (one in parent) {
                for (up = one; up in parent && up != root; up = parent[up]);
                if (up == root) print one
            }
        }'
}

if alive; then
    if [ "$2" = kill ]; then
        # Stopped first, so that nothing new is born meanwhile.
        for round in 1 2 3; do
            kill -STOP $(tree) 2> /dev/null
        done
        kill -KILL $(tree) 2> /dev/null
    else
        kill -TERM "$pid" 2> /dev/null
    fi
fi
tries=0
while alive; do
    tries=$((tries + 1))
    if [ "$tries" -gt 200 ]; then
        echo lives
        exit
    fi
    sleep 0.1
done
echo gone
