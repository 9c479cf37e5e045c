# Makes the session's directory, and says whether the monitor of that hash is there.  $1 session  $2 hash
set -eu
umask 077
cd
base=.local/share/wharf-remote
mkdir -p "$base/sessions/$1/mount" "$base/monitor/$2"
if [ -x "$base/monitor/$2/wharf-monitor" ]; then echo there; else echo missing; fi
