//! The tables as tests: what each action and event does in each state, and what no sequence of them can do.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wharf_protocol::{JobState, ShareId, State};

use super::*;
use crate::hook::HookErrorKind;
use crate::testing::store::record;

const NOW: i64 = 1_000_000_000;

pub(super) fn at(seconds: i64) -> Time {
    Time::from_millis(NOW + seconds * 1000)
}

pub(super) fn session() -> Session {
    let mut record = record(1);
    record.created_at = at(0);
    record.stage =
        Stage::Pending { phase: Phase::Recorded, since: at(0), retry_at: None, retries: 0, doubt: None };
    Session { record, link: LinkState::None, acknowledged: false, boot: at(-1000), linked: false }
}

/// A session after those events, one second apart.
pub(super) fn after(events: &[Event]) -> (Session, Vec<Effect>) {
    follow(session(), events)
}

pub(super) fn follow(mut session: Session, events: &[Event]) -> (Session, Vec<Effect>) {
    let mut effects = Vec::new();
    for (second, event) in (1..).zip(events) {
        let step = step(&session, event, at(second));
        session = step.session;
        effects = step.effects;
    }
    (session, effects)
}

pub(super) fn submitted(job: &str) -> Event {
    answered(1, job)
}

fn answered(attempt: u32, job: &str) -> Event {
    let submitted = Submitted { job_id: job.to_owned(), node: None, message: None, handle: None };
    Event::SubmitAnswered { attempt, outcome: Ok(submitted) }
}

pub(super) fn refused(kind: HookErrorKind) -> Event {
    Event::SubmitAnswered { attempt: 1, outcome: Err(HookError::new(kind, "no")) }
}

pub(super) fn registered(number: u64) -> Event {
    let incarnation = Incarnation { attempt: 1, restarts: 0, number };
    Event::Registered { incarnation, job: Some("j1".to_owned()) }
}

/// Asked before anything has settled.
pub(super) fn reported(state: JobState) -> Event {
    heard(5, state)
}

pub(super) fn heard(asked: i64, state: JobState) -> Event {
    let report = JobReport { state, ..JobReport::default() };
    Event::Reported { job: "j1".to_owned(), asked: at(asked), report }
}

pub(super) fn found(asked: i64, outcome: Result<Found, HookError>) -> Event {
    Event::FindAnswered { asked: at(asked), outcome }
}

pub(super) fn terminate() -> Event {
    Event::Terminate { by: "alice".to_owned(), grace: None }
}

pub(super) fn exit(
    code: Option<i32>,
    signal: Option<i32>,
    interrupted: bool,
    by: Option<StoppedBy>,
) -> Event {
    Event::Exited(ExitReport {
        exit_code: code,
        signal,
        interrupted,
        stopped_by: by,
        message: None,
        out_of_memory: false,
        orphaned: false,
        at: at(0),
    })
}

pub(super) fn hook_answered(mode: Mode, outcome: Result<(), HookError>) -> Event {
    Event::TerminateAnswered { mode, outcome }
}

fn end(session: &Session) -> End {
    let Stage::Ended { end, .. } = &session.record.stage else {
        panic!("not over: {:?}", session.record.stage)
    };
    end.clone()
}

fn phase(session: &Session) -> Option<Phase> {
    session.record.phase()
}

pub(super) const RESUME: Event = Event::Resume;

#[test]
fn what_a_job_waited_for_is_no_more_told_once_its_monitor_is_there() {
    let waits = JobReport {
        state: JobState::Queued,
        reason: Some("waiting for resources".to_owned()),
        position: Some(3),
        starts_at: Some(at(100)),
        ..JobReport::default()
    };
    let told = |session: &Session| {
        let job = session.record.job.clone().expect("it has one");
        (job.reason.is_some(), job.position.is_some(), job.starts_at.is_some())
    };
    let heard = |session: &Session| {
        step(session, &Event::Reported { job: "j1".to_owned(), asked: at(5), report: waits.clone() }, at(5))
            .session
    };
    let pending = heard(&after(&[RESUME, submitted("j1")]).0);
    assert_eq!(told(&pending), (true, true, true));
    let running = step(&pending, &registered(1), at(6)).session;
    assert_eq!(told(&running), (false, false, false));
    assert_eq!(told(&heard(&running)), (false, false, false), "an answer from before");
    let lost = step(&running, &Event::LinkLost, at(7)).session;
    assert_eq!(told(&heard(&lost)), (true, true, true), "put back into the queue");
}

