//! Measures sessions as held jobs of a real Slurm against the raw commands of the same run, and prints ratios.
//!
//! ```text
//! cargo build --release && cargo run --release -p wharf-tests --bin bench-slurm [JOBS [LANES [ROUNDS]]]
//! ```
//!
//! Starts, four at a time, to the acknowledged job id, against `sbatch` four at a time: by slurmrestd, then by the commands
//! alone. Then all of them are ended together, against `scancel` one by one. That five times; the medians come last.
//! Absolute times are this machine's and its cluster's; compare the ratios.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use wharf_tests::{Address, Launcher, Slurm, Template, processes};

/// At a time, unless it is said.
const LANES: usize = 4;
/// For each answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs that many, so many at a time, each lane with what it has made for itself; how long all of them took.
fn together<L>(
    count: usize,
    lanes: usize,
    lane: impl Fn() -> L + Sync,
    one: impl Fn(&mut L) + Sync,
) -> Duration {
    let next = AtomicUsize::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                let mut own = lane();
                while next.fetch_add(1, Ordering::Relaxed) < count {
                    one(&mut own);
                }
            });
        }
    });
    began.elapsed()
}

#[expect(clippy::cast_precision_loss, reason = "hundreds of jobs")]
fn rate(count: usize, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64()
}

#[expect(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "printing is what a bench is for; hundreds of jobs"
)]
fn cost(what: &str, count: usize, used: Duration) {
    let each = used.as_secs_f64() * 1000.0 / count as f64;
    println!("{what:<12} {each:>7.2} ms of processor for each in the launcher");
}

#[expect(clippy::print_stdout, reason = "printing is what a bench is for")]
fn report(what: &'static str, ours: f64, raw: f64, wanted: f64) -> (&'static str, f64) {
    println!("{what:<12} {ours:>7.1}/s  raw {raw:>7.1}/s  {:>5.2} x raw  (wanted: {wanted})", ours / raw);
    (what, ours / raw)
}

/// A raw job as a script of an administrator would submit it; its id.
fn sbatch(slurm: &Slurm, dir: &Path) -> String {
    let script = dir.join("job.sh");
    let output = format!("--output={}/job.log", dir.display());
    let said = slurm.run(&[
        "sbatch",
        "--parsable",
        "--hold",
        "--no-requeue",
        "--export=NIL",
        &output,
        &script.display().to_string(),
    ]);
    said.trim().to_owned()
}

/// Held jobs by the shipped template, as a site would have it; one that names a cluster of its own is served by the commands.
fn held(name: &str, hooks: &str) -> Template {
    Template::new(name).toml(&format!(
        "api = 1\nextends = \"slurm\"\ninstance = \"near\"\n[config]\noptions = [\"--hold\"]\n[hooks]\n{hooks}\n"
    ))
}

/// A client that keeps its connection, as whoever starts many sessions does.
struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    fn of(launcher: &Launcher) -> Self {
        let Address::Unix(path) = launcher.socket() else { panic!("the launcher of a test has a socket") };
        let stream = UnixStream::connect(path).expect("the launcher listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket has that");
        Self { stream: BufReader::new(stream) }
    }

    fn ask(&mut self, method: &str, path: &str, body: &str, wanted: u16) -> Value {
        let length = body.len();
        let request = format!(
            "{method} /api/v1{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.stream.get_mut().write_all(request.as_bytes()).expect("the launcher reads");
        let (mut length, mut status) = (0, 0);
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).expect("the launcher answers");
            let line = line.trim_end();
            if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
                status = rest[..3].parse().expect("a status");
            } else if let Some((name, value)) = line.split_once(": ") {
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.parse().expect("a length");
                }
            } else {
                break;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer).expect("the launcher answers to the end");
        assert_eq!(status, wanted, "{}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).expect("JSON")
    }

    /// Starts a session and waits for its job's id; the session's id.
    fn start(&mut self, body: &str) -> String {
        let session = self.ask("POST", "/sessions?wait=submitted&timeout=60s", body, 201);
        assert!(session["job"]["id"].is_string(), "{session}");
        session["id"].as_str().expect("a session has an id").to_owned()
    }
}

