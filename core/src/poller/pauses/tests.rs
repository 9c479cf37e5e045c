//! Which questions rest, for how long, and which are asked again before their time.

use super::*;
use crate::record::Interrupted;
use crate::testing::store::record;

const SELDOM: Duration = Duration::from_secs(150);

fn told(known: bool, connected: bool) -> Told {
    Told { session: record(1).id, connected, known }
}

fn report(state: JobState) -> JobReport {
    JobReport { state, ..JobReport::default() }
}

#[test]
fn a_forgotten_job_is_asked_about_less_and_less_often() {
    let (id, start) = (record(1).id, Instant::now());
    let mut pauses = Pauses::default();
    let mut now = start;
    let mut waits = Vec::new();
    for _ in 0..8 {
        pauses.heard(told(false, true), SELDOM, now);
        let rounds = (1..100).find(|round| !pauses.rests(&id, now + SELDOM * *round)).expect("it ends");
        waits.push(rounds);
        now += SELDOM * rounds;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 32, 32]);
}

#[test]
fn whoever_may_be_changed_by_the_answer_does_not_rest() {
    let (id, now) = (record(1).id, Instant::now());
    let mut pauses = Pauses::default();
    let rest = |pauses: &mut Pauses| {
        pauses.heard(told(false, true), SELDOM, now);
        assert!(pauses.rests(&id, now));
    };
    rest(&mut pauses);
    pauses.wake(&id);
    assert!(!pauses.rests(&id, now), "an event asks");
    rest(&mut pauses);
    pauses.heard(told(false, false), SELDOM, now);
    assert!(!pauses.rests(&id, now), "its link is lost");
    rest(&mut pauses);
    pauses.heard(told(true, true), SELDOM, now);
    assert!(!pauses.rests(&id, now), "the scheduler knows it");
    rest(&mut pauses);
    pauses.retain(|_| false);
    assert!(!pauses.rests(&id, now), "it is over");
    assert!(!Told::is_known(None) && !Told::is_known(Some(&report(JobState::Gone))));
    assert!(Told::is_known(Some(&report(JobState::Unknown))));
}

#[test]
fn an_answer_that_is_older_than_the_monitors_word_is_asked_for_again() {
    let at = |seconds: i64| Time::from_millis(seconds * 1000);
    let poll = Duration::from_secs(15);
    let ask = |record: &Record, state, seconds| {
        again(record, &report(state), at(seconds), poll).map(|again| again.as_secs())
    };
    let mut one = record(1);
    one.stage = Stage::Running { interrupted: None };
    one.started_at = Some(at(100));
    let waits = [100, 101, 104, 114, 115].map(|seconds| ask(&one, JobState::Queued, seconds));
    assert_eq!(waits, [Some(1), Some(1), Some(4), Some(14), None]);
    assert_eq!(ask(&one, JobState::Running, 100), None);
    let was = Interrupted { at: at(200), signal: Some(15), exit_code: None, out_of_memory: false };
    one.stage = Stage::Running { interrupted: Some(was) };
    assert_eq!(ask(&one, JobState::Completing, 203), Some(3));
    assert_eq!(ask(&one, JobState::Queued, 203), None, "it waits for its next life");
}
