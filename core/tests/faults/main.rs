//! Every deed of a session's whole life, and each thing that can go wrong with it, through the real driver.
//!
//! A deed is a hook's run or a commit. A first life counts them; then, for each deed and each [`Fault`], the life is
//! lived again with that fault in it. A launcher that is killed loses its runtime with all its tasks, and the next one
//! opens over the same datastore and the same world. Time passes only when all wait for it.

mod life;
mod parts;
mod world;

use life::{How, Script, live};
use world::Fault;

/// Lives the whole life with every fault at every deed.
fn sweep(script: Script) {
    let calm = live(script, None);
    assert_eq!(calm.complaint, None, "without a fault: {calm:?}");
    let deeds = calm.deeds.len();
    assert!(deeds > 5, "{:?}", calm.deeds);
    let mut complaints = Vec::new();
    for at in 0..deeds {
        for fault in Fault::ALL {
            let deed = calm.deeds[at].as_str();
            let sensible = match fault {
                Fault::Twice => matches!(deed, "prepare" | "find" | "status" | "terminate"),
                // A datastore that says no has not written.
                Fault::Unheard => deed != "commit",
                Fault::KilledAndDone => deed == "submit",
                Fault::Undone | Fault::Refused | Fault::KilledBefore | Fault::KilledAfter => true,
            };
            if !sensible {
                continue;
            }
            let lived = live(script, Some((at, fault)));
            if let Some(complaint) = &lived.complaint {
                complaints.push(format!("{deed} (deed {at}) {fault:?}: {complaint}\n    {lived:?}"));
            }
        }
    }
    assert!(complaints.is_empty(), "{} of them:\n  {}", complaints.len(), complaints.join("\n  "));
}

#[test]
fn a_session_that_runs_and_is_ended() {
    sweep(Script::new(How::Running));
}

#[test]
fn a_session_that_is_ended_in_the_queue() {
    sweep(Script::new(How::Queued));
}

#[test]
fn a_session_that_nobody_can_look_up() {
    sweep(Script { find: false, ..Script::new(How::Running) });
}

#[test]
fn a_session_that_is_prepared_first() {
    sweep(Script { prepare: true, ..Script::new(How::Queued) });
}

#[test]
fn a_session_whose_monitor_falls_silent() {
    sweep(Script::new(How::Silent));
}

#[test]
fn a_session_that_is_purged_and_comes_back() {
    sweep(Script::new(How::Purged));
}
