//! The monitor's route, dialled by somebody who may be no monitor at all.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::http::{Address, Answer, Http};

/// The bootstrap file of a session, as the job would read it.
#[derive(Debug, Clone)]
pub struct BootstrapFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What it says.
    pub content: Value,
}

impl BootstrapFile {
    /// Reads one.
    ///
    /// # Panics
    /// When it is not there or no JSON.
    #[track_caller]
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let content = serde_json::from_slice(&text).expect("a bootstrap file is JSON");
        Self { path: path.to_owned(), content }
    }

    /// A text member.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn text(&self, name: &str) -> &str {
        self.content[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.path.display()))
    }

    /// Writes a changed copy beside the original and returns its path.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn forge(&self, name: &str, change: impl FnOnce(&mut Value)) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let mut content = self.content.clone();
        change(&mut content);
        let path = self.path.with_file_name(name);
        std::fs::write(&path, content.to_string()).expect("the session directory takes files");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
        path
    }
}

/// Asks for an upgrade of the monitor's route with that credential, and returns the answer to it.
///
/// An answer of 101 is cut off at once: the caller asserts that it is none.
///
/// # Panics
/// When nobody answers.
#[track_caller]
pub fn knock(address: &Address, credential: Option<&str>, session: &str) -> Answer {
    let claim = json!({
        "protocol": 1, "session": session, "attempt": 1, "restarts": 0, "nonce": "bm9uY2Ugb2YgYSBzdHJhbmdlcg",
    });
    let mut http = Http::new(address.clone())
        .with("connection", "Upgrade")
        .with("upgrade", "websocket")
        .with("sec-websocket-version", "13")
        .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .with("wharf-link", &URL_SAFE_NO_PAD.encode(claim.to_string()));
    if let Some(credential) = credential {
        http = http.with("authorization", &format!("Bearer {credential}"));
    }
    http.try_raw("GET", "/monitor/v1/link", Vec::new()).expect("the launcher answers")
}

/// A signed text whose payload says something else than what was signed.
///
/// # Panics
/// When it is no signed text.
#[track_caller]
pub fn alter(signed: &str, change: impl FnOnce(&mut Value)) -> String {
    let (payload, rest) = signed.split_once('.').expect("PAYLOAD.KEY.SIGNATURE");
    let bytes = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    let mut value: Value = serde_json::from_slice(&bytes).expect("JSON");
    change(&mut value);
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(value.to_string()))
}

/// What a signed text says.
///
/// # Panics
/// When it is no signed text.
#[track_caller]
pub fn payload(signed: &str) -> Value {
    let (payload, _) = signed.split_once('.').expect("PAYLOAD.KEY.SIGNATURE");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).expect("base64url")).expect("JSON")
}
