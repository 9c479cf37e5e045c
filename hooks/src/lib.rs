//! Templates and their hooks: loading, checking, and running them inside limits.
//!
//! ```text
//!            ┌ load: directory ─▶ findings, or a version ─ catalogue (core's `Catalog`)
//! Hooks ─────┤
//!            └ runtime: core's `HookRuntime` ─┬─ exec: programs ─┐
//!                                             └─ lua: scripts ───┴─▶ answer: one validator ─▶ the core
//! ```
//!
//! A hook is trusted to be well meant and nothing else: it may hang, flood, loop, eat memory, print rubbish and leave
//! processes behind, and nobody but its own session may notice. What it is asked and what it may answer is the same
//! for both kinds. This crate knows no scheduler and stores nothing but the marks of calls that run.
//!
//! Start reading at [`Hooks`], then `load`, then `exec` and `lua`.

mod answer;
pub mod bench;
mod blot;
mod builtin;
mod context;
mod exec;
mod load;
mod lua;
mod pool;
mod runtime;
mod stage;

pub use builtin::{BuiltinFile, builtin};
pub use runtime::{Hooks, HooksConfig, HooksError};
