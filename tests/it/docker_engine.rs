//! What the launcher asks of an engine, and what the engine says by itself.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wharf_tests::{Dockerd, Engine as _, Launcher, Probe, Proxy, Template, until, wait};

use super::docker_everywhere::WAITS;

const SOON: Duration = Duration::from_secs(15);

/// A launcher whose template `site` overlays the shipped one, and that reaches the engine by that door.
#[track_caller]
fn site(door: &Proxy, toml: &str, lua: &str) -> Launcher {
    let template = Template::new("site").toml(&format!("api = 1\nextends = \"docker\"\n{toml}"));
    let template = if lua.is_empty() { template } else { template.file("hooks.lua", lua) };
    Launcher::builder().env("DOCKER_HOST", door.address()).template(&template).start()
}

fn body(name: &str) -> Value {
    json!({"template": "site", "name": name, "command": ["sleep", "1000"],
           "params": {"image": "busybox", "network": "none", "memory": "16MiB"}})
}

/// Jobs are asked about once a minute; what is noticed before was heard. The sessions named `waits` never start, so that
/// no monitor can tell their end either.
#[test]
fn an_end_by_hand_is_heard_long_before_it_would_be_asked_about() {
    let engine = Dockerd::start();
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("door");
    let door = Proxy::unix(&path, engine.socket());
    let lua = "
local hooks = {}
function hooks.submit(req)
  docker.create { id = req.session.id, monitor = req.monitor, image = req.session.params.image }
  if req.session.name ~= 'waits' then docker.start { id = req.session.id } end
  return { job_id = req.session.id }
end
return hooks";
    let launcher = site(&door, "[timeouts]\npoll = \"60s\"\nsettle = \"100ms\"\nregister = \"10m\"\n", lua);
    let submitted = |name: &str| {
        let id = launcher.start_session(&body(name));
        launcher.await_session(&id, "is submitted", SOON, |session| session["phase"] == "submitted");
        id
    };
    let (first, second) = (submitted("waits"), submitted("waits"));
    let running = launcher.start_session(&body("runs"));
    launcher.await_connected(&running);
    // The first round is over: the next would come in a minute.
    launcher.await_session(&second, "was asked about", SOON, |session| session["job"]["state"] == "starting");
    let began = Instant::now();
    engine.run(&["rm", &first]).exits(0);
    assert_eq!(launcher.await_ended(&first, SOON)["end"]["cause"], "vanished");
    engine.run(&["kill", &running]).exits(0);
    let cause = launcher.await_ended(&running, SOON)["end"]["cause"].clone();
    assert!(["signaled", "vanished"].contains(&cause.as_str().unwrap_or_default()), "{cause}");
    // What happens while nobody listens is found when somebody listens again.
    drop(door);
    engine.run(&["rm", &second]).exits(0);
    let _door = Proxy::unix(&path, engine.socket());
    assert_eq!(launcher.await_ended(&second, SOON)["end"]["cause"], "vanished");
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
}

/// A hundred sessions that are started five at a time.
fn start_a_hundred(launcher: &Launcher, name: &str) {
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                for _ in 0..20 {
                    launcher.start_session(&body(name));
                }
            });
        }
    });
}

#[track_caller]
fn await_a_hundred(launcher: &Launcher, what: &str, fits: impl Fn(&Value) -> bool) {
    until(what, Duration::from_secs(150), || {
        let page = launcher.http().get("/sessions?limit=500").expect(200);
        let there = page["items"].as_array().into_iter().flatten().filter(|one| fits(one)).count();
        Probe::when(there == 100, (), || format!("{there} of 100"))
    });
}

