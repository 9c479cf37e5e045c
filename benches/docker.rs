//! Measures starts in containers against the bare Engine API of the same run, and prints ratios and medians.
//!
//! ```text
//! cargo build --release && cargo run --release -p wharf-tests --bin bench-docker [ROUNDS]
//! ```
//!
//! ```text
//! floor:  create + start of the same container (image, limits, mounts, network), until the engine has answered
//! wharf:  POST /sessions, until the session is running: the same, and its monitor has registered
//! ```
//!
//! Both are measured in turns, so that a busy moment of the machine meets both; containers are removed in between.
//! First as on the launcher's own host (mounts), then as on another host (uploads, link by URL).

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wharf_tests::http::{Address, Http};
use wharf_tests::{Dockerd, Home, Launcher, Probe, until};

/// Starts in one round, and how many at once.
const STARTS: usize = 40;
const LANES: usize = 4;
/// Single starts measured in a round.
const SINGLES: usize = 10;

/// What is asked of each style: the least rate as a part of the floor's, and the most that one start adds.
const GOALS: [(&str, f64, Duration); 2] =
    [("mounts", 0.95, Duration::from_millis(40)), ("uploads", 0.75, Duration::from_millis(100))];

struct Bench {
    engine: Dockerd,
    raw: Http,
    launcher: Launcher,
    network: &'static str,
}

impl Bench {
    fn open(uploads: bool) -> Self {
        let mut engine = Dockerd::start();
        let gateway = engine.network("lab");
        let port = TcpListener::bind((gateway.as_str(), 0)).and_then(|socket| socket.local_addr());
        let address = format!("http://{gateway}:{}", port.expect("the network's own address is ours").port());
        let home = Home::new();
        let socket = format!("unix:{}", home.path().join("runtime/api").display());
        let config = format!(
            "[monitor]\nadvertise = [\"{address}\"]\n[backends.docker.one]\nhost = \"{}\"\nupload = {uploads}\n\
             [limits]\nstarts_per_minute = 100000\n",
            engine.host()
        );
        let launcher = Launcher::at(&home).config(&config);
        let launcher = ["--listen", &socket, "--listen", &address, "--insecure-http"]
            .into_iter()
            .fold(launcher, |launcher, word| launcher.arg(word))
            .start();
        let raw = Http::new(Address::Unix(engine.socket())).within(Duration::from_secs(60));
        Self { engine, raw, launcher, network: if uploads { "lab" } else { "none" } }
    }

    /// One start until it runs; the session's id.
    fn start(&self) -> String {
        let id = self.launcher.start_session(&json!({
            "template": "docker", "command": ["sleep", "1000"],
            "params": {"image": "busybox", "network": self.network, "memory": "64MiB"},
        }));
        let http = self.launcher.http().within(Duration::from_secs(90));
        let session = http.get(&format!("/sessions/{id}?wait=running&timeout=60s")).expect(200);
        assert_eq!(session["state"], "running", "{session}");
        id
    }

    /// What the engine was asked for when that session was started, with a command of its own.
    fn container(&self, id: &str) -> Value {
        let answer = self.raw.try_raw("GET", &format!("/v1.41/containers/{id}/json"), Vec::new());
        let found = answer.expect("the engine answers").json();
        let mut body = found["Config"].clone();
        body["HostConfig"] = found["HostConfig"].clone();
        (body["Entrypoint"], body["Cmd"], body["Hostname"]) = (json!(["sleep"]), json!(["1000"]), json!(""));
        body
    }

    /// The floor of one start.
    fn create(&self, container: &Value) {
        let ask = |path: &str, body: Vec<u8>, status: u16| {
            let answer = self.raw.try_raw("POST", &format!("/v1.41/containers/{path}"), body);
            let answer = answer.expect("the engine answers");
            assert_eq!(answer.status, status, "{answer}");
            answer.body
        };
        let made = ask("create", container.to_string().into_bytes(), 201);
        let made: Value = serde_json::from_slice(&made).expect("the engine answers JSON");
        let _ = ask(&format!("{}/start", made["Id"].as_str().unwrap_or_default()), b"{}".to_vec(), 204);
    }

    fn clear(&self) {
        let ids = self.launcher.listed();
        for id in &ids {
            let _ = self.launcher.http().post(&format!("/sessions/{id}/terminate"), &json!({}));
        }
        for id in &ids {
            self.launcher.await_ended(id, Duration::from_secs(60));
        }
        until("all containers are gone", Duration::from_secs(120), || {
            let all = self.engine.run(&["ps", "-aq"]).stdout;
            let ids: Vec<&str> = all.split_whitespace().collect();
            if ids.is_empty() {
                return Probe::Ready(());
            }
            // The launcher may be removing some of them.
            let told = self.engine.run(&[&["rm", "-f"], ids.as_slice()].concat());
            Probe::NotYet(told.to_string())
        });
    }
}

/// All starts, some at once.
fn together(run: impl Fn() + Sync) -> Duration {
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| (0..STARTS / LANES).for_each(|_| run()));
        }
    });
    began.elapsed()
}

fn one(run: impl FnOnce()) -> Duration {
    let began = Instant::now();
    run();
    began.elapsed()
}

fn median(mut all: Vec<Duration>) -> Duration {
    all.sort_unstable();
    all[all.len() / 2]
}

#[expect(clippy::print_stdout, reason = "printing is what a bench is for")]
fn main() {
    let rounds: usize = std::env::args().nth(1).map_or(3, |text| text.parse().expect("a number"));
    for (style, least, most) in GOALS {
        let bench = Bench::open(style == "uploads");
        let container = bench.container(&bench.start());
        bench.clear();
        let (mut rates, mut raw, mut wharf) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let floor = together(|| bench.create(&container));
            bench.clear();
            let ours = together(|| drop(bench.start()));
            bench.clear();
            println!("{style:<8} {STARTS} starts, {LANES} at once: floor {floor:.2?}, wharf {ours:.2?}");
            rates.push(floor.as_secs_f64() / ours.as_secs_f64());
            for _ in 0..SINGLES {
                raw.push(one(|| bench.create(&container)));
                wharf.push(one(|| drop(bench.start())));
            }
            bench.clear();
        }
        rates.sort_unstable_by(f64::total_cmp);
        let rate = rates[rates.len() / 2];
        let (raw, wharf) = (median(raw), median(wharf));
        println!("{style:<8} rate, median of {rounds} rounds: {rate:.2} of the floor (wanted: {least})");
        println!(
            "{style:<8} one start, median: floor {raw:.1?}, wharf {wharf:.1?}, adds {:.1?} (wanted: {most:?})",
            wharf.saturating_sub(raw)
        );
    }
}
