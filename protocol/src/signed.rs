//! The text form of what a launcher signs: `PAYLOAD.KEY.SIGNATURE`.
//!
//! PAYLOAD is the JSON in base64url without padding, KEY the signing key's id, SIGNATURE 64 bytes of
//! Ed25519 in base64url over `PURPOSE "." PAYLOAD`. This module splits and joins; who verifies brings
//! the cryptography.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// What a signature is good for; signed along, so that one kind never passes for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A monitor's right to a session's link.
    Credential,
    /// What a purged session comes back with.
    Snapshot,
    /// A monitor's right to its own incarnation.
    Resume,
    /// The launcher's proof that it is the one the monitor was started by.
    Proof,
    /// The launcher's word to a monitor that its session is over.
    Over,
    /// A browser's right to one application of a session.
    Pass,
    /// What the page shows beside its cookie where applications share its origin.
    Page,
}

impl Purpose {
    /// The word that is signed along.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "wharf-credential-1",
            Self::Snapshot => "wharf-snapshot-1",
            Self::Resume => "wharf-resume-1",
            Self::Proof => "wharf-proof-1",
            Self::Over => "wharf-over-1",
            Self::Pass => "wharf-pass-1",
            Self::Page => "wharf-page-1",
        }
    }
}

/// A signed text, taken apart and not yet verified.
#[derive(Debug, Clone)]
pub struct Signed {
    /// Exactly what the signature covers.
    pub message: Vec<u8>,
    /// The JSON.
    pub payload: Vec<u8>,
    /// The signing key's id.
    pub key: String,
    /// The signature.
    pub signature: [u8; 64],
}

/// A public signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPin {
    /// The key's id.
    pub id: String,
    /// 32 bytes of Ed25519 in base64url without padding.
    pub public: String,
}

/// What a signature has to cover for that purpose and payload.
pub fn message(purpose: Purpose, payload: &[u8]) -> Vec<u8> {
    format!("{}.{}", purpose.as_str(), URL_SAFE_NO_PAD.encode(payload)).into_bytes()
}

/// Joins the three parts.
pub fn join(payload: &[u8], key: &str, signature: &[u8; 64]) -> String {
    format!("{}.{key}.{}", URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(signature))
}

/// Takes a signed text apart; `None` when it is none.
pub fn split(purpose: Purpose, text: &str) -> Option<Signed> {
    let mut parts = text.split('.');
    let (payload, key, signature) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || key.is_empty() {
        return None;
    }
    Some(Signed {
        message: format!("{}.{payload}", purpose.as_str()).into_bytes(),
        payload: URL_SAFE_NO_PAD.decode(payload).ok()?,
        key: key.to_owned(),
        signature: URL_SAFE_NO_PAD.decode(signature).ok()?.try_into().ok()?,
    })
}

/// Writes bytes as base64url without padding.
pub fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads base64url without padding.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
