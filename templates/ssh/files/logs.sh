# The end of what the job had printed.  $1 session
cd || exit 1
tail -c 262144 ".local/share/wharf-remote/sessions/$1/job.log" 2> /dev/null
