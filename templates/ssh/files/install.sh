# Gives the monitor that was copied its name, whole or not at all.  $1 session  $2 hash
set -eu
cd
dir=.local/share/wharf-remote/monitor/$2
chmod 700 "$dir/$1.new"
mv "$dir/$1.new" "$dir/wharf-monitor"
