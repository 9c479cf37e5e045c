//! Measures the relay against a raw floor of the same run: three plain `socat` relays in a chain, as many as a byte
//! passes on its way through `wharf forward`, launcher and monitor.
//!
//! ```text
//! cargo build --release && cargo run --release -p wharf-tests --bin bench-relay [MIB]
//! ```
//!
//! Absolute figures are this machine's; compare the ratios. Wants throughput at half of the floor's or more, and the
//! quiet terminal's echo beside a greedy one under 50 ms at the 99th percentile.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use wharf_tests::websocket::{Received, WebSocket};
use wharf_tests::{Launcher, Probe, Template, application, until, wait};

/// Round trips measured.
const ROUNDS: usize = 500;
/// Keys typed beside a greedy terminal.
const KEYS: usize = 300;
/// Between two of them: the greedy one has time to fill what it can.
const BEAT: Duration = Duration::from_millis(10);

/// A program that is ended with the bench.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Sends as much as is taken to whoever connects; its port.
fn source() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let piece = vec![7; 256 << 10];
                while stream.write_all(&piece).is_ok() {}
            });
        }
    });
    port
}

/// A port with three relays between it and that one.
fn chain(port: u16) -> (u16, Vec<Running>) {
    let mut relays = Vec::new();
    let mut to = port;
    for _ in 0..3 {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = free.local_addr().expect("an address").port();
        drop(free);
        let listen = format!("TCP-LISTEN:{at},bind=127.0.0.1,fork,reuseaddr,nodelay");
        let relay = Command::new("socat").args([&listen, &format!("TCP:127.0.0.1:{to},nodelay")]).spawn();
        relays.push(Running(relay.expect("socat is there")));
        until("it listens", Duration::from_secs(5), || {
            Probe::when(TcpStream::connect(("127.0.0.1", at)).is_ok(), (), String::new)
        });
        to = at;
    }
    (to, relays)
}

/// MiB a second that come from there.
fn throughput(address: &str, mib: usize) -> f64 {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let mut buffer = vec![0; 256 << 10];
    // A start that is not steady is left out.
    let mut read = |wanted: usize| {
        let mut left = wanted;
        while left > 0 {
            let length = left.min(buffer.len());
            left -= stream.read(&mut buffer[..length]).expect("more");
        }
    };
    read(16 << 20);
    let began = Instant::now();
    read(mib << 20);
    mib as f64 / began.elapsed().as_secs_f64()
}

/// Median and 99th percentile of single bytes that come back from there.
fn echo(address: &str) -> (Duration, Duration) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_nodelay(true).expect("a socket");
    percentiles(ROUNDS, Duration::ZERO, || {
        stream.write_all(b"x").expect("it is taken");
        stream.read_exact(&mut [0]).expect("it comes back");
    })
}

fn percentiles(rounds: usize, between: Duration, mut round: impl FnMut()) -> (Duration, Duration) {
    let mut taken: Vec<Duration> = (0..rounds)
        .map(|_| {
            wait::pause(between);
            let began = Instant::now();
            round();
            began.elapsed()
        })
        .collect();
    taken.sort_unstable();
    (taken[rounds / 2], taken[rounds * 99 / 100])
}

fn forward(launcher: &Launcher, id: &str, endpoint: &str) -> (String, Running) {
    let mut command = launcher.home().command(&["forward", id, endpoint]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("wharf is there");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("an address");
    (line.trim().to_owned(), Running(child))
}

/// Types keys, one at a time, and waits for each to be echoed.
fn typing(socket: &mut WebSocket) -> (Duration, Duration) {
    percentiles(KEYS, BEAT, || {
        socket.input(b"k");
        loop {
            match socket.next(Duration::from_secs(10)) {
                Some(Received::Data(_, data)) if data.contains(&b'k') => return,
                Some(Received::Data(..) | Received::Control(_)) => {}
                other => panic!("no echo: {other:?}"),
            }
        }
    })
}

fn memory(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

#[expect(clippy::print_stdout, reason = "printing is what a bench is for")]
fn main() {
    let mib = std::env::args().nth(1).map_or(512, |text| text.parse().expect("a number"));
    let (bytes, back) = (source(), application::echo());
    let toml = format!(
        "[connect.bytes]\nkind = \"tcp\"\nport = {bytes}\n[connect.back]\nkind = \"tcp\"\nport = {back}\n"
    );
    let launcher = Launcher::with(&Template::working("plain").toml(&toml));
    let id = launcher.run_session("plain", &[]);
    let (bytes_by_wharf, _forwarding) = forward(&launcher, &id, "bytes");
    let (back_by_wharf, _echoing) = forward(&launcher, &id, "back");
    let (bytes_by_chain, _relays) = chain(bytes);
    let (back_by_chain, _others) = chain(back);
    let by_chain = |port: u16| format!("127.0.0.1:{port}");

    // In turns: whatever else the machine does is shared by both.
    let mut ratios: Vec<(f64, f64, f64)> = (0..3)
        .map(|_| {
            let (floor, wharf) =
                (throughput(&by_chain(bytes_by_chain), mib), throughput(&bytes_by_wharf, mib));
            (wharf / floor, wharf, floor)
        })
        .collect();
    ratios.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (ratio, wharf, floor) = ratios[1];
    println!("one stream      {wharf:>8.0} MiB/s   floor {floor:>8.0} MiB/s   {ratio:.2} of it");
    let (floor, floor_high) = echo(&by_chain(back_by_chain));
    let (median, high) = echo(&back_by_wharf);
    println!("echo            median {median:?}, p99 {high:?}; floor {floor:?}, {floor_high:?}");
    println!("                added {:?} to the median", median.saturating_sub(floor));

    let terminal = |command: &[&str]| {
        let id = launcher.start_session(&json!({"template": "shell", "command": command, "tty": true}));
        launcher.await_connected(&id);
        id
    };
    let quiet = terminal(&["cat"]);
    let path = |id: &str| format!("/sessions/{id}/attach");
    let open = |path: &str| WebSocket::open(&launcher.http(), path).expect("an upgrade");
    let mut keys = open(&path(&quiet));
    let (alone, alone_high) = typing(&mut keys);
    println!("key alone       median {alone:?}, p99 {alone_high:?}");
    let greedy = terminal(&["yes", "a line that is written again and again"]);
    let _stalled = open(&path(&greedy));
    let mut reader = open(&path(&greedy));
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            let mut seen = 0;
            let began = Instant::now();
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                match reader.next(Duration::from_secs(10)) {
                    Some(Received::Data(_, data)) => seen += data.len(),
                    Some(_) => {}
                    None => break,
                }
            }
            println!(
                "the greedy one  {:.0} MiB/s to its reader",
                seen as f64 / 1048576.0 / began.elapsed().as_secs_f64()
            );
        });
        let (median, high) = typing(&mut keys);
        println!("key beside it   median {median:?}, p99 {high:?}");
        // The hardest: on the greedy one's own link.
        let mut same = open(&format!("/sessions/{greedy}/exec"));
        same.control(&json!({"start": {"argv": ["cat"], "tty": true}}));
        let (median, high) = typing(&mut same);
        println!("on its own link median {median:?}, p99 {high:?}");
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let monitor = |id: &str| memory(launcher.monitor(id).pid);
    println!(
        "most memory     launcher {} MiB, greedy one's monitor {} MiB, the relay's {} MiB",
        memory(launcher.pid()),
        monitor(&greedy),
        monitor(&id)
    );
}
