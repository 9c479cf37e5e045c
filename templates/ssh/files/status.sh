# A line for each job: its id and whether it runs. A job is a process, its start, and its boot.  $* jobs, without their host
boot=$(tr -d - < /proc/sys/kernel/random/boot_id | cut -c1-8)
for job in "$@"; do
    pid=${job%%:*}
    rest=${job#*:}
    state=gone
    if [ "${rest#*:}" = "$boot" ]; then
        fields=$(sed 's/.*) //' "/proc/$pid/stat" 2> /dev/null)
        case $fields in
            Z* | X*) ;;
            *) [ "$(printf '%s' "$fields" | cut -d' ' -f20)" = "${rest%%:*}" ] && state=running ;;
        esac
    fi
    echo "$job $state"
done
echo done
