//! `docs/lifecycle.md`, made by asking the real `step` in every cell: what each event does in each state.
//!
//! `WHARF_UPDATE=1 cargo test -p wharf-core --features testing lifecycle` writes it again. No word about behaviour
//! is kept by hand here: what is written is only what the cells are called.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use wharf_protocol::JobState;

use super::tests::*;
use super::*;
use crate::hook::HookErrorKind;

const BEGIN: &str = "<!-- generated from core/src/state: begin -->\n";
const END: &str = "<!-- generated from core/src/state: end -->\n";

/// Late enough for every deadline but `timeouts.queue`.
const LATE: i64 = 100_000;
/// Late enough for that too.
const LATEST: i64 = 1_000_000;

fn states() -> Vec<(&'static str, Session)> {
    let prepared = |mut session: Session| {
        session.record.rules.prepare = true;
        session
    };
    let requeued = |mut session: Session| {
        session.record.rules.requeue = true;
        session
    };
    let running = [RESUME, submitted("j1"), registered(1)];
    let lost = follow(requeued(session()), &running).0;
    vec![
        ("recorded", session()),
        ("preparing", follow(prepared(session()), &[RESUME]).0),
        ("submitting", after(&[RESUME]).0),
        ("submitting, to be ended", after(&[RESUME, terminate()]).0),
        ("unknown", after(&[RESUME, refused(HookErrorKind::Timeout)]).0),
        ("unknown, to be ended", after(&[RESUME, refused(HookErrorKind::Timeout), terminate()]).0),
        ("submitted", after(&[RESUME, submitted("j1")]).0),
        ("submitted, its job running", after(&[RESUME, submitted("j1"), reported(JobState::Running)]).0),
        ("submitted, to be ended", after(&[RESUME, submitted("j1"), terminate()]).0),
        ("running, link connected", after(&running).0),
        ("running, link connected, to be ended", follow(after(&running).0, &[terminate()]).0),
        ("running, link lost", follow(lost.clone(), &[Event::LinkLost]).0),
        ("running, link lost, to be ended", follow(lost.clone(), &[Event::LinkLost, terminate()]).0),
        ("running, interrupted", follow(lost, &[exit(None, Some(15), true, None)]).0),
        ("ended", follow(after(&running).0, &[exit(Some(0), None, false, None)]).0),
    ]
}

fn events() -> Vec<(&'static str, Event)> {
    let error = |kind| HookError::new(kind, "no");
    vec![
        ("the launcher starts (for `recorded`: the start itself)", RESUME),
        ("prepare: done", Event::Prepared(Ok(()))),
        ("prepare: failed", Event::Prepared(Err(error(HookErrorKind::Internal)))),
        ("submit: took it", submitted("j1")),
        ("submit: took it as another job than the known one", submitted("j2")),
        ("submit: refused", refused(HookErrorKind::Invalid)),
        ("submit: nothing happened, try later", refused(HookErrorKind::Unavailable)),
        ("submit: answer lost", refused(HookErrorKind::Timeout)),
        ("find: the job", found(LATE, Ok(Found::Jobs(vec!["j1".to_owned()])))),
        ("find: two jobs", found(LATE, Ok(Found::Jobs(vec!["j1".to_owned(), "j2".to_owned()])))),
        ("find: no job, after `settle`", found(LATE, Ok(Found::No))),
        ("find: failed", found(LATE, Err(error(HookErrorKind::Internal)))),
        ("status: queued", reported(JobState::Queued)),
        ("status: running", reported(JobState::Running)),
        ("status: ended", reported(JobState::Ended)),
        ("status: gone, after `settle`", heard(LATE, JobState::Gone)),
        ("status: cannot tell", reported(JobState::Unknown)),
        ("its monitor registers", registered(2)),
        ("its monitor understood the order", Event::Acknowledged),
        ("its monitor's link is lost", Event::LinkLost),
        ("its command exited", exit(Some(0), None, false, None)),
        ("its command was ended by somebody else's SIGTERM or SIGKILL", exit(None, Some(15), true, None)),
        ("**terminate** is asked for", terminate()),
        ("terminate hook: done", hook_answered(Mode::Stop, Ok(()))),
        ("terminate hook: failed", hook_answered(Mode::Stop, Err(error(HookErrorKind::Internal)))),
        ("time to submit again", Event::Due(Due::Retry)),
        ("time to look for the job", Event::Due(Due::Find)),
        ("`timeouts.register` is over", Event::Due(Due::Register)),
        ("5 s without an acknowledgement", Event::Due(Due::Acknowledge)),
        ("the grace and 5 s are over", Event::Due(Due::Grace)),
        ("the lost link stayed away too long", Event::Due(Due::Back)),
        ("`timeouts.queue` is over", Event::Due(Due::Queue)),
        ("`max_lifetime` is over", Event::Due(Due::Lifetime)),
        ("`idle_timeout` is over", Event::Due(Due::Idle)),
        ("a share expires", Event::Due(Due::Share)),
        ("its job's time limit is near", Event::Due(Due::Limit)),
        (
            "parameters or shares change",
            Event::Edit {
                by: "alice".to_owned(),
                edit: Edit::Params { was: 1, params: [("n".to_owned(), Value::from(7))].into() },
            },
        ),
        ("prepare: how far it is", Event::Progress("pulling the image".to_owned())),
        ("a purge found it reachable", Event::Edit { by: "alice".to_owned(), edit: Edit::Refresh }),
    ]
}

