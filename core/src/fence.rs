//! The fence: which monitor may serve a session. Pure.
//!
//! The newest incarnation wins, an older one is told to end. A monitor that comes back proves with its resume token
//! that it is the one it was; one without it is either the first, or a restarted job, or a double.

use wharf_protocol::monitor::{Incarnation, LinkClaim, Resume};

use crate::record::{LinkState, Record};

/// The verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fence {
    /// It serves, as that life.
    Serve(Incarnation),
    /// The session is over, a newer one serves it, or its job is being ended because another one serves it.
    Over,
    /// One that looks just like it is connected: ask the scheduler which is the newer, and come again.
    Busy,
}

/// Decides. `resume` is what the claim's token says, its signature checked; `None` without a good one.
pub fn fence(record: &Record, link: LinkState, claim: &LinkClaim, resume: Option<&Resume>) -> Fence {
    let stray = claim.job_id.as_ref().is_some_and(|job| record.strays.contains(job));
    if record.is_ended() || claim.attempt < record.attempt || stray {
        return Fence::Over;
    }
    let known = record.incarnation;
    if let Some(resume) = resume.filter(|resume| resume.id == record.id && resume.nonce == claim.nonce) {
        return match known {
            Some(known) if resume.incarnation < known => Fence::Over,
            Some(_) | None => Fence::Serve(resume.incarnation),
        };
    }
    let Some(known) = known else {
        return Fence::Serve(Incarnation { attempt: claim.attempt, restarts: claim.restarts, number: 1 });
    };
    let next = |restarts| Incarnation { attempt: claim.attempt, restarts, number: known.number + 1 };
    match (claim.attempt, claim.restarts).cmp(&(known.attempt, known.restarts)) {
        std::cmp::Ordering::Less => Fence::Over,
        std::cmp::Ordering::Greater => Fence::Serve(next(claim.restarts)),
        std::cmp::Ordering::Equal => {
            let restarted = record.job.as_ref().map_or(0, |job| job.restarts);
            if link != LinkState::Connected || restarted > known.restarts {
                Fence::Serve(next(claim.restarts.max(restarted)))
            } else {
                Fence::Busy
            }
        }
    }
}
