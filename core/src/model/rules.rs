//! What has to hold in every world, and what every world has to be able to become.

use super::small::Where;
use super::world::{Design, MonitorIs, World};

/// The rule that a move breaks.
pub(super) fn breach(was: &World, is: &World, design: &Design) -> Option<&'static str> {
    if design.left.doubles == 0 && is.jobs.len() + is.flights.len() > 1 {
        return Some("a session is submitted once");
    }
    if is.over && is.kept.as_ref().is_some_and(|kept| !kept.is_ended()) {
        return Some("what is over stays over");
    }
    if is.wished && is.kept.as_ref().is_some_and(|kept| kept.wish.is_none() && !kept.is_ended()) {
        return Some("a wish to end it stays");
    }
    if let (Some(before), Some(now)) = (&was.kept, &is.kept) {
        let rank = |at: &Where| match at {
            Where::Pending { .. } => 0,
            Where::Running { .. } => 1,
            Where::Ended(_) => 2,
        };
        if rank(&now.at) < rank(&before.at) {
            return Some("never backwards");
        }
        if was.wished && rank(&before.at) == 0 && rank(&now.at) == 1 {
            return Some("what is to be ended never shows running");
        }
        if now.attempt < before.attempt || now.incarnation < before.incarnation {
            return Some("numbers only grow");
        }
    }
    if is.kept.is_none() && was.kept.is_some() && is.left.purges == was.left.purges {
        return Some("only a purge forgets");
    }
    let linked = || is.monitors.iter().enumerate().filter(|(_, monitor)| monitor.linked);
    for (at, monitor) in linked() {
        if is.kept.as_ref().is_none_or(super::small::Small::is_ended) {
            return Some("no connected monitor without a live record");
        }
        // A link that a crash is about to cut belongs to nobody.
        let Some(driver) = &is.driver else { continue };
        if driver.link != Some(at) {
            return Some("one monitor serves a session");
        }
        if is.wished && monitor.is == MonitorIs::Serving {
            return Some("after a terminate no monitor is welcomed");
        }
        if is.kept.as_ref().is_some_and(|kept| kept.incarnation != monitor.incarnation) {
            return Some("the newest monitor serves");
        }
    }
    None
}

/// Where a session may come to rest.
pub(super) fn is_good(world: &World, doubles: bool) -> bool {
    if !world.up || world.may_arrive() {
        return false;
    }
    let alive: Vec<u8> = world.alive().collect();
    let Some(kept) = &world.kept else { return alive.is_empty() };
    match kept.at {
        Where::Pending { .. } => false,
        Where::Ended(_) => alive.is_empty(),
        Where::Running { .. } => {
            let Some(at) = world.driver.as_ref().and_then(|driver| driver.link) else { return false };
            let monitor = &world.monitors[at];
            kept.wish.is_none()
                && monitor.linked
                && monitor.is == MonitorIs::Serving
                // One that a hook submitted against its contract waits at the door; it ends with the session.
                && (alive == [monitor.job] || (doubles && alive.contains(&monitor.job)))
                && kept.job.as_ref().is_some_and(|job| job.id == monitor.job)
        }
    }
}
