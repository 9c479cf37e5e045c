//! `template.toml`: what it may say (CONTRACT section 5), read with a finding for every mistake.
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else a TOML value is, it is a finding")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regex::Regex;
use serde_json::Value;
use wharf_core::template::{
    Access, CommandRule, ParamSpec, Placement, SessionRules, Template, TemplateLimits, Timeouts,
};
use wharf_protocol::monitor::OnOrphan;
use wharf_protocol::template::Finding;
use wharf_protocol::{Dur, InvalidDuration};

use super::endpoint;
use super::node::{Kind, Node};
use super::param;
use super::section::Section;

/// Job ids when the template has no rule of its own.
pub(crate) const JOB_ID: &str = r"[A-Za-z0-9][A-Za-z0-9._:;@+\[\]-]{0,127}";

/// All that `template.toml` says.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    /// What the core knows of it; its hooks and version are filled in later.
    pub(crate) template: Template,
    /// What only the runtime knows.
    pub(crate) run: RunRules,
}

/// How hooks run.
#[derive(Debug, Clone)]
pub(crate) struct RunRules {
    /// Directories before the launcher's own path.
    pub(crate) path: Vec<String>,
    /// What `host.exec` may run, with a fixed file where one is given.
    pub(crate) commands: BTreeMap<String, Option<String>>,
    /// Added to every cleaned environment.
    pub(crate) env: BTreeMap<String, String>,
    /// Processes that an executable leaves behind stay.
    pub(crate) keep_leftovers: bool,
    /// A dry run starts executables too.
    pub(crate) dry_run: bool,
    /// Every job id has to match it whole.
    pub(crate) job_id: Regex,
    /// Most bytes of a Lua hook.
    pub(crate) memory: usize,
    /// Most bytes of an executable's standard output.
    pub(crate) output: usize,
    /// Files of secrets by name.
    pub(crate) secrets: BTreeMap<String, String>,
}

/// The name of the template that this one lays itself over.
pub(crate) fn extends(root: &Node) -> Option<&str> {
    let Kind::Table(table) = &root.kind else { return None };
    match &table.get("extends")?.1.kind {
        Kind::String(name) => Some(name),
        _ => None,
    }
}