#[test]
fn a_recorded_session_is_submitted_once_and_then_queued() {
    let (session, effects) = after(&[RESUME]);
    assert_eq!(phase(&session), Some(Phase::Submitting));
    assert_eq!(effects, [Effect::Submit { attempt: 1 }]);
    let (session, effects) = after(&[RESUME, submitted("j1")]);
    assert_eq!(phase(&session), Some(Phase::Submitted));
    assert!(effects.contains(&Effect::AskStatusLater));
    assert_eq!(session.record.job.as_ref().map(|job| job.id.as_str()), Some("j1"));
}

#[test]
fn a_prepare_comes_first_and_its_failure_submits_nothing() {
    let mut with = session();
    with.record.rules.prepare = true;
    let (session, effects) = follow(with.clone(), &[RESUME]);
    assert_eq!((phase(&session), effects), (Some(Phase::Preparing), vec![Effect::Prepare]));
    let (_, effects) = follow(with.clone(), &[RESUME, Event::Prepared(Ok(()))]);
    assert_eq!(effects, [Effect::Submit { attempt: 1 }]);
    let failed = Event::Prepared(Err(HookError::new(HookErrorKind::Timeout, "slow")));
    assert_eq!(end(&follow(with.clone(), &[RESUME, failed]).0).cause, EndCause::SubmitFailed);
    // A launcher that starts in the middle prepares again.
    assert_eq!(follow(with, &[RESUME, RESUME]).1, [Effect::Prepare]);
}

#[test]
fn a_refusal_ends_it_and_a_vouched_nothing_is_tried_again() {
    for kind in [
        HookErrorKind::Invalid,
        HookErrorKind::Denied,
        HookErrorKind::NotFound,
        HookErrorKind::Unsupported,
        HookErrorKind::Misconfigured,
    ] {
        assert_eq!(end(&after(&[RESUME, refused(kind)]).0).cause, EndCause::SubmitFailed, "{kind:?}");
    }
    for kind in [HookErrorKind::Unavailable, HookErrorKind::RateLimited] {
        let (session, effects) = after(&[RESUME, refused(kind)]);
        assert_eq!(phase(&session), Some(Phase::Recorded), "{kind:?}");
        assert!(matches!(effects[..], [Effect::Wake { due: Due::Retry, .. }]));
        // Too early is no time to try.
        assert!(
            !after(&[RESUME, refused(kind), Event::Due(Due::Retry)])
                .1
                .contains(&Effect::Submit { attempt: 2 })
        );
        let later = step(&session, &Event::Due(Due::Retry), at(100));
        assert_eq!(later.effects, [Effect::Submit { attempt: 2 }]);
    }
}

#[test]
fn a_lost_answer_is_looked_up_and_never_submitted_again() {
    for lost in [
        refused(HookErrorKind::Timeout),
        refused(HookErrorKind::Internal),
        refused(HookErrorKind::Memory),
        refused(HookErrorKind::CommandFailed),
        // The launcher's own death.
        RESUME,
    ] {
        let (session, effects) = after(&[RESUME, lost.clone()]);
        assert_eq!(phase(&session), Some(Phase::Unknown), "{lost:?}");
        assert!(effects.contains(&Effect::Find));
        assert!(!effects.iter().any(|effect| matches!(effect, Effect::Submit { .. })));
        let jobs = found(5, Ok(Found::Jobs(vec!["j1".to_owned(), "j2".to_owned()])));
        let (session, effects) = after(&[RESUME, lost.clone(), jobs]);
        assert_eq!(session.record.job.as_ref().map(|job| job.id.as_str()), Some("j1"), "the oldest is kept");
        assert!(effects.contains(&Effect::EndStray { job: "j2".to_owned(), handle: None }));
        // Its monitor must not take the kept job's place before the hook has ended it; nor is it found again.
        assert_eq!(session.record.strays, ["j2"]);
        let late = found(5, Ok(Found::Jobs(vec!["j2".to_owned()])));
        let mut doubted = after(&[RESUME, lost.clone()]).0;
        doubted.record.strays = vec!["j2".to_owned()];
        let doubted = step(&doubted, &late, at(10));
        assert_eq!(phase(&doubted.session), Some(Phase::Unknown));
        assert!(matches!(doubted.effects[0], Effect::Wake { due: Due::Find, .. }));
        let no = found(5, Ok(Found::No));
        let (session, _) = after(&[RESUME, lost.clone(), no.clone()]);
        assert_eq!(phase(&session), Some(Phase::Unknown), "not believed before it has settled");
        assert_eq!(
            phase(&step(&session, &no, at(100)).session),
            Some(Phase::Unknown),
            "it looked too early, however long its answer took"
        );
        let no = found(100, Ok(Found::No));
        assert_eq!(end(&step(&session, &no, at(100)).session).cause, EndCause::SubmitFailed);
        let failing = found(5, Err(HookError::new(HookErrorKind::Internal, "?")));
        assert_eq!(
            phase(&step(&session, &failing, at(100_000)).session),
            Some(Phase::Unknown),
            "ends nothing"
        );
    }
}

