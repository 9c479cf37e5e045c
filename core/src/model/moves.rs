//! Everything that can happen next in a world.
//!
//! A move is *fair* when it comes by itself if one only waits; crashes, faults and users are not.

use wharf_protocol::JobState;
use wharf_protocol::monitor::ExitReport;

use super::mirror::{crash, hook_error, purge, register, restart, turn};
use super::small::{Small, job_name, late, now};
use super::world::{Design, Does, Driver, HookProcess, Job, JobIs, Monitor, MonitorIs, Mutant, World};
use crate::hook::{Found, HookErrorKind, JobReport, Submitted};
use crate::state::{Due, Event};

/// One thing that happens.
#[derive(Debug)]
pub(super) struct Move {
    pub(super) words: String,
    pub(super) fair: bool,
    pub(super) next: World,
    /// It breaks a rule that its outcome alone does not show.
    pub(super) breach: Option<&'static str>,
}

impl Move {
    pub(super) fn fair(words: impl Into<String>, next: World) -> Self {
        Self { words: words.into(), fair: true, next, breach: None }
    }

    pub(super) fn unfair(words: impl Into<String>, next: World) -> Self {
        Self { words: words.into(), fair: false, next, breach: None }
    }
}

pub(super) fn say(event: &Event) -> String {
    let words = format!("{event:?}");
    words.split([' ', '{']).next().unwrap_or_default().to_owned()
}

fn unfair(moves: Vec<Move>) -> impl Iterator<Item = Move> {
    moves.into_iter().map(|made| Move { fair: false, ..made })
}

/// All of them.
pub(super) fn moves(world: &World, design: &Design) -> Vec<Move> {
    let mut out = Vec::new();
    if world.up {
        if world.left.crashes > 0 {
            out.push(Move::unfair("killed", crash(world.clone())));
        }
        users(world, design, &mut out);
        dues(world, design, &mut out);
        poll(world, &mut out);
    } else {
        out.extend(restart(world, design));
    }
    for at in 0..world.hooks.len() {
        hook(world, design, at, &mut out);
    }
    scheduler(world, design, &mut out);
    for at in 0..world.monitors.len() {
        monitor(world, design, at, &mut out);
    }
    out
}

fn is_live(world: &World) -> bool {
    world.driver.is_some() && world.kept.as_ref().is_some_and(|kept| !kept.is_ended())
}

fn users(world: &World, design: &Design, out: &mut Vec<Move>) {
    if world.left.terminates > 0 && is_live(world) {
        let mut next = world.clone();
        next.left.terminates -= 1;
        let event = Event::Terminate { by: "alice".to_owned(), grace: None };
        out.extend(unfair(turn(&next, design, &event, false)));
    }
    if world.left.purges > 0 {
        out.extend(purge(world, design));
    }
}

fn dues(world: &World, design: &Design, out: &mut Vec<Move>) {
    let Some(driver) = world.driver.as_ref().filter(|_| is_live(world)) else { return };
    for due in &driver.dues {
        // Weeks: nothing that is alive is still under way then.
        if *due == Due::Queue && (world.may_arrive() || world.alive().next().is_some()) {
            continue;
        }
        let mut next = world.clone();
        if let Some(driver) = &mut next.driver {
            driver.dues.remove(due);
        }
        for mut made in turn(&next, design, &Event::Due(*due), true) {
            made.words = format!("{due:?} {}", made.words);
            out.push(made);
        }
    }
}

/// The poller looks.
fn poll(world: &World, out: &mut Vec<Move>) {
    if !is_live(world) || world.hooks.iter().any(|hook| matches!(hook.does, Does::Status { .. })) {
        return;
    }
    let Some(kept) = &world.kept else { return };
    let asked = kept.is_running()
        || matches!(kept.at, super::small::Where::Pending { phase: wharf_protocol::Phase::Submitted, .. });
    let Some(known) = kept.job.as_ref().filter(|_| asked) else { return };
    let job = &world.jobs[usize::from(known.id)];
    let states: &[JobState] = match (job.is, job.shown) {
        (_, false) => &[JobState::Gone],
        (JobIs::Queued, true) => &[JobState::Queued],
        (JobIs::Running, true) => &[JobState::Running],
        (JobIs::Over, true) => &[JobState::Ended, JobState::Gone],
    };
    let look = |seen, fair: bool| {
        let mut next = world.clone();
        let does = Does::Status { job: known.id, seen, restarts: job.restarts, settled: world.settled() };
        next.hooks.push(HookProcess { orphan: false, does });
        next.left.faults -= u8::from(!fair);
        Move { words: format!("status looks: {seen:?}"), fair, next, breach: None }
    };
    out.extend(states.iter().map(|seen| look(*seen, true)));
    if world.left.faults > 0 {
        out.push(look(JobState::Unknown, false));
    }
}

