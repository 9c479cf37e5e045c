//! Every cell of the tables.