#[test]
fn without_find_a_plain_no_is_a_no_and_the_rest_waits() {
    let mut with = session();
    with.record.rules.find = false;
    let mut error = HookError::new(HookErrorKind::Internal, "no such account");
    error.plain_exit = true;
    let plain = Event::SubmitAnswered { attempt: 1, outcome: Err(error) };
    assert_eq!(end(&follow(with.clone(), &[RESUME, plain]).0).message, "no such account");
    let (waiting, effects) = follow(with, &[RESUME, refused(HookErrorKind::Timeout)]);
    assert_eq!(phase(&waiting), Some(Phase::Unknown));
    assert!(!effects.contains(&Effect::Find));
    let given_up = step(&waiting, &Event::Due(Due::Queue), at(10_000_000));
    assert_eq!(end(&given_up.session).cause, EndCause::SubmitFailed);
}

#[test]
fn a_monitor_may_register_before_the_submit_has_answered() {
    let (session, _) = after(&[RESUME, registered(1)]);
    assert_eq!(session.record.state(), State::Running);
    assert_eq!(session.record.job.as_ref().map(|job| job.id.as_str()), Some("j1"));
    let (session, effects) = after(&[RESUME, registered(1), submitted("j1")]);
    assert_eq!(session.record.state(), State::Running);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::EndStray { .. })));
    let (session, effects) = after(&[RESUME, registered(1), submitted("j2")]);
    assert_eq!(
        session.record.job.as_ref().map(|job| job.id.as_str()),
        Some("j1"),
        "the registered one is kept"
    );
    assert!(effects.contains(&Effect::EndStray { job: "j2".to_owned(), handle: None }));
}

#[test]
fn the_scheduler_ends_only_what_no_monitor_speaks_for() {
    let pending = [RESUME, submitted("j1")];
    assert_eq!(
        end(&follow(after(&pending).0, &[reported(JobState::Ended)]).0).cause,
        EndCause::NeverRegistered
    );
    let (session, _) = follow(after(&pending).0, &[reported(JobState::Gone)]);
    assert_eq!(session.record.state(), State::Pending, "gone is not believed at once");
    let slow = step(&session, &reported(JobState::Gone), at(1000)).session;
    assert_eq!(slow.record.state(), State::Pending, "it was asked too early, however long its answer took");
    let later = step(&session, &heard(1000, JobState::Gone), at(1000));
    assert_eq!(end(&later.session).cause, EndCause::Vanished);
    for state in [JobState::Ended, JobState::Gone, JobState::Unknown] {
        let connected = after(&[RESUME, submitted("j1"), registered(1)]).0;
        assert_eq!(
            step(&connected, &heard(1000, state), at(1000)).session.record.state(),
            State::Running,
            "{state:?}"
        );
        let lost = follow(connected, &[Event::LinkLost]).0;
        let told = step(&lost, &heard(1000, state), at(1000)).session;
        assert_eq!(told.record.is_ended(), state != JobState::Unknown, "{state:?}");
    }
    let cause = JobReport { state: JobState::Ended, cause: Some(EndCause::Timeout), ..JobReport::default() };
    let event = Event::Reported { job: "j1".to_owned(), asked: at(5), report: cause };
    assert_eq!(end(&follow(after(&pending).0, &[event]).0).cause, EndCause::Timeout);
    // A job that is not the session's says nothing.
    let other = Event::Reported {
        job: "j9".to_owned(),
        asked: at(5),
        report: JobReport { state: JobState::Ended, ..JobReport::default() },
    };
    assert_eq!(follow(after(&pending).0, &[other]).0.record.state(), State::Pending);
}

