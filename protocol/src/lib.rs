//! Everything that two Wharf programs must agree on: ids, the session object, API bodies,
//! error codes, and the words spoken on a monitor's link.
//!
//! This crate is a leaf: data and its text forms, no behaviour, no I/O, no cryptography. A field is
//! never removed and readers ignore fields they do not know, so that programs of two releases
//! understand each other.
//!
//! Read [`session`] first (what users see), then [`monitor`] (what a monitor and a launcher say to
//! each other) and [`error`] (every way to be refused).

pub mod api;
pub mod cgroup;
pub mod error;
pub mod id;
pub mod monitor;
pub mod over;
pub mod process;
pub mod session;
pub mod signed;
pub mod stream;
pub mod template;
pub mod time;

pub use error::{ErrorCode, FieldError, Problem};
pub use id::{SessionId, ShareId, TokenId, TraceId};
pub use session::{End, EndCause, Job, JobState, Link, Phase, Reason, Session, State, StoppedBy};
pub use stream::Notice;
pub use time::{Dur, InvalidDuration, Time};
