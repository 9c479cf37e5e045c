//! Lua as words with lines: enough to see names, texts and calls. What does not parse is the compiler's business.

/// One word of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// Where it stands, from 1.
    pub(super) line: u32,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a word is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A name or keyword.
    Name(String),
    /// A text, without its quotes; `true` when it is put together from values (a backquoted text with `{`).
    Text(String, bool),
    /// A number.
    Number,
    /// Anything else: an operator or bracket.
    Mark(&'static str),
}

const MARKS: [&str; 40] = [
    "...", "//=", "..=", "==", "~=", "<=", ">=", "..", "//", "::", "->", "+=", "-=", "*=", "/=", "%=", "^=",
    "+", "-", "*", "/", "%", "^", "#", "<", ">", "=", "(", ")", "{", "}", "[", "]", ";", ":", ",", ".", "|",
    "&", "?",
];

impl Token {
    pub(super) fn name(&self) -> Option<&str> {
        match &self.kind {
            Kind::Name(name) => Some(name),
            Kind::Text(..) | Kind::Number | Kind::Mark(_) => None,
        }
    }

    pub(super) fn is(&self, word: &str) -> bool {
        match &self.kind {
            Kind::Mark(mark) => *mark == word,
            Kind::Name(name) => name == word,
            Kind::Text(..) | Kind::Number => false,
        }
    }
}

/// Takes a script apart.
pub(super) fn read(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let before = rest;
        if first == '\n' || first.is_whitespace() {
            rest = &rest[first.len_utf8()..];
        } else if let Some(comment) = rest.strip_prefix("--") {
            rest = match long(comment) {
                Some((_, after)) => after,
                None => comment.find('\n').map_or("", |end| &comment[end..]),
            };
        } else if let Some((text, after)) = long(rest) {
            tokens.push(Token { line, kind: Kind::Text(text.to_owned(), false) });
            rest = after;
        } else if matches!(first, '"' | '\'' | '`') {
            let (text, after) = quoted(&rest[1..], first);
            let built = first == '`' && text.contains('{');
            tokens.push(Token { line, kind: Kind::Text(text, built) });
            rest = after;
        } else if first.is_ascii_alphabetic() || first == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(Token { line, kind: Kind::Name(rest[..end].to_owned()) });
            rest = &rest[end..];
        } else if first.is_ascii_digit() {
            let end =
                rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').unwrap_or(rest.len());
            // `1..2` is a concatenation.
            let end = rest.find("..").map_or(end, |dots| end.min(dots.max(1)));
            tokens.push(Token { line, kind: Kind::Number });
            rest = &rest[end..];
        } else if let Some(mark) = MARKS.into_iter().find(|mark| rest.starts_with(mark)) {
            tokens.push(Token { line, kind: Kind::Mark(mark) });
            rest = &rest[mark.len()..];
        } else {
            rest = &rest[first.len_utf8()..];
        }
        let passed = &before[..before.len() - rest.len()];
        line += u32::try_from(passed.matches('\n').count()).unwrap_or(0);
    }
    tokens
}

/// `[[…]]` and `[=[…]=]`.
fn long(text: &str) -> Option<(&str, &str)> {
    let after = text.strip_prefix('[')?;
    let level = after.find(|c| c != '=')?;
    let body = after[level..].strip_prefix('[')?;
    let close = format!("]{}]", "=".repeat(level));
    let end = body.find(&close)?;
    Some((&body[..end], &body[end + close.len()..]))
}

fn quoted(text: &str, quote: char) -> (String, &str) {
    let mut out = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => {
                if let Some((_, next)) = letters.next() {
                    out.push(next);
                }
            }
            letter if letter == quote => return (out, &text[at + letter.len_utf8()..]),
            '\n' if quote != '`' => return (out, &text[at..]),
            letter => out.push(letter),
        }
    }
    (out, "")
}