#[test]
fn a_job_that_runs_without_its_monitor_is_ended() {
    let (session, effects) = after(&[RESUME, submitted("j1"), reported(JobState::Running)]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Wake { due: Due::Register, .. })));
    assert_eq!(step(&session, &Event::Due(Due::Register), at(10)).session.record.state(), State::Pending);
    let over = step(&session, &Event::Due(Due::Register), at(10_000));
    assert_eq!(end(&over.session).cause, EndCause::NeverRegistered);
    assert!(over.effects.contains(&Effect::EndStray { job: "j1".to_owned(), handle: None }));
}

#[test]
fn terminate_before_anything_was_submitted_runs_no_hook() {
    let (session, effects) = after(&[terminate()]);
    assert_eq!(end(&session).stopped_by, Some(StoppedBy::NotStarted));
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Terminate { .. } | Effect::Submit { .. })));
}

#[test]
fn terminate_while_the_submit_is_in_flight_waits_for_its_outcome() {
    let (session, effects) = after(&[RESUME, terminate()]);
    assert_eq!((phase(&session), effects), (Some(Phase::Submitting), vec![]));
    let (_, effects) = after(&[RESUME, terminate(), submitted("j1")]);
    assert!(effects.contains(&Effect::Terminate { mode: Mode::Stop }));
    let (session, _) = after(&[RESUME, terminate(), refused(HookErrorKind::Invalid)]);
    assert_eq!(end(&session).cause, EndCause::Terminated);
    let (session, _) = after(&[RESUME, terminate(), refused(HookErrorKind::Unavailable)]);
    assert_eq!(end(&session).stopped_by, Some(StoppedBy::NotStarted), "never submitted again");
    // An unknown outcome is no longer in flight.
    let (_, effects) = after(&[RESUME, terminate(), refused(HookErrorKind::Timeout)]);
    assert!(effects.contains(&Effect::Terminate { mode: Mode::Stop }));
    // Its monitor came first: told to end, and never seen running.
    let (session, effects) = after(&[RESUME, terminate(), registered(1)]);
    assert_eq!(session.record.state(), State::Pending);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::OrderEnd { .. })));
}

#[test]
fn the_hooks_word_decides_on_a_pending_session_and_the_wish_stays() {
    let pending = [RESUME, submitted("j1"), terminate()];
    assert_eq!(
        end(&follow(after(&pending).0, &[hook_answered(Mode::Stop, Ok(()))]).0).stopped_by,
        Some(StoppedBy::Hook)
    );
    let no = hook_answered(Mode::Stop, Err(HookError::new(HookErrorKind::Denied, "not yours")));
    let (session, _) = follow(after(&pending).0, &[no]);
    assert_eq!(session.record.state(), State::Pending);
    assert!(session.record.wish.is_some());
    assert!(session.record.reason.as_ref().is_some_and(|reason| reason.message.contains("not yours")));
    let (session, effects) = follow(session, &[registered(1)]);
    assert_eq!(session.record.state(), State::Pending, "it never shows running");
    assert!(effects.iter().any(|effect| matches!(effect, Effect::OrderEnd { .. })));
    let (session, _) = follow(session, &[exit(None, Some(15), false, Some(StoppedBy::Signal))]);
    assert_eq!(end(&session).stopped_by, Some(StoppedBy::Signal));
}

