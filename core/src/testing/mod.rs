//! Doubles for tests of this crate and of those that stand on it, and the suites that implementations are held to.

#![allow(clippy::unwrap_used, reason = "test code: a failure is to stop the test")]

pub mod memory;
pub mod store;
