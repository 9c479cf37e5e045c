# Removes what a session that is over has left; its monitor has a moment to go.  $1 session
cd || exit 1
base=.local/share/wharf-remote
job=$(cat "$base/sessions/$1/job" 2> /dev/null)
tries=0
while [ -n "$job" ] && [ -e "/proc/${job%%:*}/exe" ] && [ "$(cut -d: -f2 < "$base/sessions/$1/job")" = \
    "$(sed 's/.*) //' "/proc/${job%%:*}/stat" 2> /dev/null | cut -d' ' -f20)" ]; do
    tries=$((tries + 1))
    [ "$tries" -le 50 ] || exit 75
    sleep 0.1
done
# What still runs of it: a monitor that was killed could take nothing down. Commands of a launcher's hooks carry its mark.
left() {
    for file in $(grep -ls "WHARF_SESSION_ID=$1" /proc/[0-9]*/environ 2> /dev/null); do
        grep -qs WHARF_INSTANCE= "$file" || echo "$file" | cut -d/ -f3
    done
}
kill -TERM $(left "$1") 2> /dev/null
tries=0
while [ "$tries" -lt 20 ] && [ -n "$(left "$1")" ]; do
    tries=$((tries + 1))
    sleep 0.1
done
kill -KILL $(left "$1") 2> /dev/null
rm -rf "$base/sessions/$1"