/// Reads a whole manifest, merged already where it extends another.
pub(crate) fn read(name: &str, root: &Node, out: &mut Vec<Finding>) -> Manifest {
    let mut top = Section::new("template.toml", root, out);
    api(&mut top, out);
    // Already followed by the loader, which reports what is wrong with it.
    let _ = top.text("extends", out);
    let title = top.text("title", out).unwrap_or_else(|| name.to_owned());
    let description = top.text("description", out);
    let _icon = top.text("icon", out);
    let documentation = top.text("documentation", out);
    let backend = backend(&mut top, out);
    let scheduler = top.text("scheduler", out).unwrap_or_else(|| backend.clone());
    let instances = instances(&mut top, out);
    let select = select(&mut top, out);
    let disabled = disabled(&mut top, out);
    let mut template = Template {
        name: name.to_owned(),
        title,
        description,
        documentation,
        backend,
        scheduler,
        instances,
        select,
        disabled,
        access: Access::default(),
        command: CommandRule { default: Vec::new(), overridable: true, tty: false, stop: None },
        params: BTreeMap::new(),
        job_cwd: None,
        job_enrol: None,
        job_env: BTreeMap::new(),
        job_before: Vec::new(),
        config: Value::Object(serde_json::Map::new()),
        endpoints: Vec::new(),
        timeouts: Timeouts::default(),
        session: SessionRules::default(),
        limits: TemplateLimits::default(),
        hooks: BTreeSet::new(),
        version: String::new(),
    };
    let mut run = RunRules {
        path: Vec::new(),
        commands: BTreeMap::new(),
        env: BTreeMap::new(),
        keep_leftovers: false,
        dry_run: false,
        job_id: default_job_id(),
        memory: 32 << 20,
        output: 1 << 20,
        secrets: BTreeMap::new(),
    };
    if let Some(mut access) = top.section("access", out) {
        template.access.users = access.texts("users", out).unwrap_or_default();
        template.access.groups = access.texts("groups", out).unwrap_or_default();
        access.finish(out);
    }
    if let Some(section) = top.section("command", out) {
        template.command = command(section, out);
    }
    if let Some(mut params) = top.section("params", out) {
        for (name, at, node) in params.rest() {
            if let Some(spec) = param::read(name, at, node, out) {
                template.params.insert(name.to_owned(), spec);
            }
        }
    }
    if let Some(mut job) = top.section("job", out) {
        template.job_cwd = job.text("cwd", out);
        let at = job.at.clone();
        template.job_enrol = job.text("enrol", out);
        if template.job_enrol.as_ref().is_some_and(|path| !path.starts_with('/')) {
            out.push(
                at.error("path", "[job] enrol has to be the absolute path of wharf-monitor on the nodes"),
            );
        }
        template.job_env = job.pairs("env", out).unwrap_or_default();
        for name in template.job_env.keys() {
            env_name(name, &at, out);
        }
        template.job_before = job.texts("before", out).unwrap_or_default();
        job.finish(out);
    }
    if let Some(node) = top.take("config") {
        if !matches!(node.kind, Kind::Table(_)) {
            out.push(node.at.error("type", format!("[config] has to be a table, not {}", node.word())));
        }
        if template.backend == "docker" {
            super::wide::check(node, out);
        }
        template.config = node.to_json();
    }
    if let Some(mut secrets) = top.section("secrets", out) {
        for (name, _, node) in secrets.rest() {
            let mut secret = Section::new(format!("[secrets.{name}]"), node, out);
            match secret.text("file", out) {
                Some(file) => drop(run.secrets.insert(name.to_owned(), file)),
                None => out.push(node.at.error("missing", format!("[secrets.{name}] needs `file`"))),
            }
            secret.finish(out);
        }
    }
    if let Some(mut connect) = top.section("connect", out) {
        for (name, at, node) in connect.rest() {
            template.endpoints.extend(endpoint::read(name, at, node, out));
        }
    }
    if let Some(section) = top.section("timeouts", out) {
        template.timeouts = timeouts(section, out);
    }
    if let Some(section) = top.section("session", out) {
        template.session = session(section, out);
    }
    if let Some(mut limits) = top.section("limits", out) {
        let mut count = |key, out: &mut Vec<Finding>| {
            limits.number(key, out).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
        };
        template.limits.per_user = count("per_user", out);
        template.limits.total = count("total", out);
        template.limits.starts_per_minute = count("starts_per_minute", out);
        let mut bytes = |key, default: usize, out: &mut Vec<Finding>| {
            limits.size(key, out).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(default)
        };
        run.memory = bytes("hook_memory", run.memory, out).max(1 << 20);
        run.output = bytes("hook_output", run.output, out).clamp(1 << 10, 256 << 20);
        limits.finish(out);
    }
    if let Some(section) = top.section("hooks", out) {
        hooks(section, &mut run, out);
    }
    top.finish(out);
    Manifest { template, run }
}

fn api(top: &mut Section<'_>, out: &mut Vec<Finding>) {
    let at = top.at.clone();
    match top.take("api") {
        Some(Node { kind: Kind::Integer(1), .. }) => {}
        Some(node) => {
            out.push(node.at.error("api", "`api` has to be 1: this version of Wharf knows no other"));
        }
        None => out.push(at.error("missing", "`api = 1` is missing")),
    }
}

fn backend(top: &mut Section<'_>, out: &mut Vec<Finding>) -> String {
    let at = top.at.clone();
    let Some(node) = top.take("backend") else {
        out.push(at.error("missing", "`backend` is missing: docker, slurm or shell"));
        return "shell".to_owned();
    };
    if let Kind::String(word) = &node.kind
        && ["docker", "slurm", "shell"].contains(&word.as_str())
    {
        return word.clone();
    }
    out.push(node.at.error("backend", "`backend` has to be \"docker\", \"slurm\" or \"shell\""));
    "shell".to_owned()
}

