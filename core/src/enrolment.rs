//! Enrolment: how a monitor gets its bootstrap where it has no file system in common with the launcher.
//!
//! ```text
//! submit ─ a line with a one-use secret ─▶ job script ─▶ monitor ─ secret and nonce ─▶ launcher
//!            (its hash is kept)                                                          │ first contact: bound to the nonce,
//!                                                                 bootstrap, proof ◀─────┘ written down, then answered
//! ```
//!
//! What a scheduler archives of the script is worth nothing once the monitor was there: the same nonce alone gets the same
//! answer again, and that has never left the monitor's memory but to the launcher. All of it lies in the session directory,
//! so that it holds for a session that was purged, and for a lost datastore.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sha2::Digest as _;
use wharf_protocol::monitor::{Enrolled, Enrolment, LinkClaim, PROTOCOL};
use wharf_protocol::signed::{self, KeyPin, Purpose};

use crate::files::Spent;
use crate::inner::Inner;
use crate::launcher::{Launcher, Refusal};
use crate::record::Record;

/// A nonce is at most so long.
const MAX_NONCE: usize = 64;

fn hash(secret: &str) -> String {
    signed::encode(&sha2::Sha256::digest(secret))
}

/// Makes a secret for the record's present attempt; the line that its job's script says.
pub(crate) fn offer(inner: &Inner, record: &Record, keys: Vec<KeyPin>) -> io::Result<String> {
    let secret = signed::encode(&crate::random::bytes::<32>());
    inner.data.write_enrolment(&record.id, hash(&secret))?;
    let enrolment = Enrolment {
        version: PROTOCOL,
        addresses: inner.addresses.iter().filter(|address| address.starts_with("http")).cloned().collect(),
        session: record.id.clone(),
        attempt: record.attempt,
        secret,
        keys,
    };
    Ok(signed::encode(&serde_json::to_vec(&enrolment).map_err(io::Error::other)?))
}

impl Launcher {
    /// Spends a one-use secret for the monitor of that claim's nonce.
    ///
    /// # Errors
    /// `Unauthorized` for a wrong or spent one; as for a credential otherwise.
    pub async fn enrol(&self, secret: &str, claim: &LinkClaim) -> Result<Enrolled, Refusal> {
        let id = claim.session.clone();
        if claim.nonce.is_empty() || claim.nonce.len() > MAX_NONCE {
            return Err(Refusal::Unauthorized);
        }
        let (inner, nonce, wanted) = (Arc::clone(&self.inner), claim.nonce.clone(), hash(secret));
        // Whoever does not know the secret learns nothing of the session.
        let spent = tokio::task::spawn_blocking({
            let id = id.clone();
            move || inner.data.enrol(&id, &wanted, &nonce)
        });
        let later = |why: String| Refusal::Later(Duration::from_secs(5), why);
        let bootstrap = match spent.await {
            Ok(Ok(Some(Spent::On(bootstrap)))) => *bootstrap,
            Ok(Ok(Some(Spent::Over))) => return Err(Refusal::Over("the session is over".to_owned())),
            Ok(Ok(None)) => return Err(Refusal::Unauthorized),
            Ok(Err(error)) => return Err(later(error.to_string())),
            Err(_) => return Err(later("the enrolment broke off".to_owned())),
        };
        self.may_still_begin(&id).await?;
        Ok(Enrolled {
            bootstrap,
            addresses: self.inner.addresses.clone(),
            proof: self.inner.keys().sign_as_known(Purpose::Proof, &claim.nonce),
        })
    }
}
