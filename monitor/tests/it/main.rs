//! The built monitor against a small launcher of the tests' own: what jobs and launchers see of it.
//!
//! [`place`] is the session's directory and the monitor's process, [`launcher`] the other end of its link. Each test
//! has its own of both, so that all may run at once.

#![allow(clippy::unwrap_used, reason = "test code: a failure is to stop the test")]
#![allow(unreachable_pub, reason = "one program, no library")]

mod endpoints;
mod ends;
mod execs;
mod launcher;
mod linking;
mod place;
mod starting;
mod viewing;
