//! A launcher of a test's own: home, data, templates, and the process.
//!
//! Its environment is cleared but for what a user's shell would have. When it is dropped, the launcher
//! and everything that mentions its directory are ended, and on a failing test its log is shown.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::http::{Address, Http};
use crate::link::BootstrapFile;
use crate::templates::Template;
use crate::wait::{Probe, until};
use crate::{Output, cli, processes, program};

/// How long a launcher may take until it is ready.
const START: Duration = Duration::from_secs(30);
/// How long the command line may take.
const COMMAND: Duration = Duration::from_secs(90);

/// A user's home, with all directories that Wharf uses inside.
#[derive(Debug)]
pub struct Home {
    root: tempfile::TempDir,
}

impl Home {
    /// An empty one, below the system's temporary directory so that paths stay short.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new() -> Arc<Self> {
        let root = tempfile::Builder::new().prefix("wharf-").rand_bytes(8).tempdir();
        let home = Self { root: root.expect("the system's temporary directory takes directories") };
        // Templates below a directory that everybody may write are refused unless the first step is ours alone.
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).expect("it is ours");
        for directory in ["config/wharf", "data", "runtime", "templates", "journal", "work"] {
            let path = home.path().join(directory);
            fs::create_dir_all(&path).expect("our own directory takes directories");
            let private = fs::Permissions::from_mode(0o700);
            fs::set_permissions(&path, private).expect("it is ours");
        }
        Arc::new(home)
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        self.root.path()
    }

    /// DATA.
    pub fn data(&self) -> PathBuf {
        self.path().join("data/wharf")
    }

    /// The templates' directory.
    pub fn templates(&self) -> PathBuf {
        self.path().join("templates")
    }

    /// The journal of the templates' hooks.
    pub fn journal(&self) -> PathBuf {
        self.path().join("journal")
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.path().join("config/wharf/wharf.toml")
    }

    /// A certificate that nobody has signed, for that name, and the `[tls]` that serves it.
    ///
    /// # Panics
    /// When it cannot be made.
    #[track_caller]
    pub fn certificate(&self, name: &str) -> String {
        let (certificate, key) = (self.path().join("certificate.pem"), self.path().join("key.pem"));
        let mut make = Command::new("openssl");
        make.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=wharf", "-addext", &format!("subjectAltName={name}")])
            .args(["-out".as_ref(), certificate.as_os_str(), "-keyout".as_ref(), key.as_os_str()]);
        let made = make.output().expect("openssl is installed");
        assert!(made.status.success(), "{made:?}");
        format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n")
    }

    /// `wharf` with these arguments and a cleared environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(program::wharf());
        command
            .args(args)
            .current_dir(self.path().join("work"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()))
            .env("HOME", self.path())
            .env("XDG_CONFIG_HOME", self.path().join("config"))
            .env("XDG_DATA_HOME", self.path().join("data"))
            .env("XDG_RUNTIME_DIR", self.path().join("runtime"))
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb");
        command
    }

    /// Runs the command line to its end.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> Output {
        cli::run(self.command(args), b"", COMMAND)
    }

    /// Writes a template.
    pub fn install(&self, template: &Template) {
        template.write(&self.templates(), &self.journal());
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        processes::end_all(&self.path().to_string_lossy());
    }
}

/// How a launcher is to be started.
#[derive(Debug, Clone)]
pub struct Builder {
    home: Arc<Home>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    data: Option<PathBuf>,
    under: Vec<String>,
}

impl Builder {
    /// Writes a template before the start.
    #[must_use]
    pub fn template(self, template: &Template) -> Self {
        self.home.install(template);
        self
    }

    /// Writes the configuration file.
    ///
    /// # Panics
    /// When it cannot be written.
    #[must_use]
    pub fn config(self, toml: &str) -> Self {
        fs::write(self.home.config(), toml).expect("our own directory takes files");
        self
    }

    /// One more argument of `wharf serve`.
    #[must_use]
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// One more variable of the launcher's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Listens there and on its own socket, and nowhere else; plain HTTP is meant.
    #[must_use]
    pub fn listen(self, address: &str) -> Self {
        let socket = format!("unix:{}", self.home.data().join("run/wharf.sock").display());
        self.arg("--listen").arg(&socket).arg("--listen").arg(address).arg("--insecure-http")
    }

