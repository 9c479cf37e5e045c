//! Where a value stands in shell text, and whether it stands there as data.
//!
//! The text that a harmless marker gave is the pattern: what lies around the marker has to be the same with the
//! hostile value, and the value itself has to be written in a way that the shell reads as that value.

/// What surrounds a place in shell text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Around {
    Nothing,
    Single,
    Double,
    Comment,
}

/// What the shell thinks after reading `text`.
fn around(text: &str) -> Around {
    let mut state = Around::Nothing;
    let mut word_before = false;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (state, letter) {
            (Around::Nothing | Around::Double, '\\') => drop(letters.next()),
            (Around::Nothing, '\'') => state = Around::Single,
            (Around::Nothing, '"') => state = Around::Double,
            (Around::Nothing, '#') if !word_before => state = Around::Comment,
            (Around::Single, '\'') | (Around::Double, '"') | (Around::Comment, '\n') => {
                state = Around::Nothing;
            }
            _ => {}
        }
        word_before = !(letter.is_whitespace() || ";|&(".contains(letter));
    }
    state
}

/// Letters that no shell looks at.
fn plain(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|c| c.is_alphanumeric() || "_./:@%+,=-".contains(c))
}

fn escaped(value: &str, special: impl Fn(char) -> bool) -> String {
    value.chars().fold(String::new(), |mut out, letter| {
        if special(letter) {
            out.push('\\');
        }
        out.push(letter);
        out
    })
}

/// How a value may be written there.
fn spellings(state: Around, value: &str) -> Vec<String> {
    let quoted = |inner: &str| value.replace('\'', inner);
    match state {
        Around::Single => vec![quoted(r"'\''"), quoted("'\"'\"'")],
        Around::Comment if value.chars().any(char::is_control) => Vec::new(),
        Around::Comment => vec![value.to_owned()],
        Around::Double => {
            let mut all = vec![escaped(value, |c| "\\\"$`".contains(c))];
            if !value.contains(['\\', '"', '$', '`']) {
                all.push(value.to_owned());
            }
            all
        }
        Around::Nothing => {
            let mut all = vec![format!("'{}'", quoted(r"'\''")), format!("'{}'", quoted("'\"'\"'"))];
            if !value.contains('\n') {
                all.push(escaped(value, |c| !c.is_alphanumeric() && !"_./:@%+,=-".contains(c)));
            }
            if plain(value) {
                all.push(value.to_owned());
            }
            all
        }
    }
}

/// Whether `got` is `pattern` with each marker replaced by its value, written as data.
pub(super) fn is_data(pattern: &str, got: &str, values: &[(&str, &str)]) -> bool {
    matches(pattern, 0, got, values)
}

fn matches(pattern: &str, from: usize, got: &str, values: &[(&str, &str)]) -> bool {
    let rest = &pattern[from..];
    let next = values.iter().filter_map(|(marker, value)| Some((rest.find(marker)?, *marker, *value))).min();
    let Some((at, marker, value)) = next else { return rest == got };
    let Some(after) = got.strip_prefix(&rest[..at]) else { return false };
    let state = around(&pattern[..from + at]);
    spellings(state, value).into_iter().any(|spelling| {
        after
            .strip_prefix(spelling.as_str())
            .is_some_and(|after| matches(pattern, from + at + marker.len(), after, values))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(pattern: &str, got: &str, value: &str) -> bool {
        is_data(pattern, got, &[("MARK", value)])
    }

    #[test]
    fn quoted_values_are_data_and_bare_ones_are_code() {
        assert!(good("echo 'MARK'", "echo 'a b'", "a b"));
        assert!(good("echo 'MARK'", r"echo 'a'\''b'", "a'b"));
        assert!(!good("echo 'MARK'", "echo 'a'b'", "a'b"), "it ends the quotes");
        assert!(!good("echo MARK", "echo $(id)", "$(id)"));
        assert!(!good("echo \"MARK\"", "echo \"$(id)\"", "$(id)"));
        assert!(good("echo \"MARK\"", "echo \"\\$(id)\"", "$(id)"));
        assert!(good("echo MARK", "echo 'a b'", "a b"), "quoted when it has to be");
        assert!(good("#SBATCH --x=MARK\n", "#SBATCH --x=a b\n", "a b"));
        assert!(!good("#SBATCH --x=MARK\n", "#SBATCH --x=a\nid\n", "a\nid"), "a line of its own");
        assert!(!good("echo 'MARK'", "echo '49'", "{{7*7}}"), "another value");
        assert!(!good("echo MARK", "echo 'x' more", "x"), "more than the value");
    }
}
