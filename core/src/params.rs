//! Parameters: from what a user gave to a value of the declared type, or to a sentence that says what is wrong.
//!
//! Pure. Values stay data from here on; nothing is quoted, nothing is spliced into text.

use serde_json::Value;
use wharf_protocol::{Dur, InvalidDuration};

use crate::template::{ParamKind, ParamSpec};

/// Most characters of a text without a `max_length`.
const MAX_TEXT: usize = 4096;

/// Whether text holds what nobody would see, or what changes how the rest is seen.
pub fn is_unprintable(text: &str) -> bool {
    text.chars().any(is_unseen)
}

/// Whether a character is a control, turns the direction of text, or takes no place at all. The joiners of scripts and
/// emoji (U+200C, U+200D) are not meant: words need them.
pub fn is_unseen(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether that is a parameter's name: `[a-z][a-z0-9_]{0,62}`.
pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && name.len() <= 63
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Reads a size such as `512MiB`, `4G` or a number of bytes.
pub fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let number: f64 = text[..digits].parse().ok()?;
    let factor: u64 = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "kb" => 1000,
        "m" | "mib" => 1 << 20,
        "mb" => 1_000_000,
        "g" | "gib" => 1 << 30,
        "gb" => 1_000_000_000,
        "t" | "tib" => 1 << 40,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52 of their unit")]
    let bytes = number * factor as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just before")]
    (bytes.is_finite() && (0.0..9e18).contains(&bytes)).then_some(bytes as u64)
}

impl ParamSpec {
    /// Converts and checks one value. Texts are read as the declared type.
    ///
    /// # Errors
    /// A sentence for the user.
    pub fn accept(&self, given: &Value) -> Result<Value, String> {
        let value = self.convert(given)?;
        if !self.choices.is_empty() && !self.choices.contains(&value) {
            let choices: Vec<String> = self.choices.iter().map(plain).collect();
            return Err(format!("choose one of {}", choices.join(", ")));
        }
        self.check_range(&value)?;
        if let (Some(pattern), Value::String(text)) = (&self.pattern, &value) {
            let whole = regex::Regex::new(&format!("^(?:{pattern})$"))
                .map_err(|_| "the template's pattern is not valid".to_owned())?;
            if !whole.is_match(text) {
                return Err(format!("has to match {pattern}"));
            }
        }
        Ok(value)
    }

    fn convert(&self, given: &Value) -> Result<Value, String> {
        let text = given.as_str();
        match self.kind {
            ParamKind::String => Ok(Value::String(self.text(text.ok_or("has to be text")?)?)),
            ParamKind::Path => {
                let text = self.text(text.ok_or("has to be a path")?)?;
                if text.starts_with('/') || text == "~" || text.starts_with("~/") {
                    Ok(Value::String(text))
                } else {
                    Err("has to be an absolute path".to_owned())
                }
            }
            ParamKind::Int => match text {
                Some(text) => {
                    text.trim().parse::<i64>().map(Value::from).map_err(|_| "has to be a whole number".into())
                }
                None if given.is_i64() || given.is_u64() => Ok(given.clone()),
                None => Err("has to be a whole number".to_owned()),
            },
            ParamKind::Float => {
                let number = match text {
                    Some(text) => text.trim().parse::<f64>().ok(),
                    None => given.as_f64(),
                };
                number
                    .filter(|number| number.is_finite())
                    .map(Value::from)
                    .ok_or_else(|| "has to be a number".to_owned())
            }
            ParamKind::Bool => match (given, text) {
                (Value::Bool(_), _) => Ok(given.clone()),
                (_, Some("true" | "yes" | "on" | "1")) => Ok(Value::Bool(true)),
                (_, Some("false" | "no" | "off" | "0")) => Ok(Value::Bool(false)),
                _ => Err("has to be true or false".to_owned()),
            },
            ParamKind::Choice => {
                if self.choices.contains(given) {
                    return Ok(given.clone());
                }
                let same = text.and_then(|text| self.choices.iter().find(|choice| plain(choice) == text));
                Ok(same.unwrap_or(given).clone())
            }
            ParamKind::Duration => match (text, given.as_u64()) {
                (Some(text), _) => text.parse::<Dur>().map(|_| given.clone()).map_err(no_duration),
                (None, Some(seconds)) => match Dur::secs(seconds).checked() {
                    Ok(_) => Ok(Value::String(format!("{seconds}s"))),
                    Err(error) => Err(no_duration(error)),
                },
                (None, None) => Err(no_duration(InvalidDuration::Unreadable)),
            },
            ParamKind::Size => match (text, given.as_u64()) {
                (Some(text), _) if size(text).is_some() => Ok(given.clone()),
                (None, Some(bytes)) => Ok(Value::String(bytes.to_string())),
                _ => Err("has to be a size such as 512MiB or 4GiB".to_owned()),
            },
        }
    }

    fn text(&self, text: &str) -> Result<String, String> {
        let most = self.max_length.unwrap_or(MAX_TEXT);
        if text.chars().count() > most {
            return Err(format!("longer than {most} characters"));
        }
        if is_unprintable(text) {
            return Err("has control characters".to_owned());
        }
        Ok(text.to_owned())
    }

    fn measure(&self, value: &Value) -> Option<f64> {
        match (self.kind, value) {
            (ParamKind::Int | ParamKind::Float, value) => value.as_f64(),
            (ParamKind::Duration, Value::String(text)) => {
                text.parse::<Dur>().ok().map(|dur| dur.0.as_secs_f64())
            }
            (ParamKind::Duration, value) => value.as_f64(),
            #[expect(clippy::cast_precision_loss, reason = "compared with a bound of the same kind")]
            (ParamKind::Size, Value::String(text)) => size(text).map(|bytes| bytes as f64),
            (ParamKind::Size, value) => value.as_f64(),
            (ParamKind::String | ParamKind::Bool | ParamKind::Choice | ParamKind::Path, _) => None,
        }
    }

    fn check_range(&self, value: &Value) -> Result<(), String> {
        let Some(measure) = self.measure(value) else { return Ok(()) };
        if let Some(min) = &self.min
            && self.measure(min).is_some_and(|min| measure < min)
        {
            return Err(format!("less than {}", plain(min)));
        }
        if let Some(max) = &self.max
            && self.measure(max).is_some_and(|max| measure > max)
        {
            return Err(format!("more than {}", plain(max)));
        }
        Ok(())
    }
}

fn no_duration(error: InvalidDuration) -> String {
    match error {
        InvalidDuration::Unreadable => "has to be a duration such as 30m or 2h".to_owned(),
        InvalidDuration::TooLong => error.to_string(),
    }
}

/// A value as people write it.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}
