//! Kills at random moments, many of them: a strided version here, the whole with `./test --campaign`.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use wharf_tests::{Dice, Http, Launcher, Probe, Template, until, wait};

/// Starts sessions until told to stop, each with a key of its own that it repeats until it is answered.
fn starter(
    http: &Http,
    lane: usize,
    budget: &AtomicUsize,
    over: &AtomicBool,
    kept: &Mutex<BTreeMap<String, String>>,
) {
    let mut at = 0;
    while !over.load(Ordering::SeqCst)
        && budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
    {
        at += 1;
        let key = format!("lane-{lane}-{at}");
        let body = json!({"template": "killed", "name": key, "command": ["sleep", "1000"]});
        let http = http.clone().with("idempotency-key", &key).within(Duration::from_secs(10));
        while !over.load(Ordering::SeqCst) {
            match http.try_send("POST", "/sessions", &body) {
                Ok(answer) if matches!(answer.status, 200 | 201) => {
                    let id = answer.json()["id"].as_str().expect("an id").to_owned();
                    let mut kept = kept.lock().expect("nobody panics with it");
                    let before = kept.insert(key.clone(), id.clone());
                    assert!(before.is_none_or(|before| before == id), "one key, two sessions: {key}");
                    break;
                }
                Ok(answer) => assert!(answer.status == 503, "{answer}"),
                // Killed: whether it was recorded shows when the key is repeated.
                Err(_) => wait::pause(Duration::from_millis(20)),
            }
        }
    }
}

/// Lets the starters go, also when a launcher does not come back.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn starts_with_kills_at_random_moments_lose_nothing_and_start_nothing_twice() {
    let (starts, longest) =
        if wharf_tests::campaign() { (200, Duration::from_secs(600)) } else { (30, Duration::from_secs(90)) };
    let seed = wharf_tests::seed();
    println!("WHARF_SEED={seed}");
    let mut dice = Dice::new(seed);
    let mut launcher = Launcher::with(&Template::working("killed"));
    let http = launcher.http();
    let (budget, over, kept) =
        (AtomicUsize::new(starts), AtomicBool::new(false), Mutex::new(BTreeMap::new()));
    let began = Instant::now();
    let mut kills = 0;
    std::thread::scope(|scope| {
        let _over = Over(&over);
        let lanes: Vec<_> = (0..3)
            .map(|lane| {
                let (http, budget, over, kept) = (&http, &budget, &over, &kept);
                scope.spawn(move || starter(http, lane, budget, over, kept))
            })
            .collect();
        while !lanes.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            if began.elapsed() > longest {
                over.store(true, Ordering::SeqCst);
            }
            wait::pause(Duration::from_millis(50 + dice.below(700)));
            launcher.kill9();
            kills += 1;
            launcher.restart();
            // As many kills as starts and more would leave no time to submit anything.
            wait::pause(Duration::from_millis(dice.below(400)));
        }
    });
    println!("{kills} kills");
    let kept = kept.into_inner().expect("nobody panicked with it");
    assert!(kept.len() >= starts / 2, "only {} of {starts} were acknowledged in {longest:?}", kept.len());
    until("no session is pending for ever", Duration::from_secs(60), || {
        let pending = launcher.pages("state=pending&limit=500");
        Probe::when(pending.is_empty(), (), || format!("{} pending: {:?}", pending.len(), pending.first()))
    });
    for (key, id) in &kept {
        let session = launcher.session(id);
        assert_eq!(session["name"], key.as_str(), "{session}");
        let jobs = launcher.jobs(id);
        assert!(jobs.len() <= 1, "{id} was started twice: {jobs:?}");
        match session["state"].as_str() {
            Some("running") => assert_eq!(jobs.len(), 1, "{session}"),
            _ => {
                // The hook was cut off before it had started anything: said so, and not repeated.
                assert_eq!(session["end"]["cause"], "submit_failed", "{session}");
                assert!(launcher.inside(id).is_empty(), "{session}");
            }
        }
    }
    let names: Vec<String> = launcher
        .pages("limit=500")
        .iter()
        .filter_map(|session| Some(session["name"].as_str()?.to_owned()))
        .collect();
    let mut once = names.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), names.len(), "a repeated key made a second session");
}
