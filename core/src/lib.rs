//! The rules of Wharf and the launcher that applies them.
//!
//! ```text
//! who asks      server (HTTP, monitors' links) and cli ──▶ Launcher ──▶ one driver task per session
//! what decides  state::step — pure: (session, event, now) → (session, effects)
//! what is used  traits of all that is outside: Store, HookRuntime, Catalog, Backend, ControlLink, Clock
//! ```
//!
//! Nothing here knows HTTP, SQL, Lua, Docker, a terminal or `$HOME`. Start reading at [`record`], then `state`, then
//! `driver`.

mod actions;
pub mod actor;
pub mod admission;
pub mod backend;
mod breaker;
mod changes;
pub mod clock;
mod driver;
mod effects;
mod ending;
mod enrolment;
mod feed;
pub mod fence;
mod files;
pub mod filesystem;
pub mod hook;
mod inner;
pub mod keys;
mod last_words;
mod launcher;
mod leftover;
pub mod link;
mod listening;
#[cfg(all(test, feature = "testing"))]
mod model;
mod over;
pub mod params;
mod placing;
mod poller;
pub mod random;
pub mod record;
mod registry;
pub mod reports;
mod requests;
pub mod state;
pub mod store;
mod streams;
mod sweeper;
mod telling;
pub mod template;
#[cfg(feature = "testing")]
pub mod testing;

pub use actions::{HookLog, Passed};
pub use inner::{Parts, Settings};
pub use launcher::{
    Admitted, Entry, FeedItem, Figures, Launcher, LinkId, ListFilter, OpenError, Refusal, Started,
    Terminated, WaitFor,
};
