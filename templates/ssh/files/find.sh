# A line for each session: its id, and its job or `none`.  $* sessions
cd || exit 1
for id in "$@"; do
    job=$(cat ".local/share/wharf-remote/sessions/$id/job" 2> /dev/null)
    echo "$id ${job:-none}"
done
echo done
