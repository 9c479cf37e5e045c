# Reads a log with the engine's moment in front of each line, and prints the answer of the hook `logs`: of a long one the
# end; after a place, MOMENT+COUNT, its beginning, since the rest is asked for from there.
BEGIN {
    most = 131072
    for (code = 1; code < 32; code++) escaped[sprintf("%c", code)] = sprintf("\\u%04x", code)
    escaped["\""] = "\\\""
    escaped["\\"] = "\\\\"
    rest = "[\200-\277]"
    several = "^([\302-\337]" rest "|\340[\240-\277]" rest "|[\341-\354\356\357]" rest rest \
        "|\355[\200-\237]" rest "|\360[\220-\277]" rest rest "|[\361-\363]" rest rest rest \
        "|\364[\200-\217]" rest rest ")"
    split(after, place, "+")
}

# The first one may be a part of a line, or the client's own word.
!/^[0-9]+-[0-9][0-9]-[0-9][0-9]T[0-9:.]+Z / { next }

after != "" && size >= most { next }

after != "" && $1 == place[1] && ++again <= place[2] { next }

{
    given = $1 == moment ? given + 1 : $1 == place[1] ? again : 1
    moment = $1
    kept[++last] = substr($0, length($1) + 2)
    size += length(kept[last])
    if (after == "")
        while (size > most && first + 1 < last) {
            size -= length(kept[++first])
            delete kept[first]
        }
}

END {
    printf "{\"result\":{\"text\":\""
    for (line = first + 1; line <= last; line++) printf "%s\\n", text(kept[line])
    printf "\""
    if (moment != "") printf ",\"next\":\"%s+%d\"", moment, given
    else if (after != "") printf ",\"next\":\"%s\"", after
    print "}}"
}

# As a text of JSON holds it; what is no UTF-8 becomes a question mark.
function text(raw, out, sign) {
    while (match(raw, /[\001-\037"\\\200-\377]/)) {
        out = out substr(raw, 1, RSTART - 1)
        sign = substr(raw, RSTART, 1)
        raw = substr(raw, RSTART)
        if (sign in escaped) {
            out = out escaped[sign]
            raw = substr(raw, 2)
        } else if (match(raw, several)) {
            out = out substr(raw, 1, RLENGTH)
            raw = substr(raw, RLENGTH + 1)
        } else {
            out = out "?"
            raw = substr(raw, 2)
        }
    }
    return out raw
}
