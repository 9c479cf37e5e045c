//! A model checker: all that can happen around one session, in every order, with the real `step` and `fence` deciding.
//!
//! ```text
//! world ── every move: a hook asks, answers, fails; the scheduler takes, loses, starts, puts back; a monitor dials,
//!          reports, loses its link; a user terminates, purges; the launcher is killed between any two deeds ──▶ worlds
//! ```
//!
//! It sees every world that can be reached inside the bounds of a [`Design`], holds each move to [`rules`], and from
//! each world it asks for a way to a good end by waiting alone. A checker that finds nothing proves nothing:
//! so it has to find every [`Mutant`]. What it leaves out: bytes, templates, params and shares, more than one
//! session. `step` is the real one; [`mirror`] repeats in small what the driver does around it.

mod mirror;
mod moves;
mod rules;
mod search;
mod small;
mod tests;
mod world;
