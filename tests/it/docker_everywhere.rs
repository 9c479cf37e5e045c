//! Sessions in containers: what holds on every engine. Docker runs each of these on an engine of its own, Podman all of
//! them on one ([`super::docker_podman`]).

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wharf_tests::events::Following;
use wharf_tests::websocket::WebSocket;
use wharf_tests::{Engine, Launcher, Probe, Template, until, wait};

pub(super) const SOON: Duration = Duration::from_secs(15);

/// Each on a Docker engine of its own; together the list for another one.
macro_rules! everywhere {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            #[test]
            fn on_docker() {
                super::$name(&wharf_tests::Dockerd::start());
            }
        })+

        /// All of them, by name.
        pub(crate) const EVERYWHERE: &[(&str, fn(&dyn Engine))] = &[$((stringify!($name), $name)),+];
    };
}

everywhere! {
    an_image_with_instructions_of_its_own_runs_the_sessions_command,
    a_container_lives_through_every_action_without_any_network,
    a_terminal_in_a_container_is_attached_to,
    a_container_has_no_rights_and_the_limits_that_were_asked_for,
    images_of_one_program_and_of_another_user_run,
    failures_are_told_in_the_systems_and_the_engines_own_words,
    only_what_the_administrator_declares_is_run_and_mounted,
    a_foreign_container_of_that_name_is_neither_adopted_nor_removed,
    pending_sessions_are_terminated_and_purged,
    what_a_container_says_is_followed_while_pending_and_kept_when_its_monitor_never_comes,
    killed_between_create_and_start_the_launcher_ends_with_exactly_one_container,
    a_session_purged_between_create_and_start_comes_back_with_its_one_container,
    killed_after_the_start_and_during_the_remove_the_launcher_tells_the_truth,
    a_container_removed_by_hand_has_vanished_and_one_out_of_memory_says_so,
}

/// A launcher of that engine.
#[track_caller]
pub(super) fn launcher(engine: &dyn Engine) -> Launcher {
    Launcher::builder().env("DOCKER_HOST", &engine.host()).start()
}

/// One with a site's own overlay over the shipped template.
#[track_caller]
pub(super) fn site(engine: &dyn Engine, toml: &str, lua: &str) -> Launcher {
    let template = Template::new("site").toml(&format!("api = 1\nextends = \"docker\"\n{toml}"));
    let lua = format!("local hooks = {{}}\n{lua}\nreturn hooks\n");
    let template = if lua.contains("function") { template.file("hooks.lua", &lua) } else { template };
    Launcher::builder().env("DOCKER_HOST", &engine.host()).template(&template).start()
}

/// A submit that lingers between its two steps.
pub(super) const SLOW_START: &str = "
function hooks.submit(req)
  docker.create { id = req.session.id, monitor = req.monitor, image = req.session.params.image }
  host.sleep(4)
  docker.start { id = req.session.id }
  return { job_id = req.session.id }
end";

/// Hooks that make what is named `waits` and do not start it: pending for as long as it is left alone.
pub(super) const WAITS: &str = "
local hooks = {}
function hooks.submit(req)
  if req.session.name ~= 'waits' then return base.submit(req) end
  docker.create { id = req.session.id, monitor = req.monitor, image = req.session.params.image }
  return { job_id = req.session.id }
end
return hooks";

pub(super) fn body(template: &str, image: &str, command: &[&str]) -> Value {
    json!({"template": template, "command": command, "params": {"image": image, "network": "none"}})
}

#[track_caller]
pub(super) fn run(launcher: &Launcher, image: &str, command: &[&str]) -> String {
    let id = launcher.start_session(&body("docker", image, command));
    launcher.await_connected(&id);
    id
}

/// Waits until the engine has none.
#[track_caller]
pub(super) fn await_no_container(engine: &dyn Engine) {
    until("the container is gone", SOON, || {
        let left = engine.containers();
        Probe::when(left.is_empty(), (), || format!("{left:?}"))
    });
}

#[track_caller]
pub(super) fn await_container(engine: &dyn Engine, id: &str, state: &str) {
    let wanted = format!("{id} busybox {state}");
    until("the container is so", SOON, || {
        let there = engine.containers();
        Probe::when(there == [wanted.clone()], (), || format!("{there:?}, not {wanted}"))
    });
}

