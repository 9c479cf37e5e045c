//! What stands in place of a bootstrap file once its session is over. Not what a launcher says on a link: see `monitor`.

use serde::{Deserialize, Serialize};

use crate::id::SessionId;
use crate::monitor::PROTOCOL;

/// What is left of the bootstrap file of a session that is over: a monitor that comes late ends at once and runs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Over {
    /// [`PROTOCOL`].
    pub version: u32,
    /// The session.
    pub session: SessionId,
    /// Always `true`: what tells it from a [`Bootstrap`](crate::monitor::Bootstrap).
    pub over: bool,
}

impl Over {
    /// Of that session.
    pub fn of(session: &SessionId) -> Self {
        Self { version: PROTOCOL, session: session.clone(), over: true }
    }

    /// Whether that is what a file says.
    pub fn is(file: &[u8]) -> bool {
        serde_json::from_slice::<Self>(file).is_ok_and(|read| read.over)
    }
}
