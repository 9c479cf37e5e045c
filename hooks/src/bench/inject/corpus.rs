//! The values that a hostile user gives.

use std::path::Path;

/// A command that no template runs: it runs only when a value has become code.
pub(super) const CANARY: &str = "wharf-canary";

/// One hostile value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hostile {
    /// What it is called in reports.
    pub(super) label: &'static str,
    /// The value.
    pub(super) text: String,
}

/// All of them; `file` must never come to be.
pub(super) fn all(file: &Path) -> Vec<Hostile> {
    let file = file.display();
    let c = CANARY;
    let long = "A".repeat(100 << 10);
    [
        ("spaces", " a  b\tc ".to_owned()),
        ("space", "a b".to_owned()),
        ("double quote", "a\"b".to_owned()),
        ("single quote", "a'b".to_owned()),
        ("both quotes", "'\"'\"".to_owned()),
        ("command substitution", format!("$({c})")),
        ("command substitution that writes", format!("$(touch {file})")),
        ("backticks", format!("`{c}`")),
        ("semicolon", format!("a; {c}")),
        ("and", format!("a && {c} &")),
        ("pipe", format!("a | {c}")),
        ("redirection", format!("a >{file}")),
        ("out of single quotes", format!("a'; {c}; '")),
        ("out of double quotes", format!("a\"; {c}; \"")),
        ("variable", "$HOME ${HOME}".to_owned()),
        ("glob and tilde", "* ~root [a-z]".to_owned()),
        ("backslashes", "a\\b\\n\\x41\\".to_owned()),
        ("percent", "%s %n %d".to_owned()),
        ("comment", "a # b".to_owned()),
        ("template", "{{7*7}}".to_owned()),
        ("template statement", "{% for i in range(9) %}x{% endfor %}".to_owned()),
        ("JSON", "\",\"job_id\":\"1\",\"x\":\"".to_owned()),
        ("newline with a directive", format!("a\n#SBATCH --wrap={c}\n{c}\n")),
        ("carriage return", format!("a\r\n{c}")),
        ("option", "-x".to_owned()),
        ("long option", "--help".to_owned()),
        ("option with a value", format!("--wrap={c}")),
        ("dash", "-".to_owned()),
        ("dots", "../../etc/passwd".to_owned()),
        ("NUL", "a\0b".to_owned()),
        ("100 kB", long),
        ("control characters", "a\u{1b}[31m\u{7}b".to_owned()),
        ("bidi", "a\u{202e}b\u{2066}c".to_owned()),
        ("unicode", "ü€😀".to_owned()),
        ("empty", String::new()),
    ]
    .into_iter()
    .map(|(label, text)| Hostile { label, text })
    .collect()
}
