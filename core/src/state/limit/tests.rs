//! When people are warned of their job's time limit, and when not again.

use wharf_protocol::JobState;

use super::super::tests::{RESUME, at, follow, registered, session, submitted, terminate};
use super::super::{Due, Edit, Effect, Event, Session, step};
use crate::hook::JobReport;

fn limited(session: &Session, now: i64, ends: i64) -> (Session, Vec<Effect>) {
    let report = JobReport { state: JobState::Running, ends_at: Some(at(ends)), ..JobReport::default() };
    let step = step(session, &Event::Reported { job: "j1".to_owned(), asked: at(now), report }, at(now));
    (step.session, step.effects)
}

fn running() -> Session {
    follow(session(), &[RESUME, submitted("j1"), registered(1)]).0
}

/// When the next warning is due.
fn armed(effects: &[Effect]) -> Option<i64> {
    effects.iter().find_map(|effect| {
        let Effect::Wake { at: when, due: Due::Limit } = effect else { return None };
        Some(when.since(at(0)).as_secs().cast_signed())
    })
}

fn due(session: &Session, now: i64) -> (Session, Option<String>, Vec<Effect>) {
    let step = step(session, &Event::Due(Due::Limit), at(now));
    let told = step.effects.iter().find_map(|effect| {
        let Effect::Notify(notice) = effect else { return None };
        Some(notice.message.clone())
    });
    (step.session, told, step.effects)
}

#[test]
fn ten_and_two_minutes_before_and_no_third_time() {
    let (session, effects) = limited(&running(), 10, 3600);
    assert_eq!(armed(&effects), Some(3000));
    let (session, told, effects) = due(&session, 3000);
    assert!(told.is_some_and(|told| told.contains(" in 10 minutes, at ")));
    assert_eq!(armed(&effects), Some(3480));
    assert_eq!(session.record.reason.as_ref().map(|reason| reason.code.as_str()), Some("time_limit"));
    // The same end, a little rounded, is told again by each round.
    let (session, effects) = limited(&session, 3100, 3601);
    assert_eq!(armed(&effects), Some(3481));
    let (session, told, effects) = due(&session, 3481);
    assert!(told.is_some_and(|told| told.contains(" in 2 minutes, at ")));
    assert_eq!(armed(&effects), None);
    assert_eq!(due(&session, 3590).1, None);
}

#[test]
fn a_short_limit_is_told_once_with_the_time_that_is_left() {
    let (session, effects) = limited(&running(), 10, 100);
    assert_eq!(armed(&effects), Some(10));
    let (session, told, effects) = due(&session, 10);
    assert!(told.is_some_and(|told| told.contains(" in 2 minutes, at ")));
    assert_eq!((armed(&effects), due(&session, 95).1), (None, None));
}

#[test]
fn a_launcher_that_starts_again_says_nothing_twice_and_goes_on() {
    let (session, _) = limited(&running(), 10, 3600);
    let (session, ..) = due(&session, 3000);
    let again = step(&session, &RESUME, at(3050));
    assert_eq!(armed(&again.effects), Some(3480));
    assert_eq!(due(&again.session, 3060).1, None);
    // Its monitor comes back: what was told is still shown.
    let back = step(&again.session, &registered(1), at(3060)).session;
    assert_eq!(back.record.reason.map(|reason| reason.code), Some("time_limit".to_owned()));
}

#[test]
fn an_end_that_was_moved_out_begins_anew() {
    let (session, _) = limited(&running(), 10, 3600);
    let (session, ..) = due(&session, 3480);
    let edit = Edit::Extend(at(9000));
    let longer = step(&session, &Event::Edit { by: "alice".to_owned(), edit }, at(3500));
    assert_eq!((armed(&longer.effects), &longer.session.record.reason), (Some(8400), &None));
    assert_eq!(due(&longer.session, 3600).1, None);
    assert!(due(&longer.session, 8400).1.is_some());
    // So does the next life of a requeued job, whose end nobody knows yet.
    let waits = JobReport { state: JobState::Queued, ..JobReport::default() };
    let lost = step(&session, &Event::LinkLost, at(3500)).session;
    let waits =
        step(&lost, &Event::Reported { job: "j1".to_owned(), asked: at(3510), report: waits }, at(3510));
    let job = waits.session.record.job.expect("it has one");
    assert_eq!((job.ends_at, job.warned), (None, None));
}

#[test]
fn whoever_ends_it_anyway_or_has_not_begun_is_not_warned() {
    let (session, _) = limited(&running(), 10, 3600);
    let ending = step(&session, &terminate(), at(20)).session;
    assert_eq!(due(&ending, 3000).1, None);
    let pending = follow(super::super::tests::session(), &[RESUME, submitted("j1")]).0;
    let (pending, effects) = limited(&pending, 10, 3600);
    assert_eq!((armed(&effects), due(&pending, 3000).1), (None, None));
}
