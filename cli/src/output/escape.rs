//! Text from outside on somebody's terminal: control and bidi characters are shown, not obeyed.

use std::borrow::Cow;
use std::fmt::Write as _;

use wharf_core::params::is_unseen;

/// One line of text; newlines are escaped too.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
    escape(text, |_| false)
}

/// Text of several lines; newlines and tabs stay.
pub(crate) fn lines(text: &str) -> Cow<'_, str> {
    escape(text, |character| matches!(character, '\n' | '\t'))
}

fn escape(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(|character| is_unseen(character) && !keep(character)) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unseen(character) && !keep(character) {
            match character {
                '\n' => safe.push_str("\\n"),
                '\r' => safe.push_str("\\r"),
                '\t' => safe.push_str("\\t"),
                _ => {
                    let _ = write!(safe, "\\u{{{:x}}}", u32::from(character));
                }
            }
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// JSON text whose strings hold nothing that a terminal would obey; the value stays the same.
///
/// The serializer has escaped what is below U+0020 already, so what is left stands inside strings.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    let bad = |character: char| is_unseen(character) && character != '\n';
    if !text.chars().any(bad) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if bad(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(character);
        }
    }
    Cow::Owned(safe)
}

/// A session's output on a terminal: lines and colours pass, all else that a terminal obeys is shown.
#[derive(Debug, Default)]
pub(crate) struct Tamed {
    /// The beginning of a character or of a colour sequence, until the rest has come.
    held: Vec<u8>,
}

/// No colour sequence is longer.
const SEQUENCE: usize = 32;

impl Tamed {
    /// What may be shown of the next bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> String {
        self.held.extend_from_slice(bytes);
        let held = std::mem::take(&mut self.held);
        let mut shown = String::with_capacity(held.len());
        let mut rest = held.as_slice();
        while let Some((&first, after)) = rest.split_first() {
            if first == 0x1b {
                match colour(after) {
                    Colour::Whole(length) => {
                        shown.push_str(&String::from_utf8_lossy(&rest[..=length]));
                        rest = &rest[length + 1..];
                    }
                    Colour::Beginning => {
                        self.held = rest.to_vec();
                        break;
                    }
                    Colour::Other => {
                        shown.push_str("\\u{1b}");
                        rest = after;
                    }
                }
                continue;
            }
            let end = rest.iter().position(|byte| *byte == 0x1b).unwrap_or(rest.len());
            let (text, more) = rest.split_at(end);
            let whole = whole_characters(text);
            if whole < text.len() && more.is_empty() {
                self.held = text[whole..].to_vec();
            }
            let cut = if more.is_empty() { whole } else { text.len() };
            let plain = String::from_utf8_lossy(&text[..cut]);
            shown.push_str(&escape(&plain, |character| matches!(character, '\n' | '\t' | '\r')));
            rest = more;
        }
        shown
    }
}

enum Colour {
    Whole(usize),
    Beginning,
    Other,
}

/// What follows an escape character.
fn colour(after: &[u8]) -> Colour {
    match after.split_first() {
        None => return Colour::Beginning,
        Some((b'[', _)) => {}
        Some(_) => return Colour::Other,
    }
    for (at, byte) in after.iter().enumerate().skip(1) {
        match byte {
            b'0'..=b'9' | b';' | b':' if at < SEQUENCE => {}
            b'm' => return Colour::Whole(at + 1),
            _ => return Colour::Other,
        }
    }
    Colour::Beginning
}

/// How many bytes do not end in the middle of a character.
fn whole_characters(text: &[u8]) -> usize {
    match std::str::from_utf8(text) {
        Ok(_) => text.len(),
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Err(_) => {
            // Something is wrong earlier; only what the end leaves open is held back.
            let tail = text.len().saturating_sub(3);
            (tail..text.len())
                .rev()
                .find(|at| text[*at] >= 0xc0)
                .filter(|at| {
                    std::str::from_utf8(&text[*at..]).is_err_and(|error| error.error_len().is_none())
                })
                .unwrap_or(text.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        assert_eq!(line("a\u{1b}[31mb\n\u{202e}c"), "a\\u{1b}[31mb\\n\\u{202e}c");
        assert_eq!(lines("a\n\tb\u{7}"), "a\n\tb\\u{7}");
        assert!(matches!(line("naïve ☂ 名前"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_stays_the_same_value() {
        let text = serde_json::to_string("a\u{9b}\u{202e}\u{e0041}\n").unwrap();
        let safe = json(&text);
        assert!(!safe.chars().any(is_unseen), "{safe}");
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), "a\u{9b}\u{202e}\u{e0041}\n");
    }

    #[test]
    fn colours_and_characters_survive_being_cut_anywhere() {
        let text = "é\u{1b}[1;31mrot\u{1b}[0m ☂\r\n";
        for at in 0..text.len() {
            let mut tamed = Tamed::default();
            let (one, two) = text.as_bytes().split_at(at);
            assert_eq!(format!("{}{}", tamed.feed(one), tamed.feed(two)), text, "{at}");
        }
        let mut tamed = Tamed::default();
        assert_eq!(tamed.feed(b"\x1b]0;owned\x07x\x1b[2J"), "\\u{1b}]0;owned\\u{7}x\\u{1b}[2J");
    }
}