#[test]
fn what_could_not_be_ended_stays_said_and_is_tried_again_once_it_runs() {
    let no = hook_answered(Mode::Stop, Err(HookError::new(HookErrorKind::Unavailable, "away")));
    let queued = reported(JobState::Queued);
    let (session, _) =
        after(&[RESUME, submitted("j1"), terminate(), no, queued, reported(JobState::Running)]);
    let said = session.record.reason.clone().map(|reason| (reason.code, reason.message));
    assert_eq!(said, Some(("terminate_failed".to_owned(), "could not be ended: away".to_owned())));
    // Its monitor does not come either.
    let again = step(&session, &Event::Due(Due::Register), at(10_000));
    assert_eq!(again.session.record.state(), State::Pending, "its job would run on, and nobody would know");
    assert!(again.effects.contains(&Effect::Terminate { mode: Mode::Stop }));
    // Not with each answer of the scheduler, but each time that it is overdue once more.
    let told = step(&again.session, &reported(JobState::Running), at(10_000));
    let latest = at(10_000).after(again.session.record.rules.register);
    let is_later = |effect: &Effect| matches!(effect, Effect::Wake { at: next, due: Due::Register } if *next > at(10_000) && *next <= latest);
    assert!(told.effects.iter().any(is_later), "{:?}", told.effects);
    let ended = follow(again.session, &[hook_answered(Mode::Stop, Ok(()))]).0;
    assert_eq!((end(&ended).cause, end(&ended).stopped_by), (EndCause::Terminated, Some(StoppedBy::Hook)));
}

#[test]
fn a_hook_cut_off_by_the_launchers_death_is_run_again() {
    let session = after(&[RESUME, submitted("j1"), terminate()]).0;
    assert!(follow(session, &[RESUME]).1.contains(&Effect::Terminate { mode: Mode::Stop }));
}

#[test]
fn a_running_session_is_ended_by_its_monitor_or_else_by_the_hook() {
    let running = after(&[RESUME, submitted("j1"), registered(1)]).0;
    let (ordered, effects) = follow(running.clone(), &[terminate()]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::OrderEnd { .. })));
    let silent = step(&ordered, &Event::Due(Due::Acknowledge), at(10));
    assert!(silent.effects.contains(&Effect::Terminate { mode: Mode::Kill }));
    let acknowledged = follow(ordered, &[Event::Acknowledged]).0;
    assert!(step(&acknowledged, &Event::Due(Due::Acknowledge), at(10)).effects.is_empty());
    assert!(
        step(&acknowledged, &Event::Due(Due::Grace), at(20))
            .effects
            .contains(&Effect::Terminate { mode: Mode::Kill })
    );
    // A lost link is waited for, and then the hook has to.
    let lost = follow(running.clone(), &[Event::LinkLost, terminate()]).0;
    assert!(
        step(&lost, &Event::Due(Due::Back), at(30)).effects.contains(&Effect::Terminate { mode: Mode::Kill })
    );
    let failed = hook_answered(Mode::Kill, Err(HookError::new(HookErrorKind::Internal, "?")));
    assert_eq!(follow(lost, &[failed]).0.record.state(), State::Running, "its failure leaves it running");
    let over = follow(running, &[terminate(), exit(Some(0), None, false, Some(StoppedBy::Command))]).0;
    assert_eq!(end(&over).stopped_by, Some(StoppedBy::Command));
}

#[test]
fn a_command_that_ends_by_itself_says_how() {
    let running = [RESUME, submitted("j1"), registered(1)];
    let ends = |event| end(&follow(after(&running).0, &[event]).0);
    assert_eq!(
        (ends(exit(Some(3), None, false, None)).cause, ends(exit(Some(3), None, false, None)).exit_code),
        (EndCause::Exited, Some(3))
    );
    assert_eq!(ends(exit(None, Some(11), false, None)).cause, EndCause::Signaled);
    // Where nobody starts it again, an interruption is settled at once.
    assert_eq!(ends(exit(None, Some(9), true, None)).cause, EndCause::Signaled);
}

#[test]
fn an_interrupted_command_is_not_over_until_the_scheduler_says_so() {
    let mut with = session();
    with.record.rules.requeue = true;
    let running = follow(with, &[RESUME, submitted("j1"), registered(1)]).0;
    let (interrupted, effects) = follow(running, &[exit(None, Some(15), true, None)]);
    assert_eq!(interrupted.record.state(), State::Running);
    assert!(effects.contains(&Effect::AskStatus) && effects.contains(&Effect::ReleaseMonitor));
    let queued = step(&interrupted, &reported(JobState::Queued), at(50)).session;
    assert_eq!(queued.record.reason.as_ref().map(|reason| reason.code.as_str()), Some("requeued"));
    let again = Event::Registered {
        incarnation: Incarnation { attempt: 1, restarts: 1, number: 2 },
        job: Some("j1".to_owned()),
    };
    let back = follow(queued, &[again]).0;
    assert_eq!(back.record.stage, Stage::Running { interrupted: None });
    let before = step(&interrupted, &heard(0, JobState::Gone), at(50)).session;
    assert_eq!(before.record.state(), State::Running, "asked before it was interrupted");
    let over = step(&interrupted, &reported(JobState::Gone), at(50)).session;
    assert_eq!((end(&over).cause, end(&over).signal), (EndCause::Signaled, Some(15)));
}

