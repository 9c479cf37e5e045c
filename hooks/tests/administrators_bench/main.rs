//! The administrator's bench: what check, golden cases and hostile values find in good and in bad templates.

#[path = "../bench/mod.rs"]
mod bench;
mod hostile;

use std::sync::Arc;

use bench::{Bench as Place, processes};
use serde_json::{Value, json};
use wharf_core::backend::{Backend, HostContext, HostError, HostFunction, HostModule};
use wharf_core::hook::Hook;
use wharf_hooks::bench::{Asked, Bench, BenchConfig, Expect, InjectReport, Target};
use wharf_protocol::template::{Finding, Severity};

/// The names of a backend's functions; none of them may run on a bench.
#[derive(Debug, Clone, Copy)]
struct Names(&'static str, &'static [HostFunction]);

const SLURM: &[HostFunction] = &[
    HostFunction { name: "sbatch", writes: true, doc: "" },
    HostFunction { name: "find", writes: false, doc: "" },
    HostFunction { name: "status", writes: false, doc: "" },
    HostFunction { name: "sacct", writes: false, doc: "" },
    HostFunction { name: "scancel", writes: true, doc: "" },
    HostFunction { name: "extend", writes: true, doc: "" },
    HostFunction { name: "sinfo", writes: false, doc: "" },
    HostFunction { name: "sacctmgr", writes: false, doc: "" },
];

const SHELL: &[HostFunction] = &[
    HostFunction { name: "spawn", writes: true, doc: "" },
    HostFunction { name: "inspect", writes: false, doc: "" },
    HostFunction { name: "list", writes: false, doc: "" },
    HostFunction { name: "signal", writes: true, doc: "" },
    HostFunction { name: "clear", writes: true, doc: "" },
];

#[async_trait::async_trait]
impl HostModule for Names {
    fn name(&self) -> &'static str {
        self.0
    }
    fn functions(&self) -> &'static [HostFunction] {
        self.1
    }
    async fn call(&self, function: &str, _: Value, _: &HostContext) -> Result<Value, HostError> {
        panic!("{}.{function} really ran", self.0)
    }
}

#[async_trait::async_trait]
impl Backend for Names {
    fn name(&self) -> &str {
        self.0
    }
    fn capabilities(&self) -> Vec<&'static str> {
        Vec::new()
    }
    fn requeues(&self) -> bool {
        false
    }
    async fn probe(&self) -> Result<(), String> {
        Ok(())
    }
    fn module(&self) -> Option<Arc<dyn HostModule>> {
        Some(Arc::new(*self))
    }
}

fn open(target: &Target) -> Bench {
    let config = BenchConfig {
        template_dirs: Vec::new(),
        builtin: wharf_hooks::builtin(),
        backends: vec![Arc::new(Names("shell", SHELL)), Arc::new(Names("slurm", SLURM))],
        path: std::env::var("PATH").unwrap_or_default(),
        home: "/home/alice".to_owned(),
        user: "alice".to_owned(),
    };
    Bench::open(config, target).expect("a bench")
}

fn at(place: &Place, name: &str) -> Bench {
    open(&Target::Directory(place.dir(name)))
}

async fn inject(bench: &Bench) -> InjectReport {
    bench.inject(&mut |_| ()).await.expect("it can be tried")
}

fn described(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|found| format!("{}:{} {} {}", found.file, found.line.unwrap_or(0), found.code, found.message))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn shipped_templates_pass_everything() {
    for name in ["shell", "shell-exec", "slurm", "gridengine"] {
        let bench = open(&Target::Name(name.to_owned()));
        assert_eq!(described(&bench.check()), Vec::<String>::new(), "{name}");
        let (cases, findings) = bench.cases();
        assert!(findings.is_empty() && !cases.is_empty(), "{name}: {findings:?}");
        for case in &cases {
            let report = bench.test(case).await.unwrap();
            assert!(report.passed(), "{name}: {}: {:#?}\n{}", case.file, report.differences, report.log);
        }
        let report = inject(&bench).await;
        assert!(report.failures.is_empty(), "{name}: {:#?}", report.failures);
        assert!(report.data > 100, "{name}: {report:?}");
        assert!(report.refused["the session's name"].contains(&"NUL"));
    }
}

