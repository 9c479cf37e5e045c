//! Backends: typed drivers of what runs jobs, and the functions that hooks call.
//!
//! One module each. A backend never decides about sessions and stores nothing of the launcher's; templates' hooks
//! put its verbs together. Start with [`shell`], the smallest.

mod arguments;
pub mod docker;
pub mod shell;
pub mod slurm;
mod wire;
