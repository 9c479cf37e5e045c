//! Whether who answered holds the launcher's key: nobody else is obeyed.

use ed25519_dalek::{Signature, VerifyingKey};
use wharf_protocol::signed::{self, KeyPin, Purpose};

/// Whether one of those keys has signed that text for that purpose; its payload.
pub(super) fn verify(purpose: Purpose, text: &str, keys: &[KeyPin]) -> Option<Vec<u8>> {
    let parts = signed::split(purpose, text)?;
    let pin = keys.iter().find(|pin| pin.id == parts.key)?;
    let public: [u8; 32] = signed::decode(&pin.public)?.try_into().ok()?;
    let public = VerifyingKey::from_bytes(&public).ok()?;
    public.verify_strict(&parts.message, &Signature::from_bytes(&parts.signature)).ok()?;
    Some(parts.payload)
}

/// Whether that is the proof for our nonce.
pub(super) fn is_proof(text: &str, nonce: &str, keys: &[KeyPin]) -> bool {
    is_signed(Purpose::Proof, text, nonce, keys)
}

/// Whether that is the launcher's word that the session of our nonce is over.
pub(super) fn is_over(text: &str, nonce: &str, keys: &[KeyPin]) -> bool {
    is_signed(Purpose::Over, text, nonce, keys)
}

fn is_signed(purpose: Purpose, text: &str, nonce: &str, keys: &[KeyPin]) -> bool {
    verify(purpose, text, keys)
        .and_then(|payload| serde_json::from_slice::<String>(&payload).ok())
        .is_some_and(|signed| signed == nonce)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;

    #[test]
    fn only_a_pinned_key_and_our_own_nonce_count() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let pin = KeyPin { id: "k".to_owned(), public: signed::encode(key.verifying_key().as_bytes()) };
        let sign = |purpose, text: &str| {
            let payload = serde_json::to_vec(text).unwrap();
            signed::join(&payload, "k", &key.sign(&signed::message(purpose, &payload)).to_bytes())
        };
        let good = sign(Purpose::Proof, "nonce");
        assert!(is_proof(&good, "nonce", std::slice::from_ref(&pin)));
        assert!(!is_proof(&good, "another", std::slice::from_ref(&pin)));
        assert!(!is_proof(&sign(Purpose::Resume, "nonce"), "nonce", std::slice::from_ref(&pin)));
        let other = SigningKey::from_bytes(&[8; 32]);
        let stranger =
            KeyPin { id: "k".to_owned(), public: signed::encode(other.verifying_key().as_bytes()) };
        assert!(!is_proof(&good, "nonce", &[stranger]));
    }
}
