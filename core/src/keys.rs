//! The signing keys: what a launcher signs, and how it knows its own signature again.
//!
//! They lie in `DATA/keys/`, one file each (0600), apart from the datastore: with them a lost datastore heals itself
//! when monitors return. Two are live at once, so that a rotation breaks nothing.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wharf_protocol::signed::{self, KeyPin, Purpose};

/// How many keys are live.
const LIVE: usize = 2;

/// The live keys, the newest first.
#[derive(Debug)]
pub struct Keys {
    keys: Vec<Key>,
}

struct Key {
    id: String,
    secret: SigningKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Key({})", self.id)
    }
}

impl Key {
    fn sign<T: Serialize>(&self, purpose: Purpose, what: &T) -> String {
        let payload = serde_json::to_vec(what).expect("what is signed can be written as JSON");
        let signature = self.secret.sign(&signed::message(purpose, &payload));
        signed::join(&payload, &self.id, &signature.to_bytes())
    }
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file or directory.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that holds no key.
    #[error("{path} holds no signing key", path = path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
    },
}

impl Keys {
    /// Reads the keys of that directory; makes the first one.
    ///
    /// # Errors
    /// Anything that keeps them from being read: never a new key in place of one that cannot be read.
    pub fn open(dir: &Path) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io { path: dir.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(io)?;
        let mut names: Vec<String> = fs::read_dir(dir)
            .map_err(io)?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with(".key"))
            .collect();
        if names.is_empty() {
            names.push(create(dir, 1)?);
        }
        // Names are `NUMBER-ID.key`, the number with leading zeros: the last is the newest.
        names.sort_unstable();
        names.reverse();
        let keys = names.iter().take(LIVE).map(|name| read(&dir.join(name))).collect::<Result<_, _>>()?;
        Ok(Self { keys })
    }

    /// Makes a new key, which signs from the next [`Keys::open`] on; keys beyond the live ones are deleted.
    ///
    /// # Errors
    /// As [`Keys::open`].
    pub fn rotate(dir: &Path) -> Result<String, KeyError> {
        let io = |source| KeyError::Io { path: dir.to_owned(), source };
        Self::open(dir)?;
        let mut names: Vec<String> = fs::read_dir(dir)
            .map_err(io)?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.ends_with(".key"))
            .collect();
        names.sort_unstable();
        let last: u32 =
            names.last().and_then(|name| name.split('-').next()?.parse().ok()).unwrap_or_default();
        let made = create(dir, last + 1)?;
        names.push(made.clone());
        for old in names.iter().rev().skip(LIVE) {
            fs::remove_file(dir.join(old)).map_err(io)?;
        }
        Ok(made.trim_end_matches(".key").to_owned())
    }

    /// The public halves.
    pub fn pins(&self) -> Vec<KeyPin> {
        self.keys
            .iter()
            .map(|key| KeyPin {
                id: key.id.clone(),
                public: signed::encode(key.secret.verifying_key().as_bytes()),
            })
            .collect()
    }

    /// Signs what can be written as JSON, with the newest key.
    pub fn sign<T: Serialize>(&self, purpose: Purpose, what: &T) -> String {
        self.keys[0].sign(purpose, what)
    }

    /// Signs with the oldest live key: whoever holds a credential of any live key has it pinned, also one that was
    /// away while a new key was made.
    pub fn sign_as_known<T: Serialize>(&self, purpose: Purpose, what: &T) -> String {
        self.keys.last().unwrap_or(&self.keys[0]).sign(purpose, what)
    }

    /// Reads what one of the live keys has signed for that purpose; `None` for anything else.
    pub fn verify<T: DeserializeOwned>(&self, purpose: Purpose, text: &str) -> Option<T> {
        let parts = signed::split(purpose, text)?;
        let key = self.keys.iter().find(|key| key.id == parts.key)?;
        let public: VerifyingKey = key.secret.verifying_key();
        public.verify_strict(&parts.message, &Signature::from_bytes(&parts.signature)).ok()?;
        serde_json::from_slice(&parts.payload).ok()
    }
}

fn create(dir: &Path, number: u32) -> Result<String, KeyError> {
    let secret = SigningKey::from_bytes(&crate::random::bytes());
    let public = signed::encode(&secret.verifying_key().as_bytes()[..6]).replace(['-', '_'], "x");
    let name = format!("{number:06}-{public}.key");
    let path = dir.join(&name);
    let io = |source| KeyError::Io { path: path.clone(), source };
    // Whole or not at all: written beside, made durable, then named.
    let draft = dir.join(format!(".{name}.new"));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)
        .map_err(io)?;
    file.write_all(signed::encode(secret.as_bytes()).as_bytes()).map_err(io)?;
    file.sync_all().map_err(io)?;
    fs::rename(&draft, &path).map_err(io)?;
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
    Ok(name)
}

fn read(path: &Path) -> Result<Key, KeyError> {
    let io = |source| KeyError::Io { path: path.to_owned(), source };
    let text = fs::read_to_string(path).map_err(io)?;
    let damaged = || KeyError::Damaged { path: path.to_owned() };
    let bytes = signed::decode(text.trim()).and_then(|bytes| bytes.try_into().ok()).ok_or_else(damaged)?;
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(damaged)?;
    Ok(Key { id: name.trim_end_matches(".key").to_owned(), secret: SigningKey::from_bytes(&bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_signed_is_known_again_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path()).unwrap();
        let text = keys.sign(Purpose::Credential, &"hello");
        assert_eq!(keys.verify::<String>(Purpose::Credential, &text).as_deref(), Some("hello"));
        assert_eq!(keys.verify::<String>(Purpose::Snapshot, &text), None, "another purpose");
        let forged = text.replacen(&text[..1], if text.starts_with('I') { "J" } else { "I" }, 1);
        assert_eq!(keys.verify::<String>(Purpose::Credential, &forged), None, "altered");
        let foreign = Keys::open(tempfile::tempdir().unwrap().path()).unwrap();
        assert_eq!(foreign.verify::<String>(Purpose::Credential, &text), None, "another launcher");
        assert_eq!(
            Keys::open(dir.path()).unwrap().verify::<String>(Purpose::Credential, &text).as_deref(),
            Some("hello")
        );
    }

    #[test]
    fn two_keys_live_and_the_third_rotation_ends_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = Keys::open(dir.path()).unwrap().sign(Purpose::Resume, &1);
        Keys::rotate(dir.path()).unwrap();
        let keys = Keys::open(dir.path()).unwrap();
        assert_eq!(keys.verify::<i32>(Purpose::Resume, &first), Some(1));
        assert_ne!(keys.pins()[0], keys.pins()[1]);
        Keys::rotate(dir.path()).unwrap();
        assert_eq!(Keys::open(dir.path()).unwrap().verify::<i32>(Purpose::Resume, &first), None);
    }

    #[test]
    fn a_monitor_that_was_away_during_a_rotation_has_the_key_of_the_proof() {
        let dir = tempfile::tempdir().unwrap();
        let pinned = Keys::open(dir.path()).unwrap().pins();
        Keys::rotate(dir.path()).unwrap();
        let proof = Keys::open(dir.path()).unwrap().sign_as_known(Purpose::Proof, &"nonce");
        assert_eq!(signed::split(Purpose::Proof, &proof).map(|parts| parts.key), Some(pinned[0].id.clone()));
    }
}
