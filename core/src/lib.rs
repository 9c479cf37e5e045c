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

pub mod backend;
pub mod clock;
pub mod hook;
pub mod link;
pub mod record;
pub mod store;
pub mod template;