fn instances(top: &mut Section<'_>, out: &mut Vec<Finding>) -> Vec<String> {
    let Some(node) = top.take("instance") else { return Vec::new() };
    let one = |node: &Node| match &node.kind {
        Kind::String(name) => Some(name.clone()),
        _ => None,
    };
    let read = match &node.kind {
        Kind::String(name) => Some(vec![name.clone()]),
        Kind::Array(items) => items.iter().map(one).collect(),
        _ => None,
    };
    read.unwrap_or_else(|| {
        out.push(node.at.error("type", "`instance` has to be a name or a list of names"));
        Vec::new()
    })
}

fn select(top: &mut Section<'_>, out: &mut Vec<Finding>) -> Option<Placement> {
    let node = top.take("select")?;
    let read = match &node.kind {
        Kind::String(word) => serde_json::from_value(Value::String(word.clone())).ok(),
        Kind::Integer(_)
        | Kind::Float(_)
        | Kind::Bool(_)
        | Kind::Datetime(_)
        | Kind::Array(_)
        | Kind::Table(_) => None,
    };
    if read.is_none() {
        let message = "`select` has to be \"fewest\", \"round-robin\" or \"most-memory\"";
        out.push(node.at.error("select", message));
    }
    read
}

fn disabled(top: &mut Section<'_>, out: &mut Vec<Finding>) -> Option<String> {
    let node = top.take("disabled")?;
    match &node.kind {
        Kind::String(message) => Some(message.clone()),
        Kind::Bool(true) => Some("closed by the administrator".to_owned()),
        Kind::Bool(false) => None,
        _ => {
            out.push(node.at.error("type", "`disabled` has to be a message"));
            None
        }
    }
}

fn command(mut section: Section<'_>, out: &mut Vec<Finding>) -> CommandRule {
    let at = section.at.clone();
    let rule = CommandRule {
        default: section.texts("default", out).unwrap_or_default(),
        overridable: section.flag("override", out).unwrap_or(true),
        tty: section.flag("tty", out).unwrap_or(false),
        stop: section.texts("stop", out).filter(|stop| !stop.is_empty()),
    };
    if rule.default.is_empty() && !rule.overridable {
        out.push(at.error("missing", "[command] needs `default` when `override = false`"));
    }
    section.finish(out);
    rule
}

fn timeouts(mut section: Section<'_>, out: &mut Vec<Finding>) -> Timeouts {
    let usual = Timeouts::default();
    let mut get =
        |key, default: Duration, out: &mut Vec<Finding>| section.duration(key, out).unwrap_or(default);
    let timeouts = Timeouts {
        prepare: get("prepare", usual.prepare, out),
        submit: get("submit", usual.submit, out),
        find: get("find", usual.find, out),
        status: get("status", usual.status, out),
        logs: get("logs", usual.logs, out),
        terminate: get("terminate", usual.terminate, out),
        options: get("options", usual.options, out),
        validate: get("validate", usual.validate, out),
        settle: get("settle", usual.settle, out),
        register: get("register", usual.register, out),
        queue: get("queue", usual.queue, out),
        poll: get("poll", usual.poll, out),
    };
    section.finish(out);
    timeouts
}

