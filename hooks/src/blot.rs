//! Keeping secrets out of traces, logs and messages.
//!
//! A last resort: secrets do not get here by any door of ours, but a command may print what it was given.

/// Shorter ones would blot out half of any text.
const SHORTEST: usize = 4;

/// The secrets of one call.
#[derive(Debug, Default)]
pub(crate) struct Blot {
    forms: Vec<String>,
}

impl Blot {
    /// Also in the forms that JSON and URLs give them.
    pub(crate) fn add(&mut self, secret: &str) {
        if secret.len() < SHORTEST {
            return;
        }
        let json = serde_json::Value::from(secret).to_string();
        let json = json.get(1..json.len() - 1).unwrap_or_default().to_owned();
        let url = secret.bytes().fold(String::new(), |mut url, byte| {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                url.push(char::from(byte));
            } else {
                url.push_str(&format!("%{byte:02X}"));
            }
            url
        });
        for form in [secret.to_owned(), json, url, secret.escape_debug().to_string()] {
            if !self.forms.contains(&form) {
                self.forms.push(form);
            }
        }
        // The longest first, so that none is left half visible.
        self.forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    /// The text without them.
    pub(crate) fn out(&self, text: &str) -> String {
        self.forms.iter().fold(text.to_owned(), |text, form| {
            if text.contains(form.as_str()) { text.replace(form.as_str(), "***") } else { text }
        })
    }
}
