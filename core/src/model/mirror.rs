//! What the driver and its effects do around `step`, in small: decide, write down, act, with a crash between any two.
//!
//! The deciding is the real thing: `step`, `fence`, `purge_changes`. Mirrors `driver.rs`, `effects.rs` and
//! `actions/monitors.rs`; change it with them.

use std::sync::OnceLock;
use wharf_protocol::Time;

use wharf_protocol::monitor::{Incarnation, LinkClaim, Resume};

use super::moves::{Move, say};
use super::small::{KnownJob, Small, Where, job_name, job_number, late, now};
use super::world::{Design, Does, Driver, HookProcess, MonitorIs, Mutant, World};
use crate::fence::{Fence, fence};
use crate::hook::{HookError, HookErrorKind};
use crate::record::{LinkState, Record};
use crate::state::{Effect, Event, Session, Step, step};
use crate::testing::store::record;

/// The record that all records of a world are like.
pub(super) fn pattern(design: &Design) -> &'static Record {
    static PATTERNS: [OnceLock<Record>; 4] = [const { OnceLock::new() }; 4];
    let at = usize::from(design.find) + 2 * usize::from(design.requeue);
    PATTERNS[at].get_or_init(|| {
        let mut record = record(1);
        record.created_at = now();
        record.tags.clear();
        record.command.clear();
        record.rules.find = design.find;
        record.rules.requeue = design.requeue;
        record
    })
}

fn link_state(driver: &Driver) -> LinkState {
    match (driver.connected, driver.lost) {
        (true, _) => LinkState::Connected,
        (false, true) => LinkState::Lost { since: now() },
        (false, false) => LinkState::None,
    }
}

/// Asks `step`, or what a mutant has made of it.
fn decide(world: &World, design: &Design, event: &Event, is_late: bool) -> Step {
    let driver = world.driver.as_ref().expect("events go to a driver");
    let kept = world.kept.as_ref().expect("a driver has a record");
    let mut session = Session {
        record: kept.record(pattern(design)),
        link: link_state(driver),
        acknowledged: driver.acknowledged,
        boot: Time::from_millis(0),
        linked: driver.linked,
    };
    let mut event = event.clone();
    match &mut event {
        Event::SubmitAnswered { outcome: Err(error), .. }
            if design.is(Mutant::ResubmitUnknown) && error.kind == HookErrorKind::Timeout =>
        {
            error.kind = HookErrorKind::Unavailable;
        }
        Event::Resume if design.is(Mutant::ResubmitAfterCrash) => {
            if let Where::Pending { phase: wharf_protocol::Phase::Submitting, .. } = kept.at {
                let recorded = Where::Pending {
                    phase: wharf_protocol::Phase::Recorded,
                    retry: false,
                    retries: 0,
                    doubt: false,
                };
                session.record = Small { at: recorded, ..kept.clone() }.record(pattern(design));
            }
        }
        Event::Registered { .. } if design.is(Mutant::TerminateNotSticky) => session.record.wish = None,
        Event::Reported { report, .. }
            if design.is(Mutant::CannotTellIsGone) && report.state == wharf_protocol::JobState::Unknown =>
        {
            report.state = wharf_protocol::JobState::Gone;
        }
        _ => {}
    }
    step(&session, &event, if is_late { late() } else { now() })
}

/// A turn of the driver, and that turn cut short by a crash after any of its deeds.
pub(super) fn turn(world: &World, design: &Design, event: &Event, is_late: bool) -> Vec<Move> {
    let what = said(event);
    let Some(driver) = &world.driver else { return vec![Move::fair(what, world.clone())] };
    debug_assert!(driver.submits < 8, "few hooks");
    let step = decide(world, design, event, is_late);
    let mut written = world.clone();
    let small = Small::of(&step.session.record);
    let given_up = small.is_ended()
        && !world.kept.as_ref().is_some_and(Small::is_ended)
        && matches!(event, Event::FindAnswered { .. } | Event::Reported { .. })
        && small.wish.is_none()
        && (world.may_arrive() || world.alive().next().is_some());
    written.wished |= small.wish.is_some();
    written.over |= small.is_ended();
    written.kept = Some(small);
    let mut moves = Vec::new();
    if world.left.crashes > 0 {
        let write_first = !design.is(Mutant::DoThenWrite);
        for done in 0..=step.effects.len() {
            let mut cut = if write_first { written.clone() } else { world.clone() };
            remember(&mut cut, &step);
            act(&mut cut, &step.effects[..done]);
            let words = format!(
                "{what}; killed after {} and {done} of its effects",
                if write_first { "writing" } else { "not writing" }
            );
            moves.push(Move { words, fair: false, next: crash(cut), breach: None });
        }
    }
    remember(&mut written, &step);
    act(&mut written, &step.effects);
    // Ended and nothing to wait for: the driver goes.
    let ended = written.kept.as_ref().is_some_and(Small::is_ended);
    if ended && written.driver.as_ref().is_some_and(|driver| driver.submits == 0) {
        written.driver = None;
    }
    let breach = given_up.then_some("nobody is given up whose job is there");
    moves.push(Move { words: what, fair: true, next: written, breach });
    moves
}

