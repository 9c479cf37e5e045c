//! Reading templates: every mistake at once with its place, who may write them, overlays, and reload.

mod bench;

use bench::{Bench, answer, chmod};
use serde_json::json;
use wharf_core::hook::{Hook, HookAnswer};
use wharf_core::template::{Catalog as _, ParamKind};
use wharf_hooks::{Hooks, HooksConfig};
use wharf_protocol::template::{Finding, Severity, TemplateState};

fn has(findings: &[Finding], file: &str, line: Option<u32>, says: &str) {
    assert!(
        findings.iter().any(|one| one.file == file && one.line == line && one.message.contains(says)),
        "{file}:{line:?}: {says}\nin {findings:#?}"
    );
}

#[test]
fn all_mistakes_come_at_once_with_their_lines() {
    let bench = Bench::new();
    let text = r#"api = 2
backend = "slrm"
titel = "x"
[params.cores]
type = "itn"
[params.part]
type = "string"
pattern = "["
default = 5
[params.mem]
type = "size"
min = "1GiB"
default = "1MiB"
[timeouts]
submit = "soon"
sumbit = "30s"
[hooks]
leftovers = "maybe"
env = { WHARF_X = "1" }
[connect.web]
kind = "htp"
[limits]
hook_memory = true
"#;
    bench.write("bad", "template.toml", text);
    bench.write("bad", "hooks/submti", "#!/bin/sh\n");
    bench.write("bad", "hooks/terminate", "echo\n");
    bench.write("bad", "hooks.lua", "return {\n  submit = function( return 1 end,\n}\n");
    bench.write("bad", "files/a.j2", "one\n{% if %}\n");
    let findings = bench.hooks().check(&bench.dir("bad"));
    let toml = "template.toml";
    has(&findings, toml, Some(1), "`api` has to be 1");
    has(&findings, toml, Some(2), "\"docker\"");
    has(&findings, toml, Some(3), "did you mean `title`?");
    has(&findings, toml, Some(5), "did you mean \"int\"?");
    has(&findings, toml, Some(8), "`pattern` of part");
    has(&findings, toml, Some(9), "does not fit its type");
    has(&findings, toml, Some(13), "below `min`");
    has(&findings, toml, Some(15), "duration");
    has(&findings, toml, Some(16), "did you mean `submit`?");
    has(&findings, toml, Some(18), "\"keep\"");
    has(&findings, toml, Some(17), "WHARF_");
    has(&findings, toml, Some(21), "http");
    has(&findings, toml, Some(23), "size");
    has(&findings, "hooks/submti", None, "did you mean `submit`?");
    has(&findings, "hooks/terminate", None, "not executable");
    has(&findings, "hooks.lua", Some(2), "Expected");
    has(&findings, "files/a.j2", Some(2), "");
}

/// The findings about a docker template with this `[config]`, whose first line is line 4.
#[track_caller]
fn of_config(bench: &Bench, config: &str) -> Vec<Finding> {
    bench.write("wide", "template.toml", &format!("api = 1\nbackend = \"docker\"\n[config]\n{config}"));
    bench.write("wide", "hooks.lua", "return { submit = function() end, terminate = function() end }\n");
    let findings = bench.hooks().check(&bench.dir("wide"));
    findings.into_iter().filter(|one| one.code != "no_hook").collect()
}

