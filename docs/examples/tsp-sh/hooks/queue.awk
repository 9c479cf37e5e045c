# Reads `tsp -l`, and prints a JSON document for each job:
#   ID  STATE  OUTPUT  [E-LEVEL  TIMES]  [AFTER&&] [LABEL]COMMAND
$1 ~ /^[0-9]+$/ {
    state = $2
    rest = $0
    sub(/^[0-9]+ +[a-z]+ +(\(no output\)|[^ ]+) +/, "", rest)
    code = "null"
    if (match(rest, /^-?[0-9]+ +[^ \/]+\/[^ \/]+\/[^ \/]+ +/)) {
        if (rest !~ /^-/) code = rest + 0
        rest = substr(rest, RLENGTH + 1)
    }
    sub(/^(\[[0-9]+\])?&& /, "", rest)
    session = "null"
    if (match(rest, /^\[[a-z0-9]+\]/) && RLENGTH == 22) session = "\"" substr(rest, 2, 20) "\""
    position = "null"
    if (state == "queued") position = ++waiting
    printf "{\"id\":\"%s\",\"state\":\"%s\",\"exit_code\":%s,\"position\":%s,\"session\":%s}\n", $1, state, code, position, session
}