fn said(event: &Event) -> String {
    match event {
        Event::FindAnswered { outcome: Ok(found), .. } => format!("find says {found:?}"),
        Event::Reported { report, .. } => format!("status says {:?}", report.state),
        Event::SubmitAnswered { outcome, .. } => match outcome {
            Ok(submitted) => format!("submit says {}", submitted.job_id),
            Err(error) => format!("submit fails: {:?}", error.kind),
        },
        Event::TerminateAnswered { outcome, .. } => {
            format!("terminate hook says {}", if outcome.is_ok() { "done" } else { "no" })
        }
        other => say(other),
    }
}

fn remember(world: &mut World, step: &Step) {
    let Some(driver) = &mut world.driver else { return };
    driver.connected = step.session.link == LinkState::Connected;
    driver.lost = matches!(step.session.link, LinkState::Lost { .. });
    driver.acknowledged = step.session.acknowledged;
    driver.linked = step.session.linked;
}

/// As `Driver::act`.
fn act(world: &mut World, effects: &[Effect]) {
    let wished_job = world.kept.as_ref().and_then(|kept| kept.job.as_ref()).map(|job| job.id);
    for effect in effects {
        let Some(driver) = &mut world.driver else { return };
        let start = |does| HookProcess { orphan: false, does };
        match effect {
            Effect::Submit { attempt } => {
                driver.submits += 1;
                world.hooks.push(start(Does::Submit { attempt: *attempt, sent: false, job: None }));
            }
            Effect::Find if !driver.finding => {
                driver.finding = true;
                world.hooks.push(start(Does::Find { found: None }));
            }
            Effect::Terminate { mode } if !driver.terminating => {
                driver.terminating = true;
                let does = Does::Terminate { mode: *mode, job: wished_job, wished: true, done: false };
                world.hooks.push(start(does));
            }
            Effect::EndStray { job, .. } => {
                let job = Some(job_number(job));
                let mode = crate::state::Mode::Kill;
                world.hooks.push(start(Does::Terminate { mode, job, wished: false, done: false }));
            }
            Effect::OrderEnd { .. } => {
                if let Some(monitor) = driver.link.map(|at| &mut world.monitors[at])
                    && monitor.linked
                    && monitor.is == MonitorIs::Serving
                {
                    monitor.is = MonitorIs::Told;
                }
            }
            Effect::ReleaseMonitor => {
                if let Some(at) = driver.link.take()
                    && world.monitors[at].linked
                {
                    world.bury(at);
                }
            }
            Effect::CloseLink => {
                if let Some(at) = driver.link.take() {
                    world.monitors[at].linked = false;
                }
            }
            Effect::Wake { due, .. } => {
                driver.dues.insert(*due);
            }
            Effect::Find
            | Effect::Terminate { .. }
            | Effect::Prepare
            | Effect::CancelPrepare
            | Effect::PushSnapshot
            | Effect::AskStatus
            | Effect::AskStatusLater
            | Effect::Tell(_)
            | Effect::ReviewStreams
            | Effect::Notify(_) => {}
        }
    }
}

/// Killed: memory is gone, hooks' processes are not.
pub(super) fn crash(mut world: World) -> World {
    world.left.crashes -= 1;
    world.up = false;
    world.driver = None;
    for hook in &mut world.hooks {
        hook.orphan = true;
    }
    for monitor in &mut world.monitors {
        monitor.linked = false;
    }
    // A process that only reads does no harm, and its answer reaches nobody.
    world.hooks.retain(|hook| matches!(hook.does, Does::Submit { .. } | Does::Terminate { done: false, .. }));
    world
}

/// As `Launcher::open`.
pub(super) fn restart(world: &World, design: &Design) -> Vec<Move> {
    let mut next = world.clone();
    if !design.is(Mutant::LeftoversLive) {
        next.hooks.clear();
    }
    next.up = true;
    if next.kept.as_ref().is_some_and(|kept| !kept.is_ended()) {
        next.driver = Some(Driver::default());
        turn(&next, design, &Event::Resume, false)
    } else {
        vec![Move::fair("the launcher starts", next)]
    }
}

