//! Doubles for tests of this crate and of those that stand on it.

pub mod memory;
