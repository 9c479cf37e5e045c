//! What is explored, and what has to be found.

use super::moves::beginning;
use super::search::{Explored, Found, explore};
use super::world::{Design, Left, Mutant};

const CALM: Left =
    Left { crashes: 0, faults: 0, doubles: 0, requeues: 0, drops: 0, exits: 0, terminates: 0, purges: 0 };

fn design(left: Left) -> Design {
    Design { mutant: None, find: true, requeue: left.requeues > 0, left }
}

fn check(design: &Design) -> Result<Explored, Box<Found>> {
    explore(beginning(design), design)
}

fn holds(design: &Design) {
    match check(design) {
        Ok(explored) => {
            assert!(explored.worlds > 100, "only {} worlds", explored.worlds);
        }
        Err(found) => panic!("{}:\n  {}\n{:#?}", found.rule, found.path.join("\n  "), found.last),
    }
}

#[test]
fn a_submit_whose_answer_is_lost() {
    holds(&design(Left { crashes: 2, faults: 2, ..CALM }));
}

#[test]
fn the_same_where_nobody_can_look_it_up() {
    holds(&Design { find: false, ..design(Left { crashes: 1, faults: 1, terminates: 1, ..CALM }) });
}

#[test]
fn an_end_on_demand() {
    holds(&design(Left { crashes: 1, faults: 1, terminates: 1, ..CALM }));
}

#[test]
fn a_purge_and_a_return() {
    holds(&design(Left { crashes: 1, purges: 2, terminates: 1, ..CALM }));
    holds(&design(Left { faults: 1, purges: 1, terminates: 1, ..CALM }));
}

#[test]
fn links_that_break_and_commands_that_end() {
    holds(&design(Left { drops: 1, exits: 1, terminates: 1, ..CALM }));
    holds(&design(Left { crashes: 1, exits: 1, ..CALM }));
}

#[test]
fn a_job_that_is_put_back() {
    holds(&design(Left { crashes: 1, requeues: 1, ..CALM }));
    holds(&design(Left { requeues: 2, ..CALM }));
    holds(&design(Left { requeues: 1, terminates: 1, ..CALM }));
    holds(&design(Left { crashes: 1, requeues: 1, exits: 1, ..CALM }));
    holds(&design(Left { crashes: 1, requeues: 1, drops: 1, ..CALM }));
    holds(&design(Left { requeues: 1, purges: 2, ..CALM }));
}

#[test]
fn a_hook_that_submits_twice() {
    holds(&design(Left { crashes: 1, doubles: 1, ..CALM }));
    holds(&design(Left { doubles: 1, exits: 1, ..CALM }));
}

#[test]
fn every_mutant_is_found() {
    let crash = Left { crashes: 1, faults: 1, ..CALM };
    let user = Left { faults: 1, terminates: 1, purges: 1, ..CALM };
    let requeue = Left { requeues: 1, drops: 1, ..CALM };
    for (mutant, left) in [
        (Mutant::DoThenWrite, crash),
        (Mutant::ResubmitUnknown, crash),
        (Mutant::ResubmitAfterCrash, crash),
        (Mutant::LeftoversLive, crash),
        (Mutant::FindBelievedAtOnce, crash),
        (Mutant::GoneBelievedAtOnce, crash),
        (Mutant::CannotTellIsGone, crash),
        (Mutant::NoFence, requeue),
        (Mutant::OlderNotTold, requeue),
        (Mutant::TerminateNotSticky, user),
        (Mutant::EndedNotFinal, user),
        (Mutant::NoTombstone, user),
        (Mutant::PurgeKeepsLink, user),
        (Mutant::StraysWelcome, Left { doubles: 1, crashes: 1, ..CALM }),
    ] {
        let found = check(&Design { mutant: Some(mutant), ..design(left) });
        match found {
            Ok(explored) => panic!("{mutant:?} was not found in {} worlds", explored.worlds),
            Err(found) => {
                assert!(found.path.len() <= 16, "{mutant:?}: {:#?}", found.path);
            }
        }
    }
}
