//! One session's life: a client that starts and ends it and tries again until it is answered, a job that starts after
//! a while, its monitor; through as many launchers as it takes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use wharf_core::actor::{Actor, Standing};
use wharf_core::clock::Clock as _;
use wharf_core::store::{ListQuery, Store as _};
use wharf_core::testing::memory::MemoryStore;
use wharf_core::{Launcher, LinkId, Refusal};
use wharf_protocol::api::{StartRequest, TerminateRequest};
use wharf_protocol::monitor::{ExitReport, Hello, LauncherSays, LinkClaim, MonitorSays, PROTOCOL};
use wharf_protocol::{EndCause, SessionId, State, StoppedBy};

use crate::parts::{Datastore, Link, parts};
use crate::world::{Fault, World};

/// Whose life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Script {
    /// What becomes of it.
    pub(crate) how: How,
    /// The template has long work before the submit.
    pub(crate) prepare: bool,
    /// The template can look jobs up.
    pub(crate) find: bool,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It is ended while it runs.
    Running,
    /// Its job never starts, and it is ended in the queue.
    Queued,
    /// Its link breaks for good while it runs, and then it is ended.
    Silent,
    /// It is purged in the queue, comes back when its job starts, and is ended then.
    Purged,
}

impl Script {
    pub(crate) fn new(how: How) -> Self {
        Self { how, prepare: false, find: true }
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Lived {
    pub(crate) deeds: Vec<String>,
    pub(crate) complaint: Option<String>,
}

/// A job waits so long for its turn.
const START: Duration = Duration::from_secs(10);

/// Nobody waits longer, in the world's time.
const PATIENCE: Duration = Duration::from_secs(2 * 3600);

#[derive(Debug, Default)]
struct Client {
    session: Option<SessionId>,
    purged: bool,
    over: bool,
}

pub(crate) fn live(script: Script, plan: Option<(usize, Fault)>) -> Lived {
    let world = World::new(plan);
    let store = Arc::new(Datastore { inner: MemoryStore::new(), world: Arc::clone(&world) });
    let data = tempfile::tempdir().expect("a directory");
    let mut client = Client::default();
    for _ in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let whole = runtime.block_on(async {
            world.begin();
            tokio::select! {
                biased;
                () = world.death() => false,
                () = one_launcher(script, &world, &store, data.path(), &mut client) => true,
            }
        });
        drop(runtime);
        world.finish();
        if whole {
            break;
        }
    }
    let complaint = judge(&world, &store, &client);
    let deeds = world.state().deeds.clone();
    Lived { deeds, complaint }
}

/// What has to hold when all is over.
fn judge(world: &World, store: &Datastore, client: &Client) -> Option<String> {
    let state = world.state();
    let all = ListQuery {
        states: vec![State::Pending, State::Running, State::Ended],
        limit: 10,
        ..ListQuery::default()
    };
    let records = futures_util::FutureExt::now_or_never(store.inner.list(&all))
        .expect("memory does not wait")
        .expect("memory does not fail");
    let [record] = records.as_slice() else {
        return Some(format!("{} records of one acknowledged session", records.len()));
    };
    if client.session.as_ref() != Some(&record.id) {
        return Some("the acknowledged session is another one".to_owned());
    }
    if !record.is_ended() || !client.over {
        return Some(format!("it never came to an end: {:?}", record.stage));
    }
    if state.jobs.len() > 1 {
        return Some(format!("{} jobs were submitted", state.jobs.len()));
    }
    if state.jobs.iter().any(|job| job.alive) {
        return Some(format!("its job lives on: {:?}", record.stage));
    }
    let wharf_core::record::Stage::Ended { end, .. } = &record.stage else { return None };
    let truthful = match end.cause {
        EndCause::Terminated => true,
        EndCause::SubmitFailed => state.jobs.is_empty(),
        _ => false,
    };
    (!truthful).then(|| format!("it ended as {end:?} with {} jobs", state.jobs.len()))
}

async fn one_launcher(
    script: Script,
    world: &Arc<World>,
    store: &Arc<Datastore>,
    data: &Path,
    client: &mut Client,
) {
    let launcher =
        Launcher::open(parts(world, store, data, script)).await.expect("nothing is in a launcher's way");
    let mut links: BTreeMap<String, (LinkId, Arc<Link>)> = BTreeMap::new();
    let begun = world.now();
    let mut quiet = 0;
    while world.now().since(begun) < PATIENCE && quiet < 200 {
        tokio::time::sleep(Duration::from_secs(1)).await; // tidy: sleeps because the world's time is to pass
        monitors(script, world, &launcher, &mut links).await;
        ask(script, &launcher, client).await;
        // What is left to be ended gets its time.
        quiet += u32::from(client.over);
    }
}

/// The client's next step.
async fn ask(script: Script, launcher: &Launcher, client: &mut Client) {
    let alice = Actor { user: "alice".to_owned(), standing: Standing::Owner, token: None, until: None };
    let Some(id) = &client.session else {
        let request = StartRequest {
            template: "t".to_owned(),
            name: None,
            params: BTreeMap::new(),
            command: None,
            env: BTreeMap::new(),
            tags: BTreeMap::new(),
            tty: None,
        };
        if let Ok(started) = launcher.start(&alice, request, Some("key".to_owned())).await {
            client.session = Some(started.session.id);
        }
        return;
    };
    let Ok(session) = launcher.get(&alice, id).await else {
        // Done, though its answer was lost.
        client.purged = script.how == How::Purged;
        return;
    };
    let queued = session.phase == Some(wharf_protocol::Phase::Submitted);
    if script.how == How::Purged && !client.purged && queued {
        client.purged = launcher.purge(&alice, id).await.is_ok();
        return;
    }
    let ready = match session.state {
        State::Pending => script.how == How::Queued && queued,
        State::Running => true,
        State::Ended => {
            client.over = true;
            false
        }
    };
    if ready && !session.terminating {
        let _ = launcher.terminate(&alice, id, TerminateRequest::default(), Duration::ZERO).await;
    } else if session.terminating && session.reason.is_some_and(|reason| reason.code == "terminate_failed") {
        // A hook that failed is tried again when asked.
        let _ = launcher.terminate(&alice, id, TerminateRequest::default(), Duration::ZERO).await;
    }
}

/// The monitors of all jobs take their next step.
async fn monitors(
    script: Script,
    world: &World,
    launcher: &Launcher,
    links: &mut BTreeMap<String, (LinkId, Arc<Link>)>,
) {
    let jobs = world.state().jobs.clone();
    for mut job in jobs {
        if job.alive && script.how != How::Queued && world.now().since(job.taken) > START {
            if script.how == How::Silent && job.resume.is_some() {
                if let Some((id, _)) = links.remove(&job.id) {
                    launcher.link_lost(&id).await;
                }
            } else if let Some((id, link)) = links.get(&job.id) {
                for word in link.heard() {
                    match word {
                        LauncherSays::End { .. } => {
                            launcher.monitor_says(id, MonitorSays::Ending).await;
                            job.ended = true;
                        }
                        LauncherSays::ExitKept => job.alive = false,
                        _ => {}
                    }
                }
                if job.ended && job.alive {
                    let report = ExitReport {
                        exit_code: None,
                        signal: Some(15),
                        interrupted: false,
                        stopped_by: Some(StoppedBy::Signal),
                        message: None,
                        out_of_memory: false,
                        orphaned: false,
                        at: world.now(),
                    };
                    launcher.monitor_says(id, MonitorSays::Exited(report)).await;
                }
                if link.is_closed() {
                    links.remove(&job.id);
                }
            } else {
                dial(launcher, &mut job, links).await;
            }
        } else if let Some((id, _)) = links.remove(&job.id) {
            launcher.link_lost(&id).await;
        }
        world.alive().await;
        let mut state = world.state();
        if let Some(kept) = state.jobs.iter_mut().find(|kept| kept.id == job.id) {
            kept.alive &= job.alive;
            kept.ended = job.ended;
            kept.resume = job.resume;
        }
    }
}

async fn dial(
    launcher: &Launcher,
    job: &mut crate::world::Job,
    links: &mut BTreeMap<String, (LinkId, Arc<Link>)>,
) {
    let claim = LinkClaim {
        protocol: PROTOCOL,
        session: job.bootstrap.session.clone(),
        attempt: 1,
        restarts: 0,
        number: None,
        resume: job.resume.clone(),
        nonce: format!("nonce-{}", job.id),
        job_id: Some(job.id.clone()),
    };
    // The attempt stands in the credential; a monitor reads it there.
    let mut refused = Refusal::Unauthorized;
    for attempt in 1..4 {
        let claim = LinkClaim { attempt, ..claim.clone() };
        match launcher.admit(&job.bootstrap.credential, &claim).await {
            Ok(admitted) => {
                let hello = Hello {
                    claim,
                    version: "1".to_owned(),
                    snapshot: job.bootstrap.snapshot.clone(),
                    host: "host".to_owned(),
                    pid: None,
                    endpoints: Vec::new(),
                    exited: None,
                };
                let link = Arc::new(Link::default());
                match launcher.register(admitted, hello, Arc::clone(&link) as Arc<_>).await {
                    Ok((id, welcome)) => {
                        job.resume = Some(welcome.resume);
                        job.ended |= welcome.end.is_some();
                        links.insert(job.id.clone(), (id, link));
                        return;
                    }
                    Err(error) => refused = error,
                }
                break;
            }
            Err(Refusal::Unauthorized) => {}
            Err(error) => {
                refused = error;
                break;
            }
        }
    }
    match refused {
        Refusal::Over(_) => job.alive = false,
        Refusal::Later(..) => {}
        Refusal::Unauthorized => panic!("a genuine monitor is not known: {:?}", job.tag),
    }
}