    /// Another data directory than the home's own.
    #[must_use]
    pub fn data(mut self, path: &Path) -> Self {
        self.data = Some(path.to_owned());
        self
    }

    /// A program that runs it, with its arguments.
    #[must_use]
    pub fn under(mut self, program: &[&str]) -> Self {
        self.under = program.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Starts it and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    #[track_caller]
    pub fn start(self) -> Launcher {
        let mut launcher =
            Launcher { builder: self, child: None, lines: None, ready: Value::Null, spawned: Instant::now() };
        launcher.restart();
        launcher
    }
}

/// A launcher that runs, or has been ended by the test.
#[derive(Debug)]
pub struct Launcher {
    builder: Builder,
    child: Option<Child>,
    lines: Option<Mutex<Receiver<String>>>,
    /// The line it printed when it was ready.
    pub ready: Value,
    /// When the process was started last.
    pub spawned: Instant,
}

impl Launcher {
    /// One with the built-in templates only.
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// One with that template.
    #[track_caller]
    pub fn with(template: &Template) -> Self {
        Self::builder().template(template).start()
    }

    /// Says more before the start.
    pub fn builder() -> Builder {
        Self::at(&Home::new())
    }

    /// In a home that exists already.
    pub fn at(home: &Arc<Home>) -> Builder {
        Builder { home: Arc::clone(home), args: Vec::new(), env: Vec::new(), data: None, under: Vec::new() }
    }

    /// Its home.
    pub fn home(&self) -> &Arc<Home> {
        &self.builder.home
    }

    /// DATA.
    pub fn data(&self) -> PathBuf {
        self.builder.data.clone().unwrap_or_else(|| self.home().data())
    }

    /// Where its log goes.
    pub fn log_path(&self) -> PathBuf {
        self.home().path().join("serve.log")
    }

    /// What it has logged, over all restarts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> i32 {
        let child = self.child.as_ref().expect("the launcher runs");
        i32::try_from(child.id()).expect("a process id fits")
    }

    /// The command that starts it.
    fn command(&self) -> Command {
        let mut args = vec!["serve".to_owned(), "--templates".to_owned()];
        args.push(self.home().templates().to_string_lossy().into_owned());
        if let Some(data) = &self.builder.data {
            args.extend(["--data-dir".to_owned(), data.to_string_lossy().into_owned()]);
        }
        args.extend(self.builder.args.iter().cloned());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = self.home().command(&args);
        for (name, value) in &self.builder.env {
            command.env(name, value);
        }
        let [program, words @ ..] = self.builder.under.as_slice() else { return command };
        let mut outer = Command::new(program);
        outer.args(words).arg(command.get_program()).args(command.get_args()).env_clear();
        outer.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(dir) = command.get_current_dir() {
            outer.current_dir(dir);
        }
        outer
    }

    /// Starts it (again) and waits until it is ready; returns how long that took.
    ///
    /// # Panics
    /// When it does not become ready.
    #[track_caller]
    pub fn restart(&mut self) -> Duration {
        self.spawn();
        self.await_ready()
    }