/// Each setting beyond the least, alone: it is pointed at with its line, and what it means, and it is no error.
#[test]
fn what_a_container_may_beyond_the_least_is_pointed_at_with_its_line() {
    let bench = Bench::new();
    for (line, means) in [
        ("privileged = true", "root on the engine's host"),
        ("host_network = true", "host's own network"),
        ("new_privileges = true", "may gain rights"),
        ("capabilities = [\"CHOWN\"]", "CHOWN, which is a right of root"),
        ("capabilities = [\"CAP_SYS_ADMIN\"]", "reaches beyond the container"),
        ("capabilities = [\"NET_ADMIN\"]", "NET_ADMIN, which is a right of root within"),
        ("capabilities = [\"all\"]", "reaches beyond the container"),
        ("devices = [\"/dev/nvidia0\"]", "only what a hook makes of it"),
        ("pid_mode = \"host\"", "only what a hook makes of it"),
        ("security_opt = [\"seccomp=unconfined\"]", "only what a hook makes of it"),
    ] {
        let findings = of_config(&bench, &format!("{line}\n"));
        has(&findings, "template.toml", Some(4), means);
        assert!(
            matches!(&findings[..], [one] if one.severity == Severity::Warning && one.code == "wide"),
            "{findings:?}"
        );
    }
    for (source, means) in [
        ("/", "the host itself"),
        ("/var/run/docker.sock", "the host itself"),
        ("/srv/../run/containerd/containerd.sock", "the host itself"),
        ("/var/run", "the host's own"),
        ("/var//", "the host's own"),
        ("/run/user/1000", "the host's own"),
        ("/etc", "the host's own"),
        ("/proc/1/root", "the host's own"),
        ("/var/lib/docker/volumes", "the host's own"),
        ("/dev/kvm", "devices of the host"),
    ] {
        let findings = of_config(
            &bench,
            &format!("[mounts.x]\nsource = {source:?}\ntarget = \"/x\"\n")
                .replace("[mounts", "[config.mounts"),
        );
        has(&findings, "template.toml", Some(5), means);
        assert_eq!(findings.len(), 1, "{findings:?}");
    }
    for (more, who) in [("", "that asks for it"), ("always = true\n", "by every session")] {
        let text =
            format!("[config.mounts.x]\nsource = \"/srv\"\ntarget = \"/x\"\nread_only = false\n{more}");
        has(&of_config(&bench, &text), "template.toml", Some(7), who);
    }
    // The least, and what is within it.
    let text = "images = [\"a*\"]\nnetworks = [\"lab\"]\npull = \"never\"\ncapabilities = []\nprivileged = false\n\
                new_privileges = false\nsite = { of = \"its own\" }\n\
                [config.mounts.data]\nsource = \"/srv/data\"\ntarget = \"/data\"\nread_only = true\nalways = true\n\
                [config.mounts.trust]\nsource = \"/etc/ssl/certs\"\ntarget = \"/etc/ssl/certs\"\n";
    let findings = of_config(&bench, text);
    assert!(findings.is_empty(), "{findings:?}");
}

#[test]
fn what_the_docker_backend_could_not_read_at_a_start_is_found_before() {
    let bench = Bench::new();
    for (config, at, means) in [
        ("privileged = \"yes\"\n", 4, "true or false, not a text"),
        ("capabilities = \"ALL\"\n", 4, "a list of texts, not a text"),
        ("images = [1]\n", 4, "a list of texts, not a whole number"),
        ("pull = \"daily\"\n", 4, "\"missing\", \"always\" or \"never\""),
        ("mounts = [\"/srv:/srv\"]\n", 4, "[config.mounts.NAME]"),
        ("[config.mounts.x]\nsource = \"srv\"\ntarget = \"/x\"\n", 5, "absolute"),
        ("[config.mounts.x]\nsource = \"/srv\"\n", 4, "needs `target`"),
        ("[config.mounts.x]\nsource = \"/srv\"\ntarget = \"/x\"\nreadonly = true\n", 7, "not `readonly`"),
        ("[config.mounts.x]\nsource = \"/srv\"\ntarget = \"/run/wharf/bin\"\n", 6, "lies at /run/wharf"),
        ("[config.mounts.x]\nsource = \"/srv\"\ntarget = \"/\"\n", 6, "lies at /run/wharf"),
    ] {
        let findings = of_config(&bench, config);
        has(&findings, "template.toml", Some(at), means);
        assert!(findings.iter().any(|one| one.severity == Severity::Error), "{findings:?}");
    }
    has(
        &of_config(&bench, "networks = [\"host\"]\n"),
        "template.toml",
        Some(4),
        "only with `host_network = true`",
    );
}