#[test]
fn five_mistakes_get_five_findings_in_one_run() {
    let place = Place::new();
    place.write(
        "t",
        "template.toml",
        "api = 1\nbackend = \"shell\"\n[hooks]\ncommands = [\"mysub\"]\nleftover = \"end\"\n[params.queue]\ntype = \"strin\"\n",
    );
    place.write(
        "t",
        "hooks.lua",
        "local M = {}\n\
         function M.submit(req)\n\
           local run = host.exce { argv = { \"mysbu\", req.session.id } }\n\
           local name = sesion.name\n\
           return { job_id = lines(run.stdout)[1] }\n\
         end\n\
         function M.terminat(req) return {} end\n\
         function M.terminate(job) log.info(job.modus, job.session.tag.x, job.job_id) return {} end\n\
         return M\n",
    );
    let findings = at(&place, "t").check();
    let said = described(&findings);
    for wanted in [
        "template.toml:5 unknown_key unknown key `leftover` in [hooks]; did you mean `leftovers`?",
        "template.toml:7 type `type` of queue has to be",
        "hooks.lua:3 unknown_function `host.exce` is no function of the host; did you mean `host.exec`?",
        "hooks.lua:4 undefined_global `sesion` is nowhere defined",
        "hooks.lua:7 unknown_hook `terminat` is no hook; did you mean `terminate`?",
        "hooks.lua:8 unknown_member the request of `terminate` has no `modus`; did you mean `mode`?",
        "hooks.lua:8 unknown_member a session has no `tag`; did you mean `tags`?",
    ] {
        assert!(said.iter().any(|said| said.starts_with(wanted)), "{wanted}\n{said:#?}");
    }
    assert!(findings.iter().all(|found| found.severity == Severity::Error || found.line.is_some()));
}

#[test]
fn a_manifest_that_does_not_parse_hides_nothing_of_the_hooks() {
    let place = Place::new();
    place.write("t", "template.toml", "api = = 1\n");
    place.write("t", "hooks.lua", "local M = {}\nfunction M.submit(req) retrun 1 end\nreturn M\n");
    let said = described(&at(&place, "t").check());
    assert!(said.iter().any(|said| said.starts_with("template.toml:1 syntax")), "{said:#?}");
    assert!(said.iter().any(|said| said.starts_with("hooks.lua:2 lua_syntax")), "{said:#?}");
}

#[test]
fn what_a_script_gives_a_container_beyond_the_least_is_pointed_at() {
    let place = Place::new();
    place.write("t", "template.toml", bench::MANIFEST);
    place.write("t", "hooks/terminate", "#!/bin/sh\ndocker rm --force \"$WHARF_SESSION_ID\"\n");
    let least = "#!/bin/sh\n# not --privileged\ndocker create --cap-drop ALL --security-opt no-new-privileges \\\n    \
                 --network \"$network\" --pids-limit 9 busybox\n";
    place.write("t", "hooks/submit", least);
    let said = described(&at(&place, "t").check());
    assert!(!said.iter().any(|said| said.contains(" wide ")), "{said:#?}");
    for option in [
        "--privileged",
        "--cap-add",
        "--device",
        "--gpus",
        "--pid=host",
        "--ipc host",
        "--userns=host",
        "--network host",
        "--net=host",
        "--security-opt seccomp=unconfined",
        "--volume=/run/docker.sock",
    ] {
        let text = format!("#!/bin/sh\ndocker run --detach \\\n    --rm {option} all busybox\n");
        place.write("t", "hooks/submit", &text);
        let said = described(&at(&place, "t").check());
        let wanted = format!("hooks/submit:3 wide `{option}`");
        assert!(said.iter().any(|said| said.starts_with(&wanted)), "{wanted}\n{said:#?}");
    }
}

