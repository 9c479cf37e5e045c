//! Where Wharf keeps its records: SQLite in the data directory, and the lock that keeps a second launcher out.
//!
//! Must not know any rule about states: it stores what [`wharf_core::store::Store`] is told, all or nothing. Read
//! [`SqliteStore`] first, then [`Ownership`].

mod owner;
mod sqlite;

pub use owner::{Owner, OwnerError, Ownership};
pub use sqlite::{SqliteStore, backup_file};