/// The answer of a hook: its process ends.
fn answer(world: &World, design: &Design, at: usize, event: &Event, late: bool) -> Vec<Move> {
    let mut next = world.clone();
    let hook = next.hooks.remove(at);
    if let Some(driver) = &mut next.driver {
        match hook.does {
            Does::Submit { .. } => driver.submits = driver.submits.saturating_sub(1),
            Does::Find { .. } => driver.finding = false,
            Does::Terminate { wished: true, .. } => driver.terminating = false,
            Does::Terminate { .. } | Does::Status { .. } => {}
        }
    }
    turn(&next, design, event, late)
}

fn faulty(world: &World) -> World {
    let mut world = world.clone();
    world.left.faults -= 1;
    world
}

fn hook(world: &World, design: &Design, at: usize, out: &mut Vec<Move>) {
    let hook = &world.hooks[at];
    let can_fail = world.left.faults > 0 && !hook.orphan;
    match &hook.does {
        Does::Submit { attempt, sent, job } => submit(world, design, at, (*attempt, *sent, *job), out),
        Does::Find { found: None } => {
            let mut next = world.clone();
            let jobs = world.alive().filter(|id| world.jobs[usize::from(*id)].shown).collect();
            next.hooks[at].does = Does::Find { found: Some((jobs, world.settled())) };
            out.push(Move::fair("find looks", next));
        }
        Does::Find { found: Some((jobs, settled)) } => {
            let found = match jobs.as_slice() {
                [] => Found::No,
                some => Found::Jobs(some.iter().copied().map(job_name).collect()),
            };
            let event = |asked| Event::FindAnswered { asked, outcome: Ok(found.clone()) };
            out.extend(answer(world, design, at, &event(now()), false));
            if jobs.is_empty() && world.settled() {
                let asked = if *settled || design.is(Mutant::FindBelievedAtOnce) { late() } else { now() };
                out.extend(answer(world, design, at, &event(asked), true));
            }
            if can_fail {
                let event =
                    Event::FindAnswered { asked: now(), outcome: Err(hook_error(HookErrorKind::Timeout)) };
                out.extend(unfair(answer(&faulty(world), design, at, &event, false)));
            }
        }
        Does::Status { job, seen, restarts, settled } => {
            let report = JobReport { state: *seen, restarts: Some(*restarts), ..JobReport::default() };
            let event = |asked| Event::Reported { job: job_name(*job), asked, report: report.clone() };
            out.extend(answer(world, design, at, &event(now()), false));
            if world.settled() {
                let asked = if *settled || design.is(Mutant::GoneBelievedAtOnce) { late() } else { now() };
                out.extend(answer(world, design, at, &event(asked), true));
            }
        }
        Does::Terminate { mode, job, wished, done } => {
            let event = |outcome| Event::TerminateAnswered { mode: *mode, outcome };
            if !done {
                let mut next = world.clone();
                next.hooks[at].does = Does::Terminate { mode: *mode, job: *job, wished: *wished, done: true };
                let named: Vec<u8> = match job {
                    Some(id) => vec![*id],
                    None => world.alive().filter(|id| world.jobs[usize::from(*id)].shown).collect(),
                };
                named.iter().for_each(|id| next.kill(*id));
                if hook.orphan || !wished {
                    next.hooks.remove(at);
                }
                out.push(Move::fair(format!("a terminate hook ends {named:?}"), next));
            }
            if *wished && !hook.orphan {
                if *done {
                    out.extend(answer(world, design, at, &event(Ok(())), false));
                }
                if can_fail {
                    let no = event(Err(hook_error(HookErrorKind::Denied)));
                    out.extend(unfair(answer(&faulty(world), design, at, &no, false)));
                    // It says so, and nothing was done.
                    out.extend(unfair(answer(&faulty(world), design, at, &event(Ok(())), false)));
                }
            }
        }
    }
}

fn submit(
    world: &World,
    design: &Design,
    at: usize,
    (attempt, sent, job): (u32, bool, Option<u8>),
    out: &mut Vec<Move>,
) {
    let orphan = world.hooks[at].orphan;
    let can_fail = world.left.faults > 0 && !orphan;
    if !sent {
        let mut next = world.clone();
        next.flights.push(attempt);
        next.hooks[at].does = Does::Submit { attempt, sent: true, job };
        out.push(Move::fair("the submit hook asks the scheduler", next.clone()));
        if world.left.doubles > 0 {
            next.left.doubles -= 1;
            next.flights.push(attempt);
            out.push(Move::unfair("the submit hook asks the scheduler twice", next));
        }
    }
    if orphan {
        return;
    }
    let fails = |kind| Event::SubmitAnswered { attempt, outcome: Err(hook_error(kind)) };
    if let Some(job) = job {
        let submitted = Submitted { job_id: job_name(job), node: None, message: None, handle: None };
        let event = Event::SubmitAnswered { attempt, outcome: Ok(submitted) };
        out.extend(answer(world, design, at, &event, false));
    } else if sent && world.flights.is_empty() {
        // The request was lost: it waits in vain.
        out.extend(answer(world, design, at, &fails(HookErrorKind::Timeout), false));
    }
    if can_fail {
        let mut kinds = vec![HookErrorKind::Timeout];
        if !sent {
            kinds.extend([HookErrorKind::Invalid, HookErrorKind::Unavailable]);
        }
        for kind in kinds {
            out.extend(unfair(answer(&faulty(world), design, at, &fails(kind), false)));
        }
    }
}