#[test]
fn what_a_shell_reads_is_warned_of_and_good_lua_is_not() {
    let place = Place::new();
    place.lua(
        "bad",
        "[hooks]\ncommands = [\"sh\", \"sudo\"]\n[params.idle]\ntype = \"string\"\n",
        "function M.logs(req)\n\
         host.exec { argv = { \"sh\", \"-c\", \"echo \" .. req.session.name } }\n\
         return { text = '' }\nend\n",
    );
    place.write("bad", "files/job.sh.j2", "#!/bin/sh\n#SBATCH --x={{ name }}\necho {{ name }}\n");
    let said = described(&at(&place, "bad").check());
    for wanted in [
        "hooks.lua:5 shell_text",
        "template.toml:4 privileged",
        "template.toml:4 shell_command",
        "template.toml:5 unused_param",
        "files/job.sh.j2:2 shell_text `{{ name }}` puts a value into a script as it is: write `{{ name | directive }}`",
        "files/job.sh.j2:3 shell_text `{{ name }}` puts a value into a script as it is: write `{{ name | shq }}`",
    ] {
        assert!(said.iter().any(|said| said.starts_with(wanted)), "{wanted}\n{said:#?}");
    }
    place.lua(
        "good",
        "[hooks]\ncommands = [\"mystat\"]\n",
        r##"
        --[[ a comment with undefined names ]]
        type Row = { id: string, count: number? }
        local cast = (nil :: any) :: Row?
        local function rows(text: string, ...): any
          local found, count = {}, 0
          for index, row in ipairs(columns(text, { "id", "state" })) do
            found[index] = row.id; count += 1
            repeat local done = true until done
          end
          return found, `there are {count}`, select("#", ...)
        end
        function M.find(req) local answer = {} for _, session in ipairs(req.sessions) do answer[session.id] = false end return answer end
        function M.status(req)
          local out = host.exec { argv = { "mystat", "--", unpack({ "a" }) }, effect = "read", env = { A = "1", path = "x" } }
          log.info(cast, rows(out.stdout), json.encode({ null = json.null, self = 1 }), math.floor(1.5), ("x"):rep(2))
          return {}
        end
        "##,
    );
    assert_eq!(described(&at(&place, "good").check()), Vec::<String>::new());
}

/// A scheduler template in Lua; `argv` is the submit command.
fn lua(place: &Place, argv: &str) {
    place.lua(
        "t",
        "[hooks]\ncommands = [\"mysub\", \"mydel\"]\n[params.queue]\ntype = \"string\"\ndefault = \"short\"\n",
        &format!(
            "function M.submit(req)\n\
             local p = req.session.params\n\
             local run = host.exec {{ argv = {argv}, stdin = 'x', check = true }}\n\
             return {{ job_id = lines(run.stdout)[1] }}\nend\n"
        ),
    );
}

const CASE: &str = "hook = \"submit\"\n[request.session.params]\nqueue = \"long\"\n[[command]]\n\
    argv = [\"mysub\", \"--queue=long\"]\nstdin = \"x\"\nstdout = \"77\\n\"\n[expect]\nresult = { job_id = \"77\" }\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_case_passes_fails_with_a_difference_and_is_updated() {
    let place = Place::new();
    lua(&place, "{ 'mysub', '--queue=' .. p.queue }");
    place.write("t", "tests/submit.toml", CASE);
    let bench = at(&place, "t");
    let (cases, _) = bench.cases();
    let report = bench.test(&cases[0]).await.unwrap();
    assert!(report.passed(), "{report:#?}");

    lua(&place, "{ 'mysub', '-q', p.queue }");
    let bench = at(&place, "t");
    let report = bench.test(&cases[0]).await.unwrap();
    let said = report.differences.join("\n");
    assert!(said.contains("- mysub --queue=long\n  + mysub -q long"), "{said}");
    let renewed = bench.renewed(&cases[0]).await.unwrap();
    assert_eq!(renewed.commands[0].argv, ["mysub", "-q", "long"]);
    assert_eq!(renewed.commands[0].stdout, "77\n", "answers stay");
    place.write("t", "tests/submit.toml", &renewed.to_toml());
    let bench = at(&place, "t");
    let report = bench.test(&bench.cases().0[0]).await.unwrap();
    assert!(report.passed(), "{report:#?}\n{}", renewed.to_toml());
}

#[tokio::test(flavor = "multi_thread")]
async fn unexpected_missing_and_misordered_commands_fail_a_case() {
    let place = Place::new();
    place.lua(
        "t",
        "[hooks]\ncommands = [\"a\", \"b\"]\n",
        "function M.terminate(req) host.exec { argv = { 'a' } } pcall(host.exec, { argv = { 'b' } }) return {} end\n",
    );
    let bench = at(&place, "t");
    let case = |commands: &str| {
        let text = format!("hook = \"terminate\"\n{commands}\n[expect]\nresult = {{}}\n");
        place.write("t", "tests/one.toml", &text);
        at(&place, "t").cases().0.remove(0)
    };
    let mock = |name: &str| format!("[[command]]\nargv = [\"{name}\"]\n");
    for (commands, wanted) in [
        (mock("a"), "not expected:\n  + b"),
        (String::new(), "not expected:\n  + a"),
        (mock("a") + &mock("b") + &mock("b"), "did not run:\n  - b"),
        (mock("b") + &mock("a"), "another command was expected:\n  - b\n  + a"),
    ] {
        let report = bench.test(&case(&commands)).await.unwrap();
        let said = report.differences.join("\n");
        assert!(said.contains(wanted), "{wanted:?} in {said}");
    }
    let unordered = format!("unordered = true\n{}{}", mock("b"), mock("a"));
    assert!(bench.test(&case(&unordered)).await.unwrap().passed());
}

