//! A monitor's link: many independent streams over one WebSocket, and the frames that travel on each.
//!
//! ```text
//! Frame (Control | Data) ─ frame ─▶ yamux stream ─ mux ─▶ bytes ─ ws ─▶ binary WebSocket messages
//! ```
//!
//! Credit is per stream: who does not read stalls only that stream. Everything is capped, and what breaks a rule ends
//! that link only. Used by server and monitor; must know nothing of sessions.

pub mod frame;
pub mod mux;
pub mod tunnel;
pub mod ws;

pub use frame::{Frame, FrameError};
pub use mux::{Acceptor, LinkError, LinkReader, LinkStream, LinkWriter, Opener};
pub use tunnel::TunnelIo;
