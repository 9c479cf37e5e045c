//! Randomness from the operating system: ids, secrets.

use wharf_protocol::id::ENTROPY;

/// Random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // Without randomness no id is unique and no secret is one: there is no going on.
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// Random bytes for an id.
pub fn id() -> [u8; ENTROPY] {
    bytes()
}

/// A new secret of 256 bits with a prefix that secret scanners can know.
pub fn secret(prefix: &str) -> String {
    format!("{prefix}_{}", wharf_protocol::signed::encode(&bytes::<32>()))
}

/// SHA-256 of a secret: all that is ever stored of one.
pub fn hash(secret: &str) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(secret.as_bytes()).into()
}
