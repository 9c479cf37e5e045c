# Reads one JSON document and prints each of its texts and numbers as PATH, a tab, VALUE, for example
#   request.monitor.argv.2<tab>run
# so that a hook asks for the member it means. Searching the whole document for "mode" or "job_id" would also find a
# tag or parameter that a user gave that name. Texts stay escaped as they are in JSON.
{ text = text $0 }

END {
    depth = 0
    while (length(text)) {
        first = substr(text, 1, 1)
        if (first == "\"") {
            # The end of a text is the first quote after an even number of backslashes.
            from = 2
            for (;;) {
                end = from + index(substr(text, from), "\"") - 1
                if (end < from) exit 1
                for (back = end - 1; substr(text, back, 1) == "\\"; back--);
                if ((end - 1 - back) % 2 == 0) break
                from = end + 1
            }
            value = substr(text, 2, end - 2)
            text = substr(text, end + 1)
            if (kind[depth] == "{" && !named[depth]) {
                name[depth] = value
                named[depth] = 1
            } else {
                tell(value)
            }
        } else if (first == "{" || first == "[") {
            if (kind[depth] == "[") count[depth]++
            depth++
            kind[depth] = first
            named[depth] = 0
            count[depth] = 0
            text = substr(text, 2)
        } else if (first == "}" || first == "]") {
            depth--
            text = substr(text, 2)
        } else if (first == ",") {
            named[depth] = 0
            text = substr(text, 2)
        } else if (match(text, /^[-+.0-9A-Za-z]+/)) {
            value = substr(text, 1, RLENGTH)
            text = substr(text, RLENGTH + 1)
            tell(value)
        } else {
            text = substr(text, 2)
        }
    }
}

function tell(value, path, level) {
    if (kind[depth] == "[") count[depth]++
    path = ""
    for (level = 1; level <= depth; level++) {
        path = path (level > 1 ? "." : "") (kind[level] == "{" ? name[level] : count[level])
    }
    print path "\t" value
}