fn session(mut section: Section<'_>, out: &mut Vec<Finding>) -> SessionRules {
    let usual = SessionRules::default();
    let rules = SessionRules {
        terminate_grace: section.duration("terminate_grace", out).unwrap_or(usual.terminate_grace),
        idle_timeout: section.duration("idle_timeout", out),
        max_lifetime: section.duration("max_lifetime", out),
        on_orphan: section.take("on_orphan").map_or(usual.on_orphan, |node| {
            let word = match &node.kind {
                Kind::String(word) => word.as_str(),
                _ => "",
            };
            match (word, word.strip_prefix("end:").map(str::parse::<Dur>)) {
                ("run", _) => OnOrphan::Run,
                (_, Some(Ok(after))) => OnOrphan::End(after),
                (_, Some(Err(error @ InvalidDuration::TooLong))) => {
                    out.push(node.at.error("bad_duration", format!("`on_orphan` is {error}")));
                    OnOrphan::Run
                }
                _ => {
                    let message =
                        "`on_orphan` has to be \"run\", or \"end:\" and a duration such as \"end:1h\"";
                    out.push(node.at.error("bad_duration", message));
                    OnOrphan::Run
                }
            }
        }),
    };
    section.finish(out);
    rules
}

fn hooks(mut section: Section<'_>, run: &mut RunRules, out: &mut Vec<Finding>) {
    let at = section.at.clone();
    run.path = section.texts("path", out).unwrap_or_default();
    for dir in &run.path {
        if !dir.starts_with('/') || dir.contains(':') {
            out.push(
                at.error("path", format!("`path` in [hooks] takes absolute directories, not \"{dir}\"")),
            );
        }
    }
    if let Some(node) = section.take("commands") {
        run.commands = commands(node, out);
    }
    run.env = section.pairs("env", out).unwrap_or_default();
    for name in run.env.keys() {
        env_name(name, &at, out);
    }
    if let Some(node) = section.take("leftovers") {
        match &node.kind {
            Kind::String(word) if word == "end" => run.keep_leftovers = false,
            Kind::String(word) if word == "keep" => run.keep_leftovers = true,
            _ => out.push(node.at.error("leftovers", "`leftovers` has to be \"end\" or \"keep\"")),
        }
    }
    run.dry_run = section.flag("dry_run", out).unwrap_or(false);
    if let Some(node) = section.take("job_id_pattern") {
        match &node.kind {
            Kind::String(pattern) => match Regex::new(&format!("^(?:{pattern})$")) {
                Ok(regex) => run.job_id = regex,
                Err(error) => out.push(node.at.error("bad_pattern", format!("`job_id_pattern`: {error}"))),
            },
            _ => out.push(node.at.error("type", "`job_id_pattern` has to be a text")),
        }
    }
    section.finish(out);
}

fn commands(node: &Node, out: &mut Vec<Finding>) -> BTreeMap<String, Option<String>> {
    let mut commands = BTreeMap::new();
    let wrong = "`commands` has to be a list of names, or a table of names and absolute paths";
    match &node.kind {
        Kind::Array(items) => {
            for item in items {
                match &item.kind {
                    Kind::String(name) if !name.is_empty() && !name.contains('/') => {
                        commands.insert(name.clone(), None);
                    }
                    _ => out.push(item.at.error("commands", wrong)),
                }
            }
        }
        Kind::Table(table) => {
            for (name, (_, item)) in table {
                match &item.kind {
                    Kind::String(path) if path.starts_with('/') => {
                        commands.insert(name.clone(), Some(path.clone()));
                    }
                    _ => out.push(item.at.error("commands", wrong)),
                }
            }
        }
        _ => out.push(node.at.error("commands", wrong)),
    }
    commands
}

fn env_name(name: &str, at: &super::node::At, out: &mut Vec<Finding>) {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if !first || !bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        out.push(at.error("env", format!("\"{name}\" is no name of an environment variable")));
    } else if name.starts_with("WHARF_") {
        out.push(at.error("env", format!("{name}: variables that begin with WHARF_ are Wharf's own")));
    }
}

/// The rule for job ids of templates without one.
pub(crate) fn default_job_id() -> Regex {
    Regex::new(&format!("^(?:{JOB_ID})$")).expect("a constant pattern that tests compile")
}

/// The pattern of a text parameter, anchored.
pub(crate) fn whole_pattern(spec: &ParamSpec) -> Option<Result<Regex, regex::Error>> {
    spec.pattern.as_ref().map(|pattern| Regex::new(&format!("^(?:{pattern})$")))
}
