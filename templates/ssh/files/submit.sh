# Starts the session's monitor in a session of its own, once, and prints the job's id.  $1 session  $2 hash  $3 host
set -eu
umask 077
cd
base=$PWD/.local/share/wharf-remote
cd "$base/sessions/$1"
mv mount/bootstrap.json.new mount/bootstrap.json
mv mount/addresses.new mount/addresses
# Its own process says who it is before it becomes the monitor: what `job` names is there, or was.
rm -f job
WHARF_HOST=$3 WHARF_PROGRAM=$base/monitor/$2/wharf-monitor setsid sh -c '
    start=$(sed "s/.*) //" "/proc/$$/stat" | cut -d" " -f20)
    boot=$(tr -d - < /proc/sys/kernel/random/boot_id | cut -c1-8)
    WHARF_JOB_ID=$$:$start:$boot@$WHARF_HOST
    program=$WHARF_PROGRAM
    unset WHARF_HOST WHARF_PROGRAM
    export WHARF_JOB_ID
    printf "%s\n" "$WHARF_JOB_ID" > job.new && mv job.new job || exit 1
    exec "$program" run --bootstrap "$PWD/mount/bootstrap.json"
' < /dev/null > job.log 2>&1 &
tries=0
until [ -s job ]; do
    tries=$((tries + 1))
    [ "$tries" -le 100 ] || exit 75
    sleep 0.1
done
cat job