fn scheduler(world: &World, design: &Design, out: &mut Vec<Move>) {
    if let Some(attempt) = world.flights.first().copied() {
        let mut next = world.clone();
        next.flights.remove(0);
        if world.left.faults > 0 {
            out.push(Move::unfair("the scheduler never gets it", faulty(&next)));
        }
        let id = u8::try_from(next.jobs.len()).expect("few jobs");
        next.jobs.push(Job { attempt, is: JobIs::Queued, restarts: 0, shown: false });
        for hook in &mut next.hooks {
            if let Does::Submit { attempt: of, sent: true, job: job @ None } = &mut hook.does
                && *of == attempt
            {
                *job = Some(id);
                break;
            }
        }
        out.push(Move::fair("the scheduler takes it", next));
    }
    for (at, job) in world.jobs.iter().enumerate() {
        let mut next = world.clone();
        if !job.shown {
            next.jobs[at].shown = true;
            out.push(Move::fair(format!("look-ups show job {at}"), next));
        }
        let mut next = world.clone();
        match job.is {
            JobIs::Queued => {
                next.jobs[at].is = JobIs::Running;
                next.monitors.push(Monitor {
                    job: u8::try_from(at).expect("few jobs"),
                    attempt: job.attempt,
                    restarts: job.restarts,
                    incarnation: None,
                    linked: false,
                    is: MonitorIs::Serving,
                });
                out.push(Move::fair(format!("job {at} starts"), next));
                if world.left.faults > 0 {
                    let mut next = faulty(world);
                    next.jobs[at].is = JobIs::Over;
                    out.push(Move::unfair(format!("job {at} is cancelled by its owner"), next));
                }
            }
            JobIs::Running if world.left.requeues > 0 && design.requeue => {
                next.left.requeues -= 1;
                next.jobs[at].is = JobIs::Queued;
                next.jobs[at].restarts += 1;
                out.push(Move::unfair(format!("job {at} is put back; its node lives on"), next.clone()));
                for monitor in next.monitors.iter_mut().filter(|monitor| usize::from(monitor.job) == at) {
                    monitor.is = MonitorIs::Gone;
                    monitor.linked = false;
                }
                out.push(Move::unfair(format!("job {at} is put back"), next));
            }
            JobIs::Running | JobIs::Over => {}
        }
    }
}

fn monitor(world: &World, design: &Design, at: usize, out: &mut Vec<Move>) {
    let monitor = &world.monitors[at];
    let served = world.driver.as_ref().is_some_and(|driver| driver.link == Some(at));
    if served && !monitor.linked {
        let mut next = world.clone();
        next.driver.as_mut().expect("served").link = None;
        out.extend(turn(&next, design, &Event::LinkLost, false));
    }
    if monitor.is == MonitorIs::Gone {
        return;
    }
    if !monitor.linked && world.up {
        out.extend(register(world, design, at));
    }
    if monitor.linked && world.left.drops > 0 {
        let mut next = world.clone();
        next.left.drops -= 1;
        next.monitors[at].linked = false;
        out.push(Move::unfair(format!("the link of monitor {at} breaks"), next));
    }
    match monitor.is {
        MonitorIs::Serving if world.left.exits > 0 => {
            for interrupted in [false, true] {
                let mut next = world.clone();
                next.left.exits -= 1;
                next.monitors[at].is = MonitorIs::Over { told: false, interrupted };
                out.push(Move::unfair(format!("the command of monitor {at} ends"), next));
            }
        }
        MonitorIs::Told => {
            let mut next = world.clone();
            next.monitors[at].is = MonitorIs::Over { told: true, interrupted: false };
            out.push(Move::fair(format!("monitor {at} ends its command"), next));
            if monitor.linked && served && !world.driver.as_ref().is_some_and(|driver| driver.acknowledged) {
                out.extend(turn(world, design, &Event::Acknowledged, false));
            }
        }
        MonitorIs::Over { told, interrupted } if monitor.linked && served => {
            let report = ExitReport {
                exit_code: (!told && !interrupted).then_some(0),
                signal: (told || interrupted).then_some(15),
                interrupted,
                stopped_by: told.then_some(wharf_protocol::StoppedBy::Signal),
                message: None,
                out_of_memory: false,
                orphaned: false,
                at: now(),
            };
            out.extend(turn(world, design, &Event::Exited(report), false));
        }
        MonitorIs::Serving | MonitorIs::Over { .. } | MonitorIs::Gone => {}
    }
}

/// A session that was just recorded and acknowledged, and nothing else.
pub(super) fn beginning(design: &Design) -> World {
    World {
        kept: Some(Small::of(super::mirror::pattern(design))),
        tombstone: false,
        up: false,
        driver: None::<Driver>,
        hooks: Vec::new(),
        flights: Vec::new(),
        jobs: Vec::new(),
        monitors: Vec::new(),
        left: design.left,
        wished: false,
        over: false,
    }
}
