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
rm -rf "$base/sessions/$1"
