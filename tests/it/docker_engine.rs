//! What the launcher asks of an engine, and what the engine says by itself.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wharf_tests::{Dockerd, Launcher, Probe, Proxy, Template, until};

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

#[test]
fn a_hundred_sessions_cost_one_list_call_an_interval() {
    let engine = Dockerd::start();
    let place = tempfile::tempdir().expect("a directory");
    let door = Proxy::unix(&place.path().join("door"), engine.socket());
    let launcher = site(&door, "[timeouts]\npoll = \"200ms\"\nsubmit = \"120s\"\nregister = \"120s\"\n", "");
    std::thread::scope(|scope| {
        for lane in 0..5 {
            let launcher = &launcher;
            scope.spawn(move || {
                for number in 0..20 {
                    launcher.start_session(&body(&format!("s{lane}-{number}")));
                }
            });
        }
    });
    until("all are linked", Duration::from_secs(150), || {
        let page = launcher.http().get("/sessions?limit=500").expect(200);
        let linked = page["items"].as_array().into_iter().flatten().filter(|one| one["link"] == "connected");
        let linked = linked.count();
        Probe::when(linked == 100, (), || format!("{linked} of 100"))
    });
    // Linked ones are asked about every ten intervals.
    let interval = Duration::from_millis(200 * 10);
    let is_about_containers = |line: &String| line.contains("/containers/");
    until("a round", SOON, || {
        let asked = door.take_requests().into_iter().any(|line| is_about_containers(&line));
        Probe::when(asked, (), || "none".to_owned())
    });
    let began = Instant::now();
    let mut asked = Vec::new();
    until("four rounds", SOON, || {
        asked.extend(door.take_requests().into_iter().filter(is_about_containers));
        Probe::when(asked.len() >= 4, (), || format!("{asked:?}"))
    });
    // Three intervals, jittered; a link that is lost for a moment has one more asked.
    assert!(began.elapsed() >= interval * 2, "{asked:?} in {:?}", began.elapsed());
    assert!(asked.iter().all(|line| line.contains("/containers/json?")), "{asked:?}");
}

#[test]
fn hooks_see_what_a_container_uses_and_which_networks_it_may_join() {
    let mut engine = Dockerd::start();
    engine.network("lab");
    engine.network("other");
    let place = tempfile::tempdir().expect("a directory");
    let door = Proxy::unix(&place.path().join("door"), engine.socket());
    let lua = "
local hooks = {}
function hooks.options(req) return { network = docker.networks {} } end
function hooks.logs(req) return { text = json.encode(docker.stats { id = req.session.id }) } end
return hooks";
    let launcher = site(&door, "[config]\nnetworks = [\"lab\", \"none\"]\n", lua);
    let http = launcher.http();
    let choices = http.post("/templates/site/options", &json!({"params": {}})).expect(200);
    assert!(choices.to_string().contains(r#"["lab","none"]"#), "{choices}");
    let id = launcher.start_session(&body("runs"));
    launcher.await_connected(&id);
    let told = http.get(&format!("/sessions/{id}/logs?stream=hook")).text();
    let used: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    assert_eq!(used["memory_limit"], 16 << 20, "{used}");
    assert!(used["memory"].as_u64().is_some_and(|bytes| bytes > 0), "{used}");
    assert!(used["cpu_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{used}");
    assert!(used["pids"].as_u64().is_some_and(|pids| pids >= 2), "{used}");
}