/// Which event it is: a new one does not compile until it has a place in the table.
fn kind(event: &Event) -> u32 {
    match event {
        Event::Resume => 0,
        Event::Prepared(_) => 1,
        Event::SubmitAnswered { .. } => 2,
        Event::FindAnswered { .. } => 3,
        Event::Reported { .. } => 4,
        Event::Registered { .. } => 5,
        Event::Acknowledged => 6,
        Event::LinkLost => 7,
        Event::Exited(_) => 8,
        Event::Terminate { .. } => 9,
        Event::TerminateAnswered { .. } => 10,
        Event::Edit { .. } => 11,
        Event::Due(due) => match due {
            Due::Retry => 12,
            Due::Find => 13,
            Due::Register => 14,
            Due::Acknowledge => 15,
            Due::Grace => 16,
            Due::Back => 17,
            Due::Queue => 18,
            Due::Lifetime => 19,
            Due::Idle => 20,
            Due::Share => 21,
            Due::Limit => 22,
        },
        Event::Progress(_) => 23,
    }
}
const KINDS: u32 = 24;

/// Where a session is, in the words of the documentation.
fn place(session: &Session) -> String {
    let mut words = match &session.record.stage {
        Stage::Pending { phase, .. } => {
            let phase = serde_json::to_value(phase).expect("a phase is a word");
            phase.as_str().expect("a phase is a word").to_owned()
        }
        Stage::Running { interrupted } => {
            let link = match session.link {
                LinkState::None => "none",
                LinkState::Connected => "connected",
                LinkState::Lost { .. } => "lost",
            };
            let interrupted = if interrupted.is_some() { ", interrupted" } else { "" };
            format!("running{interrupted}, link {link}")
        }
        Stage::Ended { end, .. } => {
            let by = end.stopped_by.map(|by| serde_json::to_value(by).expect("a word"));
            let by = by.and_then(|by| by.as_str().map(|by| format!(" by `{by}`"))).unwrap_or_default();
            return format!("**ended**: `{}`{by}", end.cause.as_str());
        }
    };
    if session.record.wish.is_some() {
        words.push_str(", to be ended");
    }
    words
}