#[test]
fn an_ended_session_stays_so_and_its_late_jobs_are_ended() {
    let ended =
        after(&[RESUME, terminate(), refused(HookErrorKind::Timeout), hook_answered(Mode::Stop, Ok(()))]).0;
    assert!(ended.record.is_ended());
    let late = step(&ended, &submitted("j1"), at(50));
    assert!(late.effects.contains(&Effect::EndStray { job: "j1".to_owned(), handle: None }));
    assert_eq!(step(&ended, &registered(1), at(50)).effects, [Effect::CloseLink]);
}

#[test]
fn a_running_session_says_that_its_job_is_suspended_until_it_goes_on() {
    let running = after(&[RESUME, submitted("j1"), registered(1)]).0;
    for session in [step(&running, &Event::LinkLost, at(10)).session, running] {
        let suspended = step(&session, &heard(20, JobState::Suspended), at(20)).session;
        assert_eq!(suspended.record.state(), State::Running);
        assert_eq!(suspended.record.reason.as_ref().map(|reason| reason.code.as_str()), Some("suspended"));
        assert_eq!(step(&suspended, &heard(25, JobState::Unknown), at(25)).session, suspended);
        assert_eq!(step(&suspended, &heard(30, JobState::Running), at(30)).session.record.reason, None);
    }
}

#[test]
fn edits_raise_their_revision_and_a_stale_one_changes_nothing() {
    let params = |value: i64| BTreeMap::from([("n".to_owned(), Value::from(value))]);
    let edit = |was, value| Event::Edit {
        by: "alice".to_owned(),
        edit: Edit::Params { was, params: params(value) },
    };
    let changed = after(&[edit(1, 7)]).0;
    assert_eq!((changed.record.params_rev, &changed.record.params), (2, &params(7)));
    assert_eq!(step(&changed, &edit(1, 8), at(5)).session, changed);
    assert!(after(&[Event::Edit { by: "alice".to_owned(), edit: Edit::Refresh }]).0 == session());
    assert!(step(&session(), &Event::Edit { by: "alice".to_owned(), edit: Edit::Refresh }, at(1)).touch);
}