    /// Starts it without waiting.
    ///
    /// # Panics
    /// When it runs already or cannot be started.
    #[track_caller]
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the launcher runs already");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log_path());
        let mut command = self.command();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log.expect("our own directory takes files"));
        self.spawned = Instant::now();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        self.child = Some(child);
        self.lines = Some(Mutex::new(lines));
    }

    /// Waits for the ready line; returns how long after the start it came.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn await_ready(&mut self) -> Duration {
        let lines = self.lines.as_ref().expect("it was started");
        let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(line) = lines.recv_timeout(START) else {
            let code = self.child.as_mut().map(|child| cli::finish(child, Duration::from_millis(100)));
            panic!("no ready line (exit {code:?})\n{}", self.log_tail());
        };
        self.ready =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("ready line {line:?}: {error}"));
        assert_eq!(self.ready["ready"], true, "{line}");
        self.spawned.elapsed()
    }

    /// Lines that it printed after the ready line: the contract allows none.
    pub fn further_lines(&self) -> Vec<String> {
        let lines = self.lines.iter().map(|lines| lines.lock().unwrap_or_else(PoisonError::into_inner));
        lines.flat_map(|lines| lines.try_iter().collect::<Vec<_>>()).collect()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Ends it at once, as a crash or the kernel would.
    pub fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            _ = child.kill();
            _ = child.wait();
        }
        self.lines = None;
    }

    /// Asks it to stop; its exit code and how long it took.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn stop(&mut self) -> (i32, Duration) {
        let mut child = self.child.take().expect("the launcher runs");
        let began = Instant::now();
        processes::send(i32::try_from(child.id()).expect("a process id fits"), Signal::TERM);
        let code = cli::finish(&mut child, Duration::from_secs(20));
        self.lines = None;
        (code, began.elapsed())
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        processes::send(self.pid(), signal);
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Its Unix socket.
    pub fn socket(&self) -> Address {
        let listens = self.ready["listen"].as_array().cloned().unwrap_or_default();
        let path = listens.iter().filter_map(Value::as_str).find_map(|text| text.strip_prefix("unix:"));
        Address::Unix(PathBuf::from(path.unwrap_or_else(|| panic!("no unix listener: {}", self.ready))))
    }

    /// Its TCP listener's `HOST:PORT`.
    ///
    /// # Panics
    /// When it has none.
    #[track_caller]
    pub fn tcp_host(&self) -> String {
        let listens = self.ready["listen"].as_array().cloned().unwrap_or_default();
        let host = listens.iter().filter_map(Value::as_str).find_map(|text| text.strip_prefix("http://"));
        host.unwrap_or_else(|| panic!("no http listener: {}", self.ready)).trim_end_matches('/').to_owned()
    }

    /// Its TCP listener as browsers write it: `SCHEME://HOST:PORT`.
    ///
    /// # Panics
    /// When it has none.
    #[track_caller]
    pub fn origin(&self) -> String {
        let listens = self.ready["listen"].as_array().cloned().unwrap_or_default();
        let found = listens.iter().filter_map(Value::as_str).find(|text| text.starts_with("http"));
        found.unwrap_or_else(|| panic!("no http listener: {}", self.ready)).to_owned()
    }

    /// A client on the Unix socket: the owner.
    pub fn http(&self) -> Http {
        Http::new(self.socket())
    }

    /// A client on TCP with that token, or without any.
    #[track_caller]
    pub fn tcp(&self, token: Option<&str>) -> Http {
        let http = Http::new(Address::Tcp(self.tcp_host()));
        match token {
            Some(token) => http.with("authorization", &format!("Bearer {token}")),
            None => http,
        }
    }

    /// A new token's secret.
    #[track_caller]
    pub fn token(&self, scope: &str, user: Option<&str>) -> String {
        let mut body = json!({ "scope": scope, "name": format!("test-{scope}") });
        if let Some(user) = user {
            body["user"] = json!(user);
        }
        let answer = self.http().post("/tokens", &body);
        let token = answer.expect(201);
        token["token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }

    /// Runs the command line as a user of the same home.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> Output {
        self.cli_with(args, b"")
    }

    /// As [`Self::cli`] with that standard input.
    #[track_caller]
    pub fn cli_with(&self, args: &[&str], stdin: &[u8]) -> Output {
        let mut command = self.home().command(args);
        if self.builder.data.is_some() || self.builder.args.iter().any(|arg| arg == "--listen") {
            let listen = self.ready["listen"][0].as_str().unwrap_or_default();
            command.env("WHARF_SERVER", listen);
        }
        cli::run(command, stdin, COMMAND)
    }

    /// Starts a session and returns its id.
    #[track_caller]
    pub fn start_session(&self, body: &Value) -> String {
        let answer = self.http().post("/sessions", body);
        let session = answer.expect(201);
        session["id"].as_str().unwrap_or_else(|| panic!("no id: {answer}")).to_owned()
    }

    /// Starts a session of a template and waits until it runs and is linked.
    #[track_caller]
    pub fn run_session(&self, template: &str, command: &[&str]) -> String {
        let mut body = json!({ "template": template });
        if !command.is_empty() {
            body["command"] = json!(command);
        }
        let id = self.start_session(&body);
        self.await_connected(&id);
        id
    }

    /// The session as the API shows it.
    #[track_caller]
    pub fn session(&self, id: &str) -> Value {
        self.http().get(&format!("/sessions/{id}")).expect(200)
    }

    /// Waits until the session runs and is linked.
    #[track_caller]
    pub fn await_connected(&self, id: &str) -> Value {
        self.await_session(id, "running and connected", Duration::from_secs(20), |session| {
            session["state"] == "running" && session["link"] == "connected"
        })
    }

    /// Waits until the session has ended.
    #[track_caller]
    pub fn await_ended(&self, id: &str, within: Duration) -> Value {
        self.await_session(id, "ended", within, |session| session["state"] == "ended")
    }

    /// Waits until the session's record fits; stops at once when it has ended without fitting, or is gone.
    #[track_caller]
    pub fn await_session(
        &self,
        id: &str,
        what: &str,
        within: Duration,
        fits: impl Fn(&Value) -> bool,
    ) -> Value {
        until(&format!("session {id}: {what}"), within, || {
            let answer = self.http().get(&format!("/sessions/{id}"));
            if answer.status != 200 {
                return Probe::Never(answer.to_string());
            }
            let session = answer.json();
            if fits(&session) {
                Probe::Ready(session)
            } else if session["state"] == "ended" {
                Probe::Never(format!("it has ended: {session}"))
            } else {
                Probe::NotYet(session.to_string())
            }
        })
    }

    /// Waits until the session is there again (after a purge), running and linked.
    #[track_caller]
    pub fn await_reappeared(&self, id: &str, within: Duration) -> Value {
        until(&format!("session {id} is back"), within, || {
            let answer = self.http().get(&format!("/sessions/{id}"));
            if answer.status != 200 {
                return Probe::NotYet(answer.to_string());
            }
            let session = answer.json();
            Probe::when(
                session["state"] == "running" && session["link"] == "connected",
                session.clone(),
                || session.to_string(),
            )
        })
    }

    /// Ids of all live sessions that the owner sees.
    #[track_caller]
    pub fn listed(&self) -> BTreeSet<String> {
        self.pages("limit=500")
            .iter()
            .filter_map(|session| Some(session["id"].as_str()?.to_owned()))
            .collect()
    }

    /// All pages of a list.
    #[track_caller]
    pub fn pages(&self, query: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.http().get(&format!("/sessions?{query}{cursor}")).expect(200);
            items.extend(page["items"].as_array().expect("a page has items").iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// The process of a running session's monitor, whose job id names it.
    #[track_caller]
    pub fn monitor(&self, id: &str) -> processes::Process {
        let session = self.session(id);
        let job = session["job"]["id"].as_str().unwrap_or_else(|| panic!("no job: {session}"));
        if job.starts_with("q-") {
            let job = self.jobs(id).pop().unwrap_or_else(|| panic!("{job} was not started"));
            return processes::of_job(&job);
        }
        processes::of_job(job)
    }

    /// Processes that run inside the session: all that carry its id, but the monitor and hooks.
    pub fn inside(&self, id: &str) -> Vec<processes::Process> {
        let mark = format!("WHARF_SESSION_ID={id}");
        processes::mentioning(&mark)
            .into_iter()
            .filter(|process| !process.environment().contains("WHARF_HOOK="))
            .filter(|process| !process.command_line().contains("--bootstrap"))
            .collect()
    }

    fn journal(&self, file: &str) -> Vec<Vec<String>> {
        let text = fs::read_to_string(self.home().journal().join(file)).unwrap_or_default();
        text.lines().map(|line| line.split(' ').map(str::to_owned).collect()).collect()
    }

    /// How often a hook was called; for a session when one is given.
    pub fn calls(&self, hook: &str, id: Option<&str>) -> usize {
        self.journal("calls")
            .iter()
            .filter(|call| call.first().is_some_and(|name| name == hook))
            .filter(|call| id.is_none_or(|id| call.get(1).is_some_and(|of| of == id)))
            .count()
    }

    /// How often any hook was called.
    pub fn all_calls(&self) -> usize {
        self.journal("calls").len()
    }

    /// Waits until a hook has been called for a session.
    #[track_caller]
    pub fn await_call(&self, hook: &str, id: &str) {
        until(&format!("hook {hook} called for {id}"), Duration::from_secs(15), || {
            Probe::when(self.calls(hook, Some(id)) > 0, (), || format!("{:?}", self.journal("calls")))
        });
    }

    /// Job ids that were started for a session.
    pub fn jobs(&self, id: &str) -> Vec<String> {
        self.journal("jobs")
            .into_iter()
            .filter(|job| job.first().is_some_and(|of| of == id))
            .filter_map(|job| job.get(1).cloned())
            .collect()
    }

    /// Empties a file of the journal.
    pub fn forget(&self, file: &str) {
        _ = fs::remove_file(self.home().journal().join(file));
    }

    /// The monitor program and bootstrap file of a job that waits.
    #[track_caller]
    pub fn queued(&self, id: &str) -> (PathBuf, PathBuf) {
        until(&format!("a queued job of {id}"), Duration::from_secs(15), || {
            let queue = self.journal("queue");
            let found = queue.iter().find(|job| job.first().is_some_and(|of| of == id) && job.len() == 4);
            match found {
                Some(job) => Probe::Ready((PathBuf::from(&job[2]), PathBuf::from(&job[3]))),
                None => Probe::NotYet(format!("{queue:?}")),
            }
        })
    }

    /// The bootstrap file of a job that waits.
    #[track_caller]
    pub fn bootstrap(&self, id: &str) -> BootstrapFile {
        BootstrapFile::read(&self.queued(id).1)
    }

    /// Starts a job that waits, as its scheduler would; its job id.
    #[track_caller]
    pub fn start_queued(&self, id: &str) -> String {
        let (monitor, bootstrap) = self.queued(id);
        self.start_monitor(id, &monitor, &bootstrap)
    }

    /// Runs a monitor in a process group of its own, as a job script would: it knows no job id.
    ///
    /// # Panics
    /// When it cannot be executed.
    #[track_caller]
    pub fn spawn_monitor(&self, monitor: &Path, bootstrap: &Path) -> Child {
        use std::os::unix::process::CommandExt as _;
        let mut command = Command::new(monitor);
        command
            .args(["run", "--bootstrap"])
            .arg(bootstrap)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.home().path())
            .current_dir(self.home().path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
    }

    /// Starts a monitor with any bootstrap file; the process's job id.
    ///
    /// # Panics
    /// When the monitor cannot be executed.
    #[track_caller]
    pub fn start_monitor(&self, id: &str, monitor: &Path, bootstrap: &Path) -> String {
        let mut child = self.spawn_monitor(monitor, bootstrap);
        let pid = i32::try_from(child.id()).expect("a process id fits");
        let started = processes::Process::read(pid).map_or(0, |process| process.started);
        let job = format!("{pid}:{started}:job");
        // Reaped when it is over, whenever that is.
        std::thread::spawn(move || child.wait());
        let jobs = self.home().journal().join("jobs");
        let mut file =
            fs::OpenOptions::new().create(true).append(true).open(jobs).expect("our own directory");
        std::io::Write::write_all(&mut file, format!("{id} {job}\n").as_bytes()).expect("our own file");
        job
    }

    /// Terminates a session and waits up to that long for its end; the answer's session.
    #[track_caller]
    pub fn terminate(&self, id: &str, within: &str) -> Value {
        self.http().post(&format!("/sessions/{id}/terminate?wait={within}"), &json!({})).expect(200)
    }

    /// Runs a program inside a session.
    #[track_caller]
    pub fn exec(&self, id: &str, argv: &[&str]) -> Value {
        self.http().post(&format!("/sessions/{id}/exec"), &json!({ "argv": argv })).expect(200)
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let tail = self.log_tail();
            #[expect(clippy::print_stderr, reason = "a failing test shows what the launcher said")]
            {
                eprintln!("---- the launcher's log, last lines ----\n{tail}\n----");
            }
        }
        self.kill9();
        processes::end_all(&self.home().path().to_string_lossy());
    }
}