/// When each of the next questions about containers came; all of them are lists.
#[track_caller]
fn next_lists(door: &Proxy, count: usize) -> Vec<Duration> {
    // What was asked until now belongs to the starts.
    door.take_requests();
    let (began, mut asked) = (Instant::now(), Vec::new());
    until("so many rounds", Duration::from_secs(60), || {
        asked.extend(door.take_timed().into_iter().filter(|(_, line)| line.contains("/containers/")));
        Probe::when(asked.len() >= count, (), || format!("{asked:?}"))
    });
    assert!(asked.iter().all(|(_, line)| line.contains("/containers/json?")), "{asked:?}");
    asked.iter().map(|(at, _)| at.saturating_duration_since(began)).collect()
}

#[test]
fn a_hundred_pending_or_linked_sessions_cost_exactly_one_list_call_an_interval() {
    let engine = Dockerd::start();
    let place = tempfile::tempdir().expect("a directory");
    let door = Proxy::unix(&place.path().join("door"), engine.socket());
    let poll = Duration::from_secs(1);
    let toml = "[timeouts]\npoll = \"1s\"\nsubmit = \"120s\"\nregister = \"10m\"\n";
    let launcher = site(&door, toml, WAITS);
    start_a_hundred(&launcher, "waits");
    await_a_hundred(&launcher, "all are created", |one| one["job"]["state"] == "starting");
    wait::one_each("lists while pending", poll, &next_lists(&door, 8));
    let page = launcher.http().get("/sessions?limit=500").expect(200);
    let ids: Vec<&str> =
        page["items"].as_array().into_iter().flatten().filter_map(|one| one["id"].as_str()).collect();
    std::thread::scope(|scope| {
        for part in ids.chunks(20) {
            let engine = &engine;
            scope.spawn(move || engine.run(&[&["start"], part].concat()).ok().len());
        }
    });
    await_a_hundred(&launcher, "all are linked", |one| one["link"] == "connected");
    // Linked ones are asked about every ten intervals; the first of these may be the last of the others.
    let lists = next_lists(&door, 4);
    wait::one_each("lists while linked", poll * 10, &lists[1..]);
    // Without sessions nobody is asked.
    let mut args = vec!["terminate"];
    args.extend(&ids);
    launcher.cli(&args).exits(0);
    until("their containers are removed", SOON, || {
        let left = engine.containers();
        Probe::when(left.is_empty(), (), || format!("{left:?}"))
    });
    door.take_requests();
    wait::never("an engine without sessions is asked", poll * 4, || {
        door.take_requests().into_iter().find(|line| line.contains("/containers/"))
    });
}

#[test]
fn hooks_run_programs_and_see_what_a_container_uses_and_which_networks_it_may_join() {
    let mut engine = Dockerd::start();
    engine.network("lab");
    engine.network("other");
    let place = tempfile::tempdir().expect("a directory");
    let door = Proxy::unix(&place.path().join("door"), engine.socket());
    let lua = "
local hooks = {}
function hooks.options(req) return { network = docker.networks {} } end
function hooks.logs(req)
  local id = req.session.id
  local run = docker.exec { id = id, argv = { 'sh', '-c', 'cat; echo bad >&2; exit 3' }, stdin = 'in ' .. id }
  return { text = json.encode { stats = docker.stats { id = id }, run = run } }
end
return hooks";
    let launcher = site(&door, "[config]\nnetworks = [\"lab\", \"none\"]\n", lua);
    let http = launcher.http();
    let choices = http.post("/templates/site/options", &json!({"params": {}})).expect(200);
    assert!(choices.to_string().contains(r#"["lab","none"]"#), "{choices}");
    let id = launcher.start_session(&body("runs"));
    launcher.await_connected(&id);
    let told = http.get(&format!("/sessions/{id}/logs?stream=hook")).text();
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    let run = json!({"status": 3, "stdout": format!("in {id}"), "stderr": "bad\n", "truncated": false});
    assert_eq!(told["run"], run);
    let used = &told["stats"];
    assert_eq!(used["memory_limit"], 16 << 20, "{used}");
    assert!(used["memory"].as_u64().is_some_and(|bytes| bytes > 0), "{used}");
    assert!(used["cpu_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{used}");
    assert!(used["pids"].as_u64().is_some_and(|pids| pids >= 2), "{used}");
}