fn main() {
    let number = |at: usize, otherwise: usize| {
        std::env::args().nth(at).map_or(otherwise, |text| text.parse().expect("a number"))
    };
    let (count, lanes, rounds) = (number(1, 200), number(2, LANES), number(3, 5));
    let slurm = Slurm::alone();
    let launcher = Launcher::builder()
        .config(&format!(
            "[limits]\nsessions = 100000\nstarts_per_minute = 10000000\n{}",
            slurm.instance(&format!("http://{}", slurm.rest().0), Path::new("/usr/bin"))
        ))
        .template(&held("by-rest", ""))
        .template(&held("by-command", &format!("env = {{ SLURM_CONF = \"{}\" }}", slurm.conf())))
        .start();
    let raw_dir = launcher.home().path().join("raw");
    std::fs::create_dir(&raw_dir).expect("our own directory takes directories");
    std::fs::write(raw_dir.join("job.sh"), "#!/bin/sh\nexec sleep 1000\n").expect("and files");

    let mut ratios: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        for (what, ratio) in round(&slurm, &launcher, &raw_dir, count, lanes) {
            ratios.entry(what).or_default().push(ratio);
        }
    }
    for (what, mut all) in ratios {
        all.sort_by(f64::total_cmp);
        median(what, all[all.len() / 2], rounds);
    }
}

#[expect(clippy::print_stdout, reason = "printing is what a bench is for")]
fn median(what: &str, ratio: f64, rounds: usize) {
    println!("{what:<12} {ratio:>5.2} x raw, the median of {rounds}");
}

/// Starts all, ends all; the ratios to the raw commands.
fn round(
    slurm: &Slurm,
    launcher: &Launcher,
    raw_dir: &Path,
    count: usize,
    lanes: usize,
) -> Vec<(&'static str, f64)> {
    let mut ratios = Vec::new();
    // A part of the raw ones before, between and after, so that what else the machine does meets all of them.
    let raw = std::sync::Mutex::new(Vec::new());
    let floor = || {
        let one = |(): &mut ()| {
            let id = sbatch(slurm, raw_dir);
            raw.lock().expect("no lane panics with it").push(id);
        };
        together(count / 2, lanes, || (), one)
    };
    let ids = std::sync::Mutex::new(Vec::new());
    let http = launcher.http().within(PATIENCE);
    let ours = |template: &str| {
        let body = json!({"template": template, "command": ["sleep", "1000"]}).to_string();
        let before = processes::cpu(launcher.pid());
        let one = |client: &mut Client| {
            let id = client.start(&body);
            ids.lock().expect("no lane panics with it").push(id);
        };
        let took = together(count, lanes, || Client::of(launcher), one);
        (took, processes::cpu(launcher.pid()) - before)
    };
    let mut floors = vec![floor()];
    for template in ["by-rest", "by-command"] {
        let (took, used) = ours(template);
        floors.push(floor());
        let around: Duration = floors.iter().rev().take(2).sum();
        ratios.push(report(template, rate(count, took), rate(count / 2 * 2, around), 0.8));
        cost(template, count, used);
    }

    let raw = raw.into_inner().expect("no lane panicked");
    let began = Instant::now();
    for id in &raw {
        let status =
            Command::new("scancel").arg(id).env("SLURM_CONF", slurm.conf()).stdin(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "scancel {id}");
    }
    let floor = began.elapsed();
    let ids = ids.into_inner().expect("no lane panicked");
    let began = Instant::now();
    std::thread::scope(|scope| {
        for id in &ids {
            let http = http.clone();
            scope.spawn(move || {
                let answer = http.post(&format!("/sessions/{id}/terminate?wait=60s"), &json!({}));
                assert_eq!(answer.expect(200)["end"]["cause"], "terminated");
            });
        }
    });
    ratios.push(report("terminate", rate(ids.len(), began.elapsed()), rate(raw.len(), floor), 2.5));
    ratios
}