#[test]
fn broken_toml_and_tables_of_the_wrong_kind_are_found() {
    let bench = Bench::new();
    let hooks = bench.hooks();
    bench.write("toml", "template.toml", "api = 1\nbackend = \"shell\ntitle = \n");
    has(&hooks.check(&bench.dir("toml")), "template.toml", Some(2), "not valid TOML");
    bench.lua("word", "", "M.sumbit = function() end");
    has(&hooks.check(&bench.dir("word")), "hooks.lua", None, "did you mean `submit`?");
    bench.lua("value", "", "M.status = 5");
    has(&hooks.check(&bench.dir("value")), "hooks.lua", None, "has to be a function");
    bench.lua("effects", "", "host.exec{ argv = { 'true' } }");
    has(&hooks.check(&bench.dir("effects")), "hooks.lua", Some(4), "while a file is loaded");
    bench.lua("endless", "", "while true do end");
    has(&hooks.check(&bench.dir("endless")), "hooks.lua", Some(4), "time is over");
    bench.lua("both", "", "");
    bench.write("both", "hooks/submit", "#!/bin/sh\n");
    has(&hooks.check(&bench.dir("both")), "hooks.lua", None, "keep one");
    bench.write("none", "template.toml", bench::MANIFEST);
    has(&hooks.check(&bench.dir("none")), "template.toml", None, "no `submit` hook");
    has(&hooks.check(&bench.dir("none")), "template.toml", None, "no `terminate` hook");
    has(&hooks.check(&bench.dir("absent")), ".", None, "No such file");
}

#[test]
fn what_others_may_write_is_refused() {
    let bench = Bench::new();
    bench.template("t", "", &[]);
    let hooks = bench.hooks();
    assert_eq!(hooks.check(&bench.dir("t")), []);
    for (path, mode, back) in [
        (bench.dir("t"), 0o777, 0o755),
        (bench.dir("t").join("hooks"), 0o775, 0o755),
        (bench.dir("t").join("hooks/submit"), 0o757, 0o755),
        (bench.dir("t").join("template.toml"), 0o664, 0o644),
        (bench.root.path().join("templates"), 0o777, 0o755),
        (bench.root.path().to_owned(), 0o770, 0o700),
    ] {
        chmod(&path, mode);
        let findings = hooks.check(&bench.dir("t"));
        assert!(findings.iter().any(|one| one.code == "unsafe_mode"), "{path:?}: {findings:?}");
        chmod(&path, back);
    }
    // The temporary directory is sticky: the first directory below it has to be its owner's alone.
    chmod(bench.root.path(), 0o755);
    let findings = hooks.check(&bench.dir("t"));
    assert!(findings.iter().any(|one| one.message.contains("0700")), "{findings:?}");
    chmod(bench.root.path(), 0o700);
    std::os::unix::fs::symlink("/etc/passwd", bench.dir("t").join("files.j2")).expect("a link");
    assert!(hooks.check(&bench.dir("t")).iter().any(|one| one.code == "symlink"));
    std::fs::remove_file(bench.dir("t").join("files.j2")).expect("removed");
    std::os::unix::fs::symlink("template.toml", bench.dir("t").join("inside")).expect("a link");
    assert_eq!(hooks.check(&bench.dir("t")), []);
}

#[test]
fn files_of_strangers_are_refused() {
    if !rustix::process::geteuid().is_root() {
        return; // Only root can give files away; the rule itself is the same code for everybody.
    }
    let bench = Bench::new();
    bench.template("t", "", &[]);
    std::os::unix::fs::chown(bench.dir("t").join("hooks/submit"), Some(12_345), None).expect("chown");
    let findings = bench.hooks().check(&bench.dir("t"));
    assert!(findings.iter().any(|one| one.code == "unsafe_owner"), "{findings:?}");
}