/// The same scheduler in sh.
fn sh(place: &Place, submit: &str) {
    place.template(
        "t",
        "[hooks]\ncommands = [\"mysub\"]\n",
        &[("submit", submit), ("terminate", "cat >/dev/null")],
    );
}

const GOOD_SH: &str = r#"request=$(cat)
name=$(printf '%s' "$request" | sed -n 's/.*"name":"\([^"]*\)".*/\1/p' | head -n 1)
printf '%s' "body" | QUEUE=long mysub --name="$WHARF_SESSION_ID" 2>/dev/null"#;

#[tokio::test(flavor = "multi_thread")]
async fn executables_find_stand_ins_and_nothing_else() {
    let place = Place::new();
    sh(&place, GOOD_SH);
    place.write(
        "t",
        "tests/submit.toml",
        "hook = \"submit\"\n[[command]]\nargv = [\"mysub\", \"--name=k3v9x2m7q4t8w1z6b5n0\"]\nstdin = \"body\"\n\
         env = { QUEUE = \"long\" }\nstdout = \"77\\n\"\n[expect]\nresult = { job_id = \"77\" }\n",
    );
    let bench = at(&place, "t");
    let (cases, findings) = bench.cases();
    assert!(findings.is_empty(), "{findings:?}");
    let report = bench.test(&cases[0]).await.unwrap();
    assert!(report.passed(), "{report:#?}");
    // A command of the host that is no plain tool does not run, whatever the hook makes of its failure.
    sh(&place, &format!("hostname || true\n{GOOD_SH}"));
    let report = at(&place, "t").test(&cases[0]).await.unwrap();
    let said = report.differences.join("\n");
    assert!(said.contains("- mysub --name=k3v9x2m7q4t8w1z6b5n0\n  + hostname"), "{said}");
    // A command that reads its hook's standard input does not eat the request.
    sh(&place, "mysub first; request=$(cat); case $request in *k3v9x2m7q4t8w1z6b5n0*) echo 78;; esac");
    place.write(
        "t",
        "tests/submit.toml",
        "hook = \"submit\"\n[[command]]\nargv = [\"mysub\", \"first\"]\nsignal = 9\n[expect]\nresult = { job_id = \"78\" }\n",
    );
    let bench = at(&place, "t");
    let report = bench.test(&bench.cases().0[0]).await.unwrap();
    assert!(report.passed(), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn documents_clock_and_secrets_are_the_same_each_time() {
    let place = Place::new();
    place.lua(
        "t",
        "[hooks]\ncommands = [\"mysub\"]\n[secrets.key]\nfile = \"/nowhere\"\n",
        "function M.submit(req)\n\
         local file = host.tmp('job.sh', host.render('job.sh.j2', { id = req.session.id }))\n\
         host.sleep(5)\n\
         host.exec { argv = { 'mysub', file, tostring(host.now()), tostring(math.random(1000000)) }, env = { KEY = host.secret('key') } }\n\
         return { job_id = '1' }\nend\n",
    );
    place.write("t", "files/job.sh.j2", "#!/bin/sh\necho {{ id | shq }}\n");
    place.write(
        "t",
        "tests/a.toml",
        "hook = \"submit\"\nnow = \"2026-01-01T10:00:00Z\"\n[[file]]\nname = \"job.sh\"\ntext = \"\"\n",
    );
    let bench = at(&place, "t");
    let renewed = bench.renewed(&bench.cases().0[0]).await.unwrap();
    assert_eq!(renewed.commands[0].argv[1..3], ["{tmp}/job.sh", "1767261605"]);
    assert_eq!(renewed.commands[0].env["KEY"], "secret-key");
    assert_eq!(renewed.files["job.sh"], "#!/bin/sh\necho 'k3v9x2m7q4t8w1z6b5n0'\n");
    place.write("t", "tests/a.toml", &renewed.to_toml());
    let bench = at(&place, "t");
    let report = bench.test(&bench.cases().0[0]).await.unwrap();
    assert!(report.passed(), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_everything_and_runs_nothing() {
    let place = Place::new();
    let proof = place.root.path().join("proof");
    place.lua(
        "t",
        "[hooks]\ncommands = [\"touch\"]\n[params.n]\ntype = \"int\"\nmin = 1\ndefault = 1\n",
        &format!(
            "function M.submit(req)\nhost.exec {{ argv = {{ 'touch', '{}' }}, stdin = 'in', env = {{ N = req.session.params.n }} }}\n\
             host.tmp('doc', 'text')\nreturn {{ job_id = 'x' .. req.session.params.n }}\nend\n",
            proof.display()
        ),
    );
    let bench = at(&place, "t");
    let asked = |n: Value| Asked { params: [("n".to_owned(), n)].into(), ..Asked::default() };
    let report = bench.dry_run(Hook::Submit, &asked(json!("4"))).await.unwrap();
    assert_eq!(report.commands.len(), 1);
    assert_eq!((report.commands[0].stdin.as_str(), report.commands[0].env["N"].as_str()), ("in", "4"));
    assert_eq!(report.documents["doc"], "text");
    assert_eq!(report.outcome, Some(Ok(json!({ "job_id": "x4" }))));
    assert!(!proof.exists(), "it ran");
    let bad = bench.dry_run(Hook::Submit, &asked(json!("0"))).await.unwrap_err();
    assert!(bad.to_string().contains("params.n"), "{bad}");
    let really = bench.run(Hook::Submit, &asked(json!("4"))).await.unwrap();
    assert!(proof.exists() && really.outcome == Some(Ok(json!({ "job_id": "x4" }))), "{really:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_case_passes_as_it_is() {
    let place = Place::new();
    place.lua(
        "t",
        "[hooks]\ncommands = [\"uname\"]\n",
        "function M.find(req) return { [req.sessions[1].id] = lines(host.exec { argv = { 'uname', '-s' }, effect = 'read' }.stdout)[1] } end\n",
    );
    place.template(
        "e",
        "",
        &[(
            "find",
            "cat >/dev/null; printf '{\"result\":{\"k3v9x2m7q4t8w1z6b5n0\":\"%s\"}}' \"$(uname -s)\"",
        )],
    );
    for name in ["t", "e"] {
        let bench = at(&place, name);
        let case = bench.record(Hook::Find, &json!({})).await.unwrap();
        assert_eq!(case.commands.len(), 1, "{case:?}");
        assert_eq!(case.commands[0].stdout, "Linux\n");
        assert_eq!(case.expect, Expect::Result(json!({ "k3v9x2m7q4t8w1z6b5n0": "Linux" })));
        place.write(name, &case.file, &case.to_toml());
        let bench = at(&place, name);
        let report = bench.test(&bench.cases().0[0]).await.unwrap();
        assert!(report.passed(), "{report:#?}");
        assert_eq!(bench.record(Hook::Find, &json!({})).await.unwrap().file, "tests/find-recorded-2.toml");
    }
}

/// The table of the host API is what the check, the editors' types and the reference page go by.
#[tokio::test(flavor = "multi_thread")]
async fn the_table_of_the_host_api_is_what_scripts_see() {
    let place = Place::new();
    place.lua(
        "t",
        "",
        "function M.logs(req)\n\
         local seen = {}\n\
         for name, found in { host = host, json = json, toml = toml, re = re, units = units, log = log, shell = shell } do\n\
           for member in found do seen[#seen + 1] = name .. '.' .. member end\n\
         end\n\
         for name, found in { lines = lines, columns = columns, print = print, require = require } do seen[#seen + 1] = '.' .. name end\n\
         return { text = json.encode(seen) }\nend\n",
    );
    let report = at(&place, "t").run(Hook::Logs, &Asked::default()).await.unwrap();
    let result = report.outcome.unwrap().unwrap();
    let mut seen: Vec<String> = serde_json::from_str(result["text"].as_str().unwrap()).unwrap();
    // This template's backend is shell: it sees no other one's module.
    let items = wharf_hooks::bench::API.iter().filter(|item| !matches!(item.table, "docker" | "slurm"));
    let mut listed: Vec<String> = items.map(|item| format!("{}.{}", item.table, item.name)).collect();
    seen.sort();
    listed.sort();
    assert_eq!(seen, listed);
}