/// As `Launcher::admit`, `register`, `reappear` and `Driver::register`.
pub(super) fn register(world: &World, design: &Design, at: usize) -> Vec<Move> {
    let monitor = &world.monitors[at];
    let refused = |world: &World| {
        let mut next = world.clone();
        next.bury(at);
        vec![Move::fair(format!("monitor {at} dials and is told to end"), next)]
    };
    let mut next = world.clone();
    let mut moves = Vec::new();
    match &world.kept {
        Some(kept) if kept.is_ended() && !design.is(Mutant::EndedNotFinal) => return refused(world),
        Some(_) => {}
        None if world.tombstone => return refused(world),
        None => {
            // As `from_snapshot`.
            next.kept = Some(Small {
                at: Where::Running { interrupted: false },
                wish: None,
                attempt: monitor.attempt,
                job: Some(KnownJob::seen(monitor.job, monitor.restarts)),
                strays: Vec::new(),
                incarnation: None,
            });
            if next.left.crashes > 0 {
                let words = format!("monitor {at} brings it back; killed then");
                moves.push(Move::unfair(words, crash(next.clone())));
            }
            next.driver = Some(Driver::default());
        }
    }
    if design.is(Mutant::EndedNotFinal)
        && let Some(kept) = &mut next.kept
        && kept.is_ended()
    {
        kept.at = Where::Running { interrupted: false };
    }
    let driver = next.driver.get_or_insert_default();
    let mut record = next.kept.as_ref().expect("just made sure").record(pattern(design));
    if design.is(Mutant::StraysWelcome) {
        record.strays.clear();
    }
    let claim = LinkClaim {
        protocol: 1,
        session: record.id.clone(),
        attempt: monitor.attempt,
        restarts: monitor.restarts,
        number: monitor.incarnation.map(|life| life.number),
        resume: None,
        nonce: at.to_string(),
        job_id: Some(job_name(monitor.job)),
    };
    let resume = monitor.incarnation.map(|incarnation| Resume {
        id: record.id.clone(),
        incarnation,
        nonce: at.to_string(),
    });
    let verdict = if design.is(Mutant::NoFence) {
        let number = record.incarnation.map_or(1, |known| known.number + 1);
        Fence::Serve(monitor.incarnation.unwrap_or(Incarnation {
            attempt: monitor.attempt,
            restarts: monitor.restarts,
            number,
        }))
    } else {
        fence(&record, link_state(driver), &claim, resume.as_ref())
    };
    let incarnation = match verdict {
        Fence::Serve(incarnation) => incarnation,
        Fence::Over => return refused(&next),
        Fence::Busy => return Vec::new(),
    };
    let same = record.incarnation == Some(incarnation);
    let old = driver.link.replace(at);
    let event = Event::Registered { incarnation, job: claim.job_id };
    let mut turns = turn(&next, design, &event, false);
    for made in &mut turns {
        made.words = format!("monitor {at}: {}", made.words);
        if let Some(old) = old.filter(|old| *old != at && made.next.up) {
            if same || design.is(Mutant::OlderNotTold) {
                made.next.monitors[old].linked = design.is(Mutant::OlderNotTold);
            } else {
                made.next.bury(old);
            }
        }
        if made.next.up && made.next.driver.as_ref().is_some_and(|driver| driver.link == Some(at)) {
            let monitor = &mut made.next.monitors[at];
            monitor.incarnation = Some(incarnation);
            monitor.linked = true;
        }
    }
    // The welcome carries the order to end.
    let step = decide(&next, design, &event, false);
    if step.effects.iter().any(|effect| matches!(effect, Effect::OrderEnd { .. })) {
        for made in turns.iter_mut().filter(|made| made.next.up) {
            let monitor = &mut made.next.monitors[at];
            if monitor.is == MonitorIs::Serving {
                monitor.is = MonitorIs::Told;
            }
        }
    }
    moves.extend(turns);
    moves
}

/// As `Launcher::purge` and `Driver::purge`.
pub(super) fn purge(world: &World, design: &Design) -> Option<Move> {
    let kept = world.kept.as_ref()?;
    let mut next = world.clone();
    next.left.purges -= 1;
    let linked =
        world.driver.as_ref().and_then(|driver| driver.link).is_some_and(|at| world.monitors[at].linked);
    if kept.is_running() && linked {
        if next.left.faults == 0 {
            return Some(Move::unfair("a purge is refused: the monitor answers", next));
        }
        // A stopped monitor does not answer, though its link is there.
        next.left.faults -= 1;
    }
    let changes = crate::changes::purge_changes(&kept.record(pattern(design)), now());
    let over = changes
        .iter()
        .any(|change| matches!(change, crate::store::Change::Tombstone(tombstone) if tombstone.over));
    next.tombstone |= over && !design.is(Mutant::NoTombstone);
    next.kept = None;
    if let Some(at) = next.driver.take().and_then(|driver| driver.link)
        && !design.is(Mutant::PurgeKeepsLink)
    {
        next.monitors[at].linked = false;
    }
    Some(Move::unfair("purged", next))
}

pub(super) fn hook_error(kind: HookErrorKind) -> HookError {
    HookError::new(kind, "no")
}