fn any_event() -> impl Strategy<Value = Event> {
    let kind = prop_oneof![
        Just(HookErrorKind::Invalid),
        Just(HookErrorKind::Unavailable),
        Just(HookErrorKind::Timeout),
        Just(HookErrorKind::Internal),
    ];
    let outcome = prop_oneof![Just(Ok(())), kind.clone().prop_map(|kind| Err(HookError::new(kind, "no")))];
    let job = prop_oneof![Just("j1"), Just("j2")];
    let state = prop_oneof![
        Just(JobState::Queued),
        Just(JobState::Running),
        Just(JobState::Ended),
        Just(JobState::Gone),
        Just(JobState::Unknown),
    ];
    let due = prop_oneof![
        Just(Due::Retry),
        Just(Due::Find),
        Just(Due::Register),
        Just(Due::Acknowledge),
        Just(Due::Grace),
        Just(Due::Back),
        Just(Due::Queue),
        Just(Due::Lifetime),
        Just(Due::Share),
        Just(Due::Idle),
        Just(Due::Limit),
    ];
    prop_oneof![
        Just(RESUME),
        outcome.clone().prop_map(Event::Prepared),
        "[a-z]{1,9}".prop_map(Event::Progress),
        (1..4u32, job.clone()).prop_map(|(attempt, job)| answered(attempt, job)),
        (1..4u32, kind.clone()).prop_map(|(attempt, kind)| Event::SubmitAnswered {
            attempt,
            outcome: Err(HookError::new(kind, "no"))
        }),
        kind.prop_map(|kind| found(5, Err(HookError::new(kind, "?")))),
        (0..200i64).prop_map(|asked| found(asked, Ok(Found::No))),
        job.clone().prop_map(|job| found(5, Ok(Found::Jobs(vec![job.to_owned()])))),
        (job, state, 0..200i64).prop_map(|(job, state, asked)| Event::Reported {
            job: job.to_owned(),
            asked: at(asked),
            report: JobReport { state, ..JobReport::default() }
        }),
        (1..5u64).prop_map(registered),
        Just(Event::Acknowledged),
        Just(Event::LinkLost),
        (any::<bool>(), any::<bool>()).prop_map(|(interrupted, stopped)| exit(
            None,
            Some(15),
            interrupted,
            stopped.then_some(StoppedBy::Signal)
        )),
        Just(terminate()),
        (any::<bool>(), outcome)
            .prop_map(|(kill, outcome)| hook_answered(if kill { Mode::Kill } else { Mode::Stop }, outcome)),
        due.prop_map(Event::Due),
        Just(Event::Edit { by: "alice".to_owned(), edit: Edit::Unshare(ShareId::from_random([1; 20])) }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever happens in whatever order: the invariants of a session hold.
    #[test]
    fn no_sequence_breaks_an_invariant(
        events in proptest::collection::vec((any_event(), 0..200i64), 1..40),
        prepare in any::<bool>(), find in any::<bool>(), requeue in any::<bool>(),
    ) {
        let mut session = session();
        session.record.rules.prepare = prepare;
        session.record.rules.find = find;
        session.record.rules.requeue = requeue;
        let mut now = 0;
        let mut submits = std::collections::BTreeSet::new();
        for (event, wait) in events {
            now += wait;
            let before = session.clone();
            let step = step(&before, &event, at(now));
            session = step.session;
            let (was, is) = (&before.record, &session.record);
            // Never backwards, and ended is final.
            prop_assert!(is.state() >= was.state(), "{event:?}");
            if was.is_ended() {
                prop_assert_eq!(&is.stage, &was.stage);
                prop_assert_eq!(session.link, LinkState::None);
            }
            // The wish is sticky, and who is to end never shows running for the first time.
            prop_assert!(is.wish.is_some() || was.wish.is_none());
            if was.wish.is_some() && was.state() == State::Pending {
                prop_assert!(is.state() != State::Running, "{event:?}");
            }
            // Numbers only grow; what a user owns nobody else changes.
            prop_assert!(is.attempt >= was.attempt && is.params_rev >= was.params_rev);
            prop_assert_eq!((&is.id, &is.owner, &is.template), (&was.id, &was.owner, &was.template));
            // One submit an attempt, and none after a doubt, a job, a wish or the end.
            for effect in &step.effects {
                if let Effect::Submit { attempt } = effect {
                    prop_assert!(submits.insert(*attempt), "submitted twice: {}", attempt);
                    prop_assert!(is.wish.is_none() && was.phase() != Some(Phase::Unknown));
                    prop_assert!(was.phase() != Some(Phase::Submitted) && was.state() == State::Pending);
                }
            }
            // "Cannot tell" changes nothing that can be seen.
            if matches!(&event, Event::Reported { report, .. } if report.state == JobState::Unknown) {
                prop_assert_eq!(&session, &before);
            }
            // Nobody waits for nothing: a pending session has something under way or something to wake it.
            if is.state() == State::Pending && was.stage != is.stage {
                let armed = step.effects.iter().any(|effect| matches!(effect,
                    Effect::Prepare | Effect::Submit { .. } | Effect::Wake { .. } | Effect::Find
                        | Effect::AskStatus | Effect::AskStatusLater));
                prop_assert!(armed, "{event:?} left {:?} with nothing under way", is.stage);
            }
        }
    }
}

#[test]
fn a_duration_beyond_all_times_is_never_over() {
    let mut session = session();
    let rules = &mut session.record.rules;
    (rules.queue, rules.register) = (Duration::MAX, Duration::MAX);
    (rules.idle, rules.max_lifetime) = (Some(Duration::MAX), Some(Duration::MAX));
    let (later, effects) = follow(session.clone(), &[RESUME, refused(HookErrorKind::Unavailable)]);
    assert_eq!(later.record.state(), State::Pending, "{effects:?}");
    let (running, effects) = follow(session, &[RESUME, submitted("j1"), registered(1)]);
    assert_eq!(running.record.state(), State::Running);
    let far =
        |effect: &&Effect| matches!(effect, Effect::Wake { at, .. } if *at == Time::from_millis(i64::MAX));
    assert_eq!(effects.iter().filter(far).count(), 2, "{effects:?}");
}
