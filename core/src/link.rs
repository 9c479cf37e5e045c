//! A monitor's link as the core sees it: a way to say something, to ask whether anybody is there, and to hang up.
//!
//! The transport is the server's (`wharf-server`'s gateway over `wharf-link`); users' streams never pass through the core.

use std::time::Duration;

use async_trait::async_trait;
use wharf_protocol::api::LogStream;
use wharf_protocol::monitor::LauncherSays;

/// One live connection of one monitor.
#[async_trait]
pub trait ControlLink: std::fmt::Debug + Send + Sync {
    /// Queues a message; never blocks. A link that cannot keep up is closed.
    fn say(&self, what: LauncherSays);
    /// A round trip to the monitor within the time given.
    async fn ping(&self, within: Duration) -> bool;
    /// The command's kept output, at most `limit` bytes; `None` when it could not be had in time.
    async fn logs(&self, stream: LogStream, limit: usize, within: Duration) -> Option<Vec<u8>>;
    /// Says what is queued and hangs up.
    fn close(&self);
}
