//! Measures the built launcher against a raw floor of the same run, and prints ratios and medians.
//!
//! ```text
//! cargo build --release && cargo run --release -p wharf-tests --bin bench-launcher [ENDED] [PENDING]
//! ```
//!
//! Absolute times are this machine's; compare the ratios.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use wharf_tests::{Launcher, Template, wait};

/// Pages read of each kind.
const PAGES: usize = 200;
/// Starts and spawns measured.
const STARTS: usize = 100;

#[derive(Debug)]
struct Measured {
    median: Duration,
    high: Duration,
}

fn measure(times: usize, mut run: impl FnMut()) -> Measured {
    let mut taken: Vec<Duration> = (0..times)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    taken.sort_unstable();
    Measured { median: taken[times / 2], high: taken[times * 99 / 100] }
}

#[expect(clippy::print_stdout, reason = "printing is what a bench is for")]
fn report(what: &str, measured: &Measured, floor: &Measured) {
    let ratio = measured.median.as_secs_f64() / floor.median.as_secs_f64();
    println!(
        "{what:<44} median {:>10.3?}  p99 {:>10.3?}  {ratio:>7.1} x floor",
        measured.median, measured.high
    );
}

#[expect(clippy::print_stdout, reason = "printing is what a bench is for")]
fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse().expect("a number"));
    let ended: usize = arguments.next().unwrap_or(10_000);
    let pending: usize = arguments.next().unwrap_or(1_000);

    let refusing = Template::new("refusing").file(
        "hooks.lua",
        "return { submit = function(req) host.fail('invalid', 'refused for the bench', {}) end,\n\
         terminate = function(req) return {} end }",
    );
    let lua = "return { submit = function(req) return { job_id = 'job-' .. req.session.id } end,\n\
               terminate = function(req) return {} end }";
    let waiting = Template::new("waiting").file("hooks.lua", lua);
    let command = "[command]\ndefault = [\"true\"]\n";
    let launcher = Launcher::builder()
        .config("[limits]\nsessions = 100000\nstarts_per_minute = 10000000\n")
        .template(&refusing.toml(command))
        .template(&waiting.toml(command))
        .start();
    let http = launcher.http();

    let floor = measure(STARTS, || {
        Command::new("/bin/true").status().expect("true is there");
    });
    report("floor: spawn /bin/true", &floor, &floor);
    let ping = measure(PAGES, || {
        http.try_raw("GET", "/healthz", Vec::new()).expect("an answer").status.to_string();
    });
    report("floor: GET /healthz", &ping, &ping);

    let fill = |template: &str, count: usize| {
        let (_, took) = wait::timed(|| {
            std::thread::scope(|scope| {
                for lane in 0..8 {
                    let launcher = &launcher;
                    scope.spawn(move || {
                        for _ in (lane..count).step_by(8) {
                            launcher.start_session(&json!({ "template": template }));
                        }
                    });
                }
            });
        });
        println!(
            "{count} starts of {template:<12} {:>8.0} a second, 8 at once",
            count as f64 / took.as_secs_f64()
        );
    };
    fill("refusing", ended);
    fill("waiting", pending);
    wait::until("all have been submitted", Duration::from_secs(600), || {
        let page = http.get("/sessions?state=pending&template=refusing&limit=1").expect(200);
        let left = page["items"].as_array().map_or(0, Vec::len);
        wait::Probe::when(left == 0, (), || "some are still being submitted".to_owned())
    });

    for (what, query) in [
        ("first page of 100, live", "/sessions?limit=100"),
        ("first page of 500, live", "/sessions?limit=500"),
        ("first page of 100, ended", "/sessions?state=ended&limit=100"),
        ("filtered by a name nobody has", "/sessions?name=nobody&limit=100"),
    ] {
        let pages = measure(PAGES, || {
            http.get(query).expect(200);
        });
        report(what, &pages, &ping);
    }
    let mut cursor = String::new();
    let walk = measure(PAGES.min(ended / 100).max(1), || {
        let page = http.get(&format!("/sessions?state=ended&limit=100{cursor}")).expect(200);
        cursor = page["next_cursor"].as_str().map_or_else(String::new, |next| format!("&cursor={next}"));
    });
    report("pages deep in the history", &walk, &ping);

    let starts = measure(STARTS, || {
        launcher.start_session(&json!({"template": "waiting"}));
    });
    report("start: recorded durably (vs spawn)", &starts, &floor);
    let whole = measure(20, || {
        launcher.run_session("shell", &["sleep", "1000"]);
    });
    report("start: until the session is connected", &whole, &floor);
}