fn a_container_lives_through_every_action_without_any_network(engine: &dyn Engine) {
    let launcher = launcher(engine);
    let script = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.1; done";
    let id = run(&launcher, "busybox", &["sh", "-c", script]);
    assert_eq!(engine.containers(), [format!("{id} busybox running")]);
    let session = launcher.session(&id);
    assert_eq!((&session["backend"], &session["scheduler"]), (&json!("docker"), &json!("docker")));
    assert_eq!(session["job"]["id"], id);
    assert_eq!(engine.property(&id, "{{index .Config.Labels \"io.wharf.session\"}}"), id);
    let result = launcher.exec(&id, &["sh", "-c", "echo $WHARF_SESSION_ID; exit 3"]);
    assert_eq!((&result["exit_code"], &result["stdout"]), (&json!(3), &json!(format!("{id}\n"))));
    let path = format!("/sessions/{id}");
    let http = launcher.http();
    assert_eq!(
        http.patch(&format!("{path}/params"), &json!({"note": "x"})).expect(200)["params"]["note"],
        "x"
    );
    http.post(&format!("{path}/shares"), &json!({"grantee": "user:bob", "role": "view"})).expect(201);
    http.post(&format!("{path}/disconnect"), &json!({})).expect(200);
    http.post(&format!("{path}/purge"), &json!({})).problem(409, "session_reachable");
    until("the log grows", SOON, || {
        let text = http.get(&format!("{path}/logs")).text();
        Probe::when(text.contains("line 3\r\n"), (), || text)
    });
    let ended = launcher.terminate(&id, "15s");
    assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    await_no_container(engine);
}

fn a_terminal_in_a_container_is_attached_to(engine: &dyn Engine) {
    let launcher = launcher(engine);
    let id = run(&launcher, "busybox", &["sh"]);
    let mut socket =
        WebSocket::open(&launcher.http(), &format!("/sessions/{id}/attach")).expect("an upgrade");
    assert!(socket.control(&json!({"resize": {"rows": 30, "cols": 90}})));
    assert!(socket.input(b"stty size; echo th''ere\n"));
    let seen = socket.read_until("there\r\n", SOON);
    assert!(seen.contains("30 90"), "{seen}");
    launcher.terminate(&id, "15s");
    await_no_container(engine);
}