fn deed(effect: &Effect) -> Option<String> {
    Some(match effect {
        Effect::Prepare => "run the prepare hook".to_owned(),
        Effect::CancelPrepare => "stop the prepare hook".to_owned(),
        Effect::Submit { attempt } => format!("run the submit hook (attempt {attempt})"),
        Effect::Find => "run the find hook".to_owned(),
        Effect::Terminate { mode } => format!("run the terminate hook (`{}`)", mode.as_str()),
        Effect::EndStray { job, .. } => format!("run the terminate hook for the stray job {job}"),
        Effect::OrderEnd { .. } => "tell the monitor to end it".to_owned(),
        Effect::PushSnapshot => "hand the monitor a snapshot".to_owned(),
        Effect::ReleaseMonitor => "let the monitor go".to_owned(),
        Effect::CloseLink => "hang up".to_owned(),
        Effect::AskStatus => "ask for its status".to_owned(),
        Effect::AskStatusLater => "ask for its status in a moment".to_owned(),
        Effect::Tell(hook) => format!("run the {} hook", hook.as_str()),
        Effect::ReviewStreams => "see again who may stay in it".to_owned(),
        Effect::Notify(_) => "tell who is in it".to_owned(),
        Effect::Wake { due, .. } => match due {
            Due::Retry => "set a time to submit again".to_owned(),
            Due::Find => "set a time to look again".to_owned(),
            Due::Register => "give its monitor `timeouts.register`".to_owned(),
            Due::Back => "give its link time to come back".to_owned(),
            Due::Queue => "wait no longer than `timeouts.queue`".to_owned(),
            // Goes with the order.
            Due::Acknowledge | Due::Grace => return None,
            Due::Lifetime | Due::Idle | Due::Share | Due::Limit => {
                "set the time of its end, its share's or a warning".to_owned()
            }
        },
    })
}

fn table() -> String {
    let mut out = String::new();
    for (name, session) in states() {
        let _ = write!(out, "\n### {name}\n\n| what happens | next | the launcher then |\n|---|---|---|\n");
        let mut nothing = Vec::new();
        for (label, event) in events() {
            let now = if event == Event::Due(Due::Queue) { LATEST } else { LATE };
            let step = step(&session, &event, at(now));
            let deeds: Vec<String> = step.effects.iter().filter_map(deed).collect();
            let (was, next) = (place(&session), place(&step.session));
            let next = if was == next { "stays".to_owned() } else { next };
            if was == place(&step.session) && deeds.is_empty() && step.notes.is_empty() {
                nothing.push(label);
                continue;
            }
            let deeds = if deeds.is_empty() { "keeps it".to_owned() } else { deeds.join("; ") };
            let _ = writeln!(out, "| {label} | {next} | {deeds} |");
        }
        if !nothing.is_empty() {
            let _ = write!(out, "\nNothing else happens on: {}.\n", nothing.join("; "));
        }
    }
    out.push('\n');
    out
}

#[test]
fn the_lifecycle_in_the_documentation_is_what_step_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/lifecycle.md");
    let kept = std::fs::read_to_string(&path).expect("docs/lifecycle.md is there");
    let (head, rest) = kept.split_once(BEGIN).expect("the table's first marker");
    let (_, tail) = rest.split_once(END).expect("the table's last marker");
    let now = format!("{head}{BEGIN}{}{END}{tail}", table());
    if std::env::var_os("WHARF_UPDATE").is_some() {
        std::fs::write(&path, &now).expect("docs can be written");
        return;
    }
    assert!(kept == now, "docs/lifecycle.md is old: run this test once with WHARF_UPDATE=1");
}

#[test]
fn every_state_and_event_has_a_place_in_it() {
    let kinds: BTreeSet<u32> = events().iter().map(|(_, event)| kind(event)).collect();
    assert_eq!(kinds, (0..KINDS).collect());
    let places: BTreeSet<String> = states().iter().map(|(_, session)| place(session)).collect();
    for phase in ["recorded", "preparing", "submitting", "submitted", "unknown", "running, link connected"] {
        assert!(places.contains(phase), "{phase}");
    }
    for (name, session) in states() {
        let first = name.split(',').next().unwrap_or_default();
        assert!(place(&session).trim_matches('*').starts_with(first), "{name}: {}", place(&session));
        assert_eq!(name.ends_with("to be ended"), place(&session).ends_with("to be ended"), "{name}");
    }
}
