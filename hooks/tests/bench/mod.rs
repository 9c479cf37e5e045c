//! Templates in temporary directories, and calls of their hooks.
#![allow(dead_code, reason = "each test program uses another part of it")]
#![allow(clippy::allow_attributes, reason = "dead code differs between the test programs")]
#![allow(unreachable_pub, reason = "included by several programs")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wharf_core::backend::Backend;
use wharf_core::hook::{Hook, HookAnswer, HookCall, HookError, HookRun, HookRuntime as _};
use wharf_hooks::{Hooks, HooksConfig};
use wharf_protocol::{SessionId, TraceId};

pub struct Bench {
    pub root: tempfile::TempDir,
    pub backends: Vec<Arc<dyn Backend>>,
}

pub fn random<T>(shape: impl Fn([u8; 20]) -> T) -> T {
    let mut bytes = [0; 20];
    getrandom::fill(&mut bytes).expect("random bytes");
    shape(bytes)
}

pub const MANIFEST: &str = "api = 1\nbackend = \"shell\"\n";

impl Bench {
    pub fn new() -> Self {
        let root = tempfile::Builder::new()
            .permissions(std::fs::Permissions::from_mode(0o700))
            .tempdir()
            .expect("a directory");
        std::fs::create_dir(root.path().join("templates")).expect("a directory");
        chmod(&root.path().join("templates"), 0o755);
        Self { root, backends: Vec::new() }
    }

    pub fn dir(&self, template: &str) -> PathBuf {
        self.root.path().join("templates").join(template)
    }

    pub fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// Writes a file of a template; executable when it begins with `#!`.
    pub fn write(&self, template: &str, file: &str, text: &str) {
        let path = self.dir(template).join(file);
        let mut dir = path.parent().expect("a parent").to_owned();
        std::fs::create_dir_all(&dir).expect("directories");
        while dir.starts_with(self.dir(template)) {
            chmod(&dir, 0o755);
            dir.pop();
        }
        // A new file each time: a running script is never written over.
        let fresh = path.with_extension("new");
        std::fs::write(&fresh, text).expect("a file");
        chmod(&fresh, if text.starts_with("#!") { 0o755 } else { 0o644 });
        std::fs::rename(&fresh, &path).expect("a file");
    }

    /// A template of executables.
    pub fn template(&self, name: &str, manifest: &str, hooks: &[(&str, &str)]) {
        self.write(name, "template.toml", &format!("{MANIFEST}{manifest}"));
        for hook in ["submit", "terminate"] {
            self.write(name, &format!("hooks/{hook}"), "#!/bin/sh\nexit 1\n");
        }
        for (hook, script) in hooks {
            self.write(name, &format!("hooks/{hook}"), &format!("#!/bin/sh\n{script}\n"));
        }
    }

    /// A template of Lua hooks; `submit` and `terminate` are added when the text lacks them.
    pub fn lua(&self, name: &str, manifest: &str, body: &str) {
        self.write(name, "template.toml", &format!("{MANIFEST}{manifest}"));
        let text = format!(
            "local M = {{}}\nfunction M.submit(req) return {{ job_id = \"1\" }} end\n\
             function M.terminate(req) return {{}} end\n{body}\nreturn M\n"
        );
        self.write(name, "hooks.lua", &text);
    }

    pub fn hooks(&self) -> Hooks {
        Hooks::new(HooksConfig {
            template_dirs: vec![self.root.path().join("first"), self.root.path().join("templates")],
            builtin: &[],
            data_dir: self.data(),
            instance: "bench-0".to_owned(),
            backends: self.backends.clone(),
            path: std::env::var("PATH").unwrap_or_default(),
            home: "/home/alice".to_owned(),
            user: "alice".to_owned(),
            logs_roots: Vec::new(),
            max_hooks: 0,
        })
        .expect("hooks")
    }
}

pub fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

pub fn call(template: &str, hook: Hook, request: Value) -> HookCall {
    HookCall {
        template: template.to_owned(),
        hook,
        session: Some(random(SessionId::from_random)),
        request,
        secret_params: Vec::new(),
        deadline: Duration::from_secs(20),
        trace: random(TraceId::from_random),
        progress: None,
        cancel: CancellationToken::new(),
    }
}

pub async fn ask(hooks: &Hooks, template: &str, hook: Hook, request: Value) -> HookRun {
    hooks.call(call(template, hook, request)).await
}

pub async fn answer(hooks: &Hooks, template: &str, hook: Hook, request: Value) -> HookAnswer {
    let run = ask(hooks, template, hook, request).await;
    run.outcome.unwrap_or_else(|error| panic!("{error:?}\n{}", run.trace.log))
}

pub async fn failure(hooks: &Hooks, template: &str, hook: Hook) -> HookError {
    ask(hooks, template, hook, json!({})).await.outcome.expect_err("a failure")
}

/// Waits until something holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Processes whose command line holds a text.
pub fn processes(text: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ").contains(text)
        })
        .collect()
}

/// Processes whose environment holds a text.
pub fn processes_with(text: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.windows(text.len()).any(|window| window == text.as_bytes())
        })
        .collect()
}