#[test]
fn a_full_manifest_is_read_to_the_letter() {
    let bench = Bench::new();
    let text = r#"title = "Job"
description = "d"
scheduler = "Site"
instance = ["a", "b"]
[access]
users = ["alice"]
[command]
default = ["bash", "-l"]
tty = true
stop = ["stop"]
override = false
[params.cores]
type = "int"
default = 2
min = 1
max = 8
[params.time]
type = "duration"
default = "1h"
[params.size]
type = "choice"
choices = ["s", "l"]
default = "s"
secret = false
[job]
cwd = "/work"
env = { A = "b" }
before = ["module load x"]
[config]
images = ["a*"]
[connect.web]
kind = "http"
port = 8888
[connect.term]
kind = "tty"
[timeouts]
submit = "1m"
[session]
on_orphan = "end:1h"
idle_timeout = "2h"
[limits]
per_user = 3
hook_memory = "64MiB"
[hooks]
path = ["/opt/bin"]
commands = { sbatch = "/opt/bin/sbatch" }
job_id_pattern = '\d+'
"#;
    bench.template("full", text, &[("find", "true")]);
    let hooks = bench.hooks();
    assert_eq!(hooks.check(&bench.dir("full")), []);
    let entry = hooks.get("full").expect("listed");
    assert_eq!(entry.state, TemplateState::Ok);
    let template = entry.template.expect("good");
    assert_eq!((template.title.as_str(), template.scheduler.as_str()), ("Job", "Site"));
    assert_eq!(template.params["cores"].kind, ParamKind::Int);
    assert_eq!(template.command.stop.as_deref(), Some(&["stop".to_owned()][..]));
    assert!(template.command.tty && !template.command.overridable);
    assert_eq!(template.endpoints.len(), 2);
    assert_eq!(template.timeouts.submit.as_secs(), 60);
    assert_eq!(template.timeouts.find.as_secs(), 10);
    assert_eq!(template.limits.per_user, Some(3));
    assert_eq!(template.config, json!({"images": ["a*"]}));
    assert_eq!(
        template.hooks.iter().copied().collect::<Vec<_>>(),
        [Hook::Submit, Hook::Find, Hook::Terminate]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_swaps_whole_and_a_broken_one_keeps_the_last_good() {
    let bench = Bench::new();
    bench.lua("t", "", "");
    let hooks = bench.hooks();
    let job = |hooks: Hooks| async move {
        let HookAnswer::Submit(submitted) = answer(&hooks, "t", Hook::Submit, json!({})).await else {
            panic!()
        };
        submitted.job_id
    };
    assert_eq!(job(hooks.clone()).await, "1");
    let first = hooks.get("t").and_then(|entry| entry.template).expect("good").version.clone();
    hooks.reload();
    assert_eq!(hooks.get("t").and_then(|entry| entry.template).expect("good").version, first);
    // Seen by the next call, without any signal.
    bench.lua("t", "", "function M.submit() return { job_id = '2' } end");
    assert_eq!(job(hooks.clone()).await, "2");
    bench.lua("t", "", "function M.submit( return { job_id = '3' } end");
    hooks.reload();
    let entry = hooks.get("t").expect("listed");
    assert_eq!(entry.state, TemplateState::Stale);
    assert!(entry.message.expect("a reason").contains("hooks.lua:4"), "{:?}", entry.findings);
    assert_eq!(job(hooks.clone()).await, "2");
    bench.lua("t", "disabled = \"maintenance\"\n", "");
    hooks.reload();
    let entry = hooks.get("t").expect("listed");
    assert_eq!((entry.state, entry.message.as_deref()), (TemplateState::Disabled, Some("maintenance")));
    bench.write("new", "template.toml", "api = 1\n");
    hooks.reload();
    let entry = hooks.get("new").expect("listed");
    assert_eq!(entry.state, TemplateState::Broken);
    assert!(entry.template.is_none());
    chmod(&bench.dir("t"), 0o777);
    hooks.reload();
    assert_eq!(hooks.get("t").expect("listed").state, TemplateState::Stale);
}

#[tokio::test(flavor = "multi_thread")]
async fn built_in_templates_run_and_are_replaced_or_extended() {
    let bench = Bench::new();
    let builtin: &'static [(&'static str, &'static [u8], bool)] = &[
        ("inner/template.toml", b"api = 1\nbackend = \"shell\"\ntitle = \"Inner\"\n[config]\na = 1\n", false),
        ("inner/hooks/submit", b"#!/bin/sh\nexec \"$(dirname \"$0\")/../lib/run\"\n", true),
        ("inner/hooks/terminate", b"#!/bin/sh\nexit 0\n", true),
        ("inner/lib/run", b"#!/bin/sh\necho built-in\n", true),
        ("other/template.toml", b"api = 1\nbackend = \"shell\"\ntitle = \"Other\"\n", false),
        (
            "other/hooks.lua",
            b"return { submit = function() return { job_id = 'o' } end, terminate = function() end }",
            false,
        ),
    ];
    let make = || {
        Hooks::new(HooksConfig {
            template_dirs: vec![bench.root.path().join("templates")],
            builtin,
            data_dir: bench.data(),
            instance: "i".to_owned(),
            backends: Vec::new(),
            path: std::env::var("PATH").unwrap_or_default(),
            home: String::new(),
            user: String::new(),
            logs_roots: Vec::new(),
            max_hooks: 4,
        })
        .expect("hooks")
    };
    let hooks = make();
    assert_eq!(hooks.get("inner").expect("listed").origin, "builtin");
    let HookAnswer::Submit(submitted) = answer(&hooks, "inner", Hook::Submit, json!({})).await else {
        panic!()
    };
    assert_eq!(submitted.job_id, "built-in");
    // An overlay over the built-in template of the same name.
    bench.write(
        "inner",
        "template.toml",
        "api = 1\nextends = \"inner\"\ntitle = \"Mine\"\n[config]\nb = 2\n",
    );
    bench.lua("other", "title = \"Replaced\"\n", "");
    hooks.reload();
    let inner = hooks.get("inner").expect("listed");
    let template = inner.template.expect("good");
    assert_eq!((template.title.as_str(), &template.config), ("Mine", &json!({"a": 1, "b": 2})));
    assert_eq!(hooks.get("other").and_then(|entry| entry.template).expect("good").title, "Replaced");
    let HookAnswer::Submit(submitted) = answer(&hooks, "inner", Hook::Submit, json!({})).await else {
        panic!()
    };
    assert_eq!(submitted.job_id, "built-in");
    bench.write("loop-a", "template.toml", "extends = \"loop-b\"\n");
    bench.write("loop-b", "template.toml", "extends = \"loop-a\"\n");
    bench.write("orphan", "template.toml", "extends = \"nobody\"\n");
    has(&hooks.check(&bench.dir("loop-a")), "template.toml", None, "circle");
    has(&hooks.check(&bench.dir("orphan")), "template.toml", None, "no such template");
}

#[test]
fn the_shipped_templates_have_no_findings() {
    let bench = Bench::new();
    let hooks = Hooks::new(HooksConfig {
        template_dirs: Vec::new(),
        builtin: wharf_hooks::builtin(),
        data_dir: bench.data(),
        instance: "i".to_owned(),
        backends: Vec::new(),
        path: String::new(),
        home: String::new(),
        user: String::new(),
        logs_roots: Vec::new(),
        max_hooks: 0,
    })
    .expect("hooks");
    for entry in hooks.list() {
        assert_eq!((entry.state, entry.findings), (TemplateState::Ok, Vec::new()), "{}", entry.name);
    }
}
