//! The server over the real core with a store in memory: what clients and monitors see on the wire.
//!
//! No hook and no monitor program runs here: [`launcher`] answers for the former, [`monitor`] for the latter.

#![allow(clippy::unwrap_used, reason = "test code: a failure is to stop the test")]
#![allow(unreachable_pub, reason = "one program, no library")]

mod describe;
mod events;
mod gateway;
mod http;
mod launcher;
mod lives;
mod monitor;
mod refusals;
mod streams;
