//! Templates that change while they serve: checked first, swapped whole, the last good version kept.

mod bench;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bench::{Bench, answer, call, failure, until};
use serde_json::json;
use wharf_core::hook::{Hook, HookAnswer, HookErrorKind, HookRuntime as _};
use wharf_core::template::Catalog as _;
use wharf_hooks::Hooks;
use wharf_protocol::template::TemplateState;

async fn job(hooks: &Hooks) -> String {
    match answer(hooks, "t", Hook::Submit, json!({})).await {
        HookAnswer::Submit(submitted) => submitted.job_id,
        other => panic!("{other:?}"),
    }
}

fn state(hooks: &Hooks) -> TemplateState {
    hooks.get("t").expect("listed").state
}

fn submits(bench: &Bench, word: &str) {
    bench.write("t", "hooks.lua", &format!("local w = require('lib.w') return {{ submit = function() return {{ job_id = '{word}-' .. w.word }} end, terminate = function() return {{}} end }}"));
}

fn library(bench: &Bench, text: &str) {
    bench.write("t", "lib/w.lua", text);
}

fn template(bench: &Bench) {
    bench.write("t", "template.toml", bench::MANIFEST);
    library(bench, "return { word = 'one' }");
    submits(bench, "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_file_is_noticed_by_its_content() {
    let bench = Bench::new();
    template(&bench);
    let hooks = bench.hooks();
    assert_eq!(job(&hooks).await, "a-one");
    submits(&bench, "b");
    assert_eq!(job(&hooks).await, "b-one");
    library(&bench, "return { word = 'two' }");
    assert_eq!(job(&hooks).await, "b-two");
    // Of the same length, and with the time of the one before.
    let file = bench.dir("t").join("lib/w.lua");
    let time = std::fs::metadata(&file).expect("a file").modified().expect("a time");
    library(&bench, "return { word = 'six' }");
    std::fs::File::options().write(true).open(&file).expect("a file").set_modified(time).expect("a time");
    assert_eq!(job(&hooks).await, "b-six");
    // In place: the same file with other content.
    std::fs::write(&file, "return { word = 'ten' }").expect("a file");
    assert_eq!(job(&hooks).await, "b-ten");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_file_that_is_put_back_is_noticed() {
    let bench = Bench::new();
    template(&bench);
    let file = bench.dir("t").join("lib/w.lua");
    let kept = bench.root.path().join("kept");
    std::fs::rename(&file, &kept).expect("moved");
    let old = SystemTime::now() - Duration::from_secs(1_000_000);
    std::fs::File::options().write(true).open(&kept).expect("a file").set_modified(old).expect("a time");
    library(&bench, "return { word = 'new' }");
    let hooks = bench.hooks();
    assert_eq!(job(&hooks).await, "a-new");
    std::fs::rename(&kept, &file).expect("moved");
    assert_eq!(job(&hooks).await, "a-one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_of_any_kind_keeps_the_last_good_version_and_says_so() {
    let bench = Bench::new();
    template(&bench);
    bench.write("t", "files/a.j2", "{{ a }}");
    let hooks = bench.hooks();
    assert_eq!(job(&hooks).await, "a-one");
    let good: Vec<(&str, String)> = ["lib/w.lua", "hooks.lua", "template.toml", "files/a.j2"]
        .into_iter()
        .map(|file| (file, std::fs::read_to_string(bench.dir("t").join(file)).expect("a file")))
        .collect();
    let bad = [
        ("lib/w.lua", "return { word = "),
        // It loads, but what needs it does not.
        ("lib/w.lua", "error('not today')"),
        ("hooks.lua", "return 7"),
        ("hooks.lua", "return { submit = function() end }"),
        ("template.toml", "api = 1\nbackend = \"shell\"\n[params.x]\ntype = \"nonsense\"\n"),
        ("files/a.j2", "{% for %}"),
    ];
    for (file, text) in bad {
        bench.write("t", file, text);
        assert_eq!(job(&hooks).await, "a-one", "{file}: {text}");
        let entry = hooks.get("t").expect("listed");
        assert_eq!(entry.state, TemplateState::Stale, "{file}: {text}");
        let named =
            entry.findings.iter().any(|finding| finding.file == file || finding.code == "missing_hook");
        assert!(named, "{file}: {:?}", entry.findings);
        let whole = &good.iter().find(|(name, _)| *name == file).expect("kept").1;
        bench.write("t", file, whole);
        assert_eq!(job(&hooks).await, "a-one");
        assert_eq!(state(&hooks), TemplateState::Ok, "{file}");
    }
    // Several mistakes at once are several findings.
    bench.write("t", "lib/w.lua", "return {");
    bench.write("t", "template.toml", "api = 1\nbackend = \"shell\"\ntitel = \"x\"\n");
    hooks.reload();
    let findings = hooks.get("t").expect("listed").findings;
    assert!(findings.len() >= 2, "{findings:?}");
    // A file that others may write to is as bad as a broken one.
    for (file, text) in &good {
        bench.write("t", file, text);
    }
    bench::chmod(&bench.dir("t").join("lib/w.lua"), 0o666);
    assert_eq!(job(&hooks).await, "a-one");
    assert_eq!(state(&hooks), TemplateState::Stale);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_finishes_on_the_version_it_began_with() {
    let bench = Bench::new();
    template(&bench);
    // It requires its library only after it has waited: the library of its own version.
    bench.write("t", "hooks.lua", "return { submit = function() host.tmp() host.sleep(0.6) return { job_id = 'old-' .. require('lib.w').word } end, terminate = function() return {} end }");
    let hooks = bench.hooks();
    let running = tokio::spawn({
        let hooks = hooks.clone();
        async move { job(&hooks).await }
    });
    until("it runs", || std::fs::read_dir(bench.data().join("calls")).is_ok_and(|own| own.count() > 0)).await;
    library(&bench, "return { word = 'two' }");
    submits(&bench, "new");
    assert_eq!(job(&hooks).await, "new-two");
    assert_eq!(running.await.expect("an answer"), "old-one");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executable_finds_the_files_beside_it_as_they_were_checked() {
    let bench = Bench::new();
    bench.template("t", "", &[("submit", ". \"${0%/*}/words\"; echo \"$word\"")]);
    bench.write("t", "hooks/words", "word=first\n");
    let hooks = bench.hooks();
    assert_eq!(job(&hooks).await, "first");
    bench.write("t", "hooks/words", "word=second\n");
    assert_eq!(job(&hooks).await, "second");
    // Nothing of a version that cannot be used is run, also not by way of a file beside the hook.
    bench.write("t", "template.toml", "api = ");
    bench.write("t", "hooks/words", "word=third\n");
    assert_eq!(job(&hooks).await, "second");
    assert_eq!(state(&hooks), TemplateState::Stale);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_is_written_to_all_the_time_never_fails_a_call() {
    let bench = Arc::new(Bench::new());
    template(&bench);
    let hooks = bench.hooks();
    let over = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (bench, over) = (Arc::clone(&bench), Arc::clone(&over));
        move || {
            let mut round = 0;
            while !over.load(Ordering::Relaxed) {
                round += 1;
                match round % 4 {
                    0 => library(&bench, "return {"),
                    1 => submits(&bench, "b"),
                    2 => bench.write("t", "template.toml", "api = "),
                    _ => template(&bench),
                }
                std::thread::yield_now();
            }
        }
    });
    let done = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (hooks, done) = (hooks.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                for _ in 0..50 {
                    let id = job(&hooks).await;
                    assert!(id == "a-one" || id == "b-one", "{id}");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no call failed");
    }
    over.store(true, Ordering::Relaxed);
    writer.join().expect("it wrote");
    assert_eq!(done.load(Ordering::Relaxed), 200);
    template(&bench);
    assert_eq!(job(&hooks).await, "a-one");
    assert_eq!(state(&hooks), TemplateState::Ok);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executable_that_nothing_can_run_is_broken() {
    let bench = Bench::new();
    bench.template("t", "", &[]);
    let hooks = bench.hooks();
    assert_eq!(state(&hooks), TemplateState::Ok);
    let file = bench.dir("t").join("hooks/submit");
    std::fs::write(&file, "echo 1\n").expect("a file");
    hooks.reload();
    let entry = hooks.get("t").expect("listed");
    assert_eq!((entry.state, entry.findings[0].code.as_str()), (TemplateState::Stale, "no_interpreter"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_never_good_serves_as_soon_as_it_is() {
    let bench = Bench::new();
    template(&bench);
    library(&bench, "return {");
    let hooks = bench.hooks();
    assert_eq!(state(&hooks), TemplateState::Broken);
    let mut refused = call("t", Hook::Submit, json!({}));
    refused.deadline = Duration::from_secs(5);
    let error = hooks.call(refused).await.outcome.expect_err("broken");
    assert_eq!(error.kind, HookErrorKind::Misconfigured);
    assert!(error.message.contains("lib/w.lua:1"), "{error:?}");
    assert_eq!(failure(&hooks, "t", Hook::Terminate).await.kind, HookErrorKind::Misconfigured);
    library(&bench, "return { word = 'one' }");
    assert_eq!(job(&hooks).await, "a-one");
}

#[tokio::test(flavor = "multi_thread")]
async fn that_a_template_is_current_is_told_of_that_one_alone() {
    let bench = Bench::new();
    template(&bench);
    bench.write("other", "template.toml", bench::MANIFEST);
    bench.write("other", "hooks.lua", "return {");
    bench.write("over", "template.toml", "api = 1\nextends = \"t\"\n");
    let hooks = bench.hooks();
    assert!(hooks.is_current("t") && hooks.is_current("over"));
    assert!(!hooks.is_current("other"), "a broken one may lack what has turned up since");
    assert!(!hooks.is_current("none"), "an unknown one may have turned up");
    bench.write("other", "hooks.lua", "return { submit = 1 }");
    assert!(hooks.is_current("t"), "another one is another one");
    submits(&bench, "b");
    assert!(!hooks.is_current("t") && !hooks.is_current("over"), "what it extends is a part of it");
    hooks.reload();
    assert!(hooks.is_current("t") && hooks.is_current("over"));
    std::fs::remove_dir_all(bench.dir("over")).expect("it was there");
    assert!(!hooks.is_current("over"));
    hooks.reload();
    assert!(!hooks.is_current("over"), "one that is gone may come back");
    // A directory that comes before the one that it was read from.
    let first = bench.root.path().join("first");
    std::fs::create_dir(&first).expect("a directory");
    assert!(hooks.is_current("t"));
    std::fs::rename(bench.dir("t"), first.join("t")).expect("a directory");
    assert!(!hooks.is_current("t"), "it lies elsewhere now");
}