fn a_container_has_no_rights_and_the_limits_that_were_asked_for(engine: &dyn Engine) {
    let launcher = launcher(engine);
    let mut wanted = body("docker", "busybox", &["sleep", "1000"]);
    wanted["params"]["memory"] = json!("64MiB");
    wanted["params"]["cpus"] = json!(0.5);
    wanted["params"]["pids"] = json!(50);
    let id = launcher.start_session(&wanted);
    launcher.await_connected(&id);
    let limits = engine.property(
        &id,
        "{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}} \
         {{.HostConfig.Privileged}} {{.HostConfig.NetworkMode}} {{.HostConfig.SecurityOpt}}",
    );
    assert_eq!(limits, "67108864 67108864 500000000 50 false none [no-new-privileges]");
    let status =
        launcher.exec(&id, &["cat", "/proc/self/status"])["stdout"].as_str().unwrap_or_default().to_owned();
    for line in ["CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    // What is mounted cannot be changed from inside.
    let write = launcher.exec(&id, &["sh", "-c", "echo x > /run/wharf/session/addresses"]);
    assert_ne!(write["exit_code"], 0, "{write}");
}

fn images_of_one_program_and_of_another_user_run(engine: &dyn Engine) {
    let launcher = launcher(engine);
    let bare = run(&launcher, "bare", &["/sleep", "1000"]);
    assert_eq!(launcher.exec(&bare, &["/sleep", "0"])["exit_code"], 0);
    launcher.http().get(&format!("/sessions/{bare}/logs")).text();
    let other = run(&launcher, "other", &["sleep", "1000"]);
    assert_eq!(launcher.exec(&other, &["id", "-u"])["stdout"], "1234\n");
    for id in [bare, other] {
        assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
    }
    await_no_container(engine);
}

fn failures_are_told_in_the_systems_and_the_engines_own_words(engine: &dyn Engine) {
    let launcher = launcher(engine);
    let id = launcher.start_session(&body("docker", "busybox", &["/no/such/program"]));
    let end = launcher.await_ended(&id, SOON)["end"].clone();
    assert_eq!((&end["cause"], &end["exit_code"]), (&json!("exited"), &json!(127)), "{end}");
    let words = |end: &Value| end["message"].as_str().unwrap_or_default().to_lowercase();
    assert!(words(&end).contains("no such file"), "{end}");
    let mut wanted = body("docker", "busybox", &["sh"]);
    wanted["params"]["network"] = json!("host");
    let end = launcher.await_ended(&launcher.start_session(&wanted), SOON)["end"].clone();
    assert_eq!(end["cause"], "submit_failed", "{end}");
    wanted["params"]["network"] = json!("absent");
    let end = launcher.await_ended(&launcher.start_session(&wanted), SOON)["end"].clone();
    assert_eq!(end["cause"], "submit_failed", "{end}");
    assert!(words(&end).contains("absent") && words(&end).contains("not found"), "{end}");
    await_no_container(engine);
}

fn only_what_the_administrator_declares_is_run_and_mounted(engine: &dyn Engine) {
    let config =
        "[config]\nimages = [\"busy*\"]\n[config.mounts.data]\nsource = \"/etc\"\ntarget = \"/data\"\n";
    let launcher = site(engine, config, "");
    let end = launcher.await_ended(&launcher.start_session(&body("site", "bare", &["/sleep", "9"])), SOON);
    assert_eq!(end["end"]["cause"], "submit_failed", "{end}");
    assert!(end["end"]["message"].as_str().is_some_and(|text| text.contains("busy*")), "{end}");
    let mut wanted = body("site", "busybox", &["sleep", "1000"]);
    wanted["params"]["mounts"] = json!("root");
    let end = launcher.await_ended(&launcher.start_session(&wanted), SOON);
    assert_eq!(end["end"]["cause"], "submit_failed", "{end}");
    wanted["params"]["mounts"] = json!("data");
    let id = launcher.start_session(&wanted);
    launcher.await_connected(&id);
    assert_eq!(launcher.exec(&id, &["cat", "/data/hostname"])["exit_code"], 0);
    assert_ne!(launcher.exec(&id, &["sh", "-c", "echo x > /data/wharf-test"])["exit_code"], 0);
}

fn a_foreign_container_of_that_name_is_neither_adopted_nor_removed(engine: &dyn Engine) {
    let launcher = site(engine, "", "function hooks.prepare(req) host.sleep(3) return {} end");
    let id = launcher.start_session(&body("site", "busybox", &["sleep", "1000"]));
    engine.run(&["run", "-d", "--network", "none", "--name", &id, "busybox", "sleep", "1000"]).exits(0);
    let end = launcher.await_ended(&id, SOON);
    assert_eq!(end["end"]["cause"], "submit_failed", "{end}");
    assert!(end["end"]["message"].as_str().is_some_and(|text| text.contains("left alone")), "{end}");
    wait::never("the foreign container is touched", Duration::from_secs(3), || {
        let there = engine.containers();
        (there != [format!("{id} busybox running")]).then(|| format!("{there:?}"))
    });
}

fn pending_sessions_are_terminated_and_purged(engine: &dyn Engine) {
    let lua = "
function hooks.prepare(req) if req.session.name == 'prepares' then host.sleep(60) end return {} end
function hooks.submit(req)
  docker.create { id = req.session.id, monitor = req.monitor, image = req.session.params.image }
  return { job_id = req.session.id }
end";
    let launcher = site(engine, "", lua);
    let mut prepares = body("site", "busybox", &["sleep", "1000"]);
    prepares["name"] = json!("prepares");
    let id = launcher.start_session(&prepares);
    launcher.await_session(&id, "prepares", SOON, |session| session["phase"] == "preparing");
    assert_eq!(launcher.terminate(&id, "5s")["end"]["stopped_by"], "not_started");
    // Created and never started.
    let id = launcher.start_session(&body("site", "busybox", &["sleep", "1000"]));
    launcher.await_session(&id, "is submitted", SOON, |session| session["job"]["state"] == "starting");
    assert_eq!(engine.containers(), [format!("{id} busybox created")]);
    let ended = launcher.terminate(&id, "10s");
    assert_eq!((&ended["end"]["cause"], &ended["end"]["stopped_by"]), (&json!("terminated"), &json!("hook")));
    assert_eq!(engine.containers(), [""; 0]);
    let id = launcher.start_session(&body("site", "busybox", &["sleep", "1000"]));
    launcher.await_session(&id, "is submitted", SOON, |session| session["phase"] == "submitted");
    assert_eq!(launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
    launcher.http().get(&format!("/sessions/{id}")).problem(404, "unknown_session");
    // A purge touches no job; one that starts late brings its session back.
    assert_eq!(engine.containers(), [format!("{id} busybox created")]);
    engine.run(&["start", &id]).exits(0);
    launcher.await_reappeared(&id, SOON);
    assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
}

/// The container's own words are the monitor's: here that it reaches no launcher, since its addresses are wrong at first.
fn what_a_container_says_is_followed_while_pending_and_kept_when_its_monitor_never_comes(
    engine: &dyn Engine,
) {
    let launcher = site(engine, "", SLOW_START);
    let pending = |command: &[&str]| {
        let id = launcher.start_session(&body("site", "busybox", command));
        await_container(engine, &id, "created");
        let addresses = launcher.data().join("sessions").join(&id).join("mount/addresses");
        let right = std::fs::read(&addresses).expect("it was written");
        std::fs::write(&addresses, "unix:/run/wharf/nowhere\n").expect("our own directory");
        let mut following = Following::open(&launcher.http(), &format!("/sessions/{id}/logs?follow=true"));
        let told = following.read_until(SOON, |text| text.contains("no launcher is reached"));
        assert!(told, "{}", following.seen());
        (id, addresses, right, following)
    };
    let (_, addresses, right, mut following) = pending(&["sh", "-c", "echo first; sleep 2; echo last"]);
    std::fs::write(&addresses, right).expect("our own directory");
    assert!(following.ends(Duration::from_secs(60)), "{}", following.seen());
    let seen = following.seen().replace("\r\n", "\n");
    assert!(seen.ends_with(")\nfirst\nlast\n"), "{seen}");
    assert_eq!(seen.matches("no launcher is reached").count(), 1, "{seen}");
    await_no_container(engine);

    let (id, _, _, mut following) = pending(&["true"]);
    engine.run(&["kill", &id]).exits(0);
    assert_eq!(launcher.await_ended(&id, SOON)["end"]["cause"], "never_registered");
    await_no_container(engine);
    assert!(following.ends(SOON), "{}", following.seen());
    let said = launcher.http().get(&format!("/sessions/{id}/logs")).text();
    assert!(said.starts_with("wharf-monitor: no launcher is reached"), "{said}");
    assert_eq!(following.seen(), said);
}

fn killed_between_create_and_start_the_launcher_ends_with_exactly_one_container(engine: &dyn Engine) {
    let mut launcher = site(engine, "", SLOW_START);
    let id = launcher.start_session(&body("site", "busybox", &["sleep", "1000"]));
    await_container(engine, &id, "created");
    launcher.kill9();
    assert_eq!(engine.containers(), [format!("{id} busybox created")]);
    launcher.restart();
    launcher.await_connected(&id);
    assert_eq!(engine.containers(), [format!("{id} busybox running")]);
    let session =
        launcher.await_session(&id, "knows its job", SOON, |session| session["job"]["id"].is_string());
    assert_eq!(session["job"]["id"], id);
}

/// Purged in the middle of its submit, which goes on: the job starts, and its session is back.
fn a_session_purged_between_create_and_start_comes_back_with_its_one_container(engine: &dyn Engine) {
    let launcher = site(engine, "[timeouts]\nsubmit = \"5s\"\nsettle = \"1s\"\n", SLOW_START);
    let id = launcher.start_session(&body("site", "busybox", &["sleep", "1000"]));
    await_container(engine, &id, "created");
    assert_eq!(launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
    launcher.await_reappeared(&id, SOON);
    assert_eq!(engine.containers(), [format!("{id} busybox running")]);
    // Ended in the middle of it, nothing is left.
    let other = launcher.start_session(&body("site", "busybox", &["sleep", "1000"]));
    until("the other one's container is made", SOON, || {
        let there = engine.containers();
        Probe::when(there.contains(&format!("{other} busybox created")), (), || format!("{there:?}"))
    });
    launcher.http().post(&format!("/sessions/{other}/terminate"), &json!({})).expect(202);
    assert_eq!(launcher.await_ended(&other, SOON)["end"]["cause"], "terminated");
    assert_eq!(launcher.terminate(&id, "15s")["end"]["cause"], "terminated");
    await_no_container(engine);
}

fn killed_after_the_start_and_during_the_remove_the_launcher_tells_the_truth(engine: &dyn Engine) {
    let late = SLOW_START.replace("host.sleep(4)", "").replace("  return", "  host.sleep(4)\n  return");
    let mut launcher = site(engine, "[session]\nterminate_grace = \"1s\"\n", &late);
    let id = launcher.start_session(&body("site", "busybox", &["sleep", "1000"]));
    await_container(engine, &id, "running");
    launcher.kill9();
    launcher.restart();
    launcher.await_connected(&id);
    assert_eq!(engine.containers(), [format!("{id} busybox running")]);
    launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({})).expect(202);
    launcher.kill9();
    launcher.restart();
    let ended = launcher.await_ended(&id, Duration::from_secs(30));
    assert_eq!(ended["end"]["cause"], "terminated", "{ended}");
    await_no_container(engine);
}

fn a_container_removed_by_hand_has_vanished_and_one_out_of_memory_says_so(engine: &dyn Engine) {
    let launcher = launcher(engine);
    let id = run(&launcher, "busybox", &["sleep", "1000"]);
    let mut greedy =
        body("docker", "busybox", &["sh", "-c", "x=$(head -c 200000000 /dev/zero | tr '\\0' x); sleep 9"]);
    greedy["params"]["memory"] = json!("32MiB");
    let fat = launcher.start_session(&greedy);
    let end = launcher.await_ended(&fat, Duration::from_secs(30))["end"].clone();
    assert_eq!(end["cause"], "out_of_memory", "{end}");
    assert!(end["exit_code"] == 137 || end["signal"] == 9, "{end}");
    // A "gone" is believed some seconds after the submit.
    engine.run(&["rm", "-f", &id]).exits(0);
    let end = launcher.await_ended(&id, Duration::from_secs(30))["end"].clone();
    assert_eq!(end["cause"], "vanished", "{end}");
}

/// What an image says of itself is its own; what a session is, it cannot change.
fn an_image_with_instructions_of_its_own_runs_the_sessions_command(engine: &dyn Engine) {
    wharf_tests::dockerd::odd_image(
        engine,
        &[
            "ENV PATH=/bin",
            "ENV WHARF_SESSION_ID=forged",
            "ENV WHARF_JOB_ID=forged",
            "ENTRYPOINT [\"/bin/false\"]",
            "CMD [\"--no\"]",
            "USER other",
            "WORKDIR \"/made/by the/image\"",
            "VOLUME /run",
            "EXPOSE 80",
            "STOPSIGNAL SIGWINCH",
            "HEALTHCHECK --interval=1s --retries=1 CMD [\"/bin/false\"]",
            "LABEL io.wharf.session=forged io.wharf.memory=1",
        ],
    );
    let launcher = launcher(engine);
    let mut wanted =
        body("docker", "odd", &["sh", "-c", "echo \"$0\"; pwd; exec sleep 1000", "words with  blanks"]);
    wanted["name"] = json!("a name with  blanks");
    wanted["tty"] = json!(false);
    let id = launcher.start_session(&wanted);
    launcher.await_connected(&id);
    let script = "id -u; pwd; echo $WHARF_SESSION_ID; echo \"$WHARF_SESSION_NAME\"";
    let seen = launcher.exec(&id, &["sh", "-c", script])["stdout"].clone();
    assert_eq!(seen, format!("1234\n/made/by the/image\n{id}\na name with  blanks\n"));
    assert_eq!(engine.property(&id, "{{index .Config.Labels \"io.wharf.session\"}}"), id);
    assert_eq!(launcher.session(&id)["job"]["id"], id);
    let logs = launcher.http().get(&format!("/sessions/{id}/logs")).text();
    assert_eq!(logs, "words with  blanks\n/made/by the/image\n");
    assert_eq!(launcher.terminate(&id, "15s")["end"]["stopped_by"], "signal");
    await_no_container(engine);
    // Its checks are for its own command, and so is the signal that ends it: somebody who stops the container is obeyed.
    let id = launcher.start_session(&wanted);
    launcher.await_connected(&id);
    assert_eq!(engine.property(&id, "{{.Config.Healthcheck.Test}}"), "[NONE]");
    let began = Instant::now();
    engine.run(&["stop", "--time", "60", &id]).exits(0);
    assert!(began.elapsed() < Duration::from_secs(30), "it waited for more than SIGTERM");
    let cause = launcher.await_ended(&id, SOON)["end"]["cause"].clone();
    assert!(["signaled", "vanished"].contains(&cause.as_str().unwrap_or_default()), "{cause}");
    await_no_container(engine);
    // What the image's VOLUME made goes with the container.
    assert_eq!(engine.run(&["volume", "ls", "--quiet"]).ok(), "");
    // A user that the image does not have: the engine's own words, and nothing is left.
    wharf_tests::dockerd::odd_image(engine, &["USER nobody-of-here"]);
    let end = launcher.await_ended(&launcher.start_session(&body("docker", "odd", &["true"])), SOON);
    assert_eq!(end["end"]["cause"], "submit_failed", "{end}");
    assert!(end["end"]["message"].as_str().is_some_and(|told| told.contains("nobody-of-here")), "{end}");
    await_no_container(engine);
}
