//! Lists: filters, pages that stay stable while sessions change, bad cursors.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use wharf_tests::{Launcher, Template};

fn ids(items: &[Value]) -> Vec<String> {
    items.iter().filter_map(|item| Some(item["id"].as_str()?.to_owned())).collect()
}

#[test]
fn filters_combine_and_the_newest_comes_first() {
    let launcher = Launcher::builder()
        .template(&Template::queueing("queue"))
        .template(&Template::queueing("other"))
        .start();
    let first =
        launcher.start_session(&json!({"template": "queue", "name": "a", "tags": {"p": "1", "q": "x"}}));
    let second = launcher.start_session(&json!({"template": "queue", "name": "b", "tags": {"p": "1"}}));
    let third = launcher.start_session(&json!({"template": "other", "name": "a", "tags": {"p": "2"}}));
    assert_eq!(ids(&launcher.pages("")), [third.clone(), second.clone(), first.clone()]);
    for (query, wanted) in [
        ("template=queue", vec![&second, &first]),
        ("name=a", vec![&third, &first]),
        ("name=a&template=queue", vec![&first]),
        ("tag=p=1", vec![&second, &first]),
        ("tag=p=1&tag=q=x", vec![&first]),
        ("state=pending", vec![&third, &second, &first]),
        ("state=running", vec![]),
        ("owner=somebody-else", vec![]),
        ("template=none", vec![]),
    ] {
        let wanted: Vec<String> = wanted.into_iter().cloned().collect();
        assert_eq!(ids(&launcher.pages(query)), wanted, "{query}");
    }
    let owner = launcher.session(&first)["owner"].as_str().expect("an owner").to_owned();
    assert_eq!(launcher.pages(&format!("owner={owner}")).len(), 3);
    assert_eq!(launcher.cli(&["list", "--output", "json"]).json().as_array().map(Vec::len), Some(3));
}

#[test]
fn bad_queries_are_told() {
    let launcher = Launcher::start();
    let http = launcher.http();
    http.get("/sessions?cursor=nonsense").problem(400, "bad_cursor");
    for query in ["limit=0", "limit=501", "limit=x", "state=asleep", "colour=red", "tag=novalue"] {
        let problem = http.get(&format!("/sessions?{query}")).problem(422, "invalid");
        assert!(problem["field"].is_string(), "{problem}");
    }
}

#[test]
fn pages_stay_stable_while_sessions_come_go_and_change() {
    let template = Template::new("many")
        .hook("submit", "echo \"job-$id\"")
        .hook("terminate", "exit 0")
        .toml("[command]\ndefault = [\"true\"]\n");
    let launcher = Launcher::with(&template);
    let count = if wharf_tests::campaign() { 1000 } else { 120 };
    let all: BTreeSet<String> = (0..count)
        .map(|at| launcher.start_session(&json!({"template": "many", "name": format!("n-{at}")})))
        .collect();
    let steady: BTreeSet<String> = all.iter().skip(count / 4).cloned().collect();
    let doomed: Vec<String> = all.iter().take(count / 4).cloned().collect();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (launcher, steady, over) = (&launcher, &steady, &over);
        scope.spawn(move || {
            for id in &doomed {
                assert_eq!(launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
                launcher.start_session(&json!({"template": "many", "name": "newcomer"}));
            }
            over.store(true, Ordering::SeqCst);
        });
        scope.spawn(move || {
            for id in steady.iter().cycle() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                launcher.http().patch(&format!("/sessions/{id}/params"), &json!({"touched": 1})).expect(200);
            }
        });
        while !over.load(Ordering::SeqCst) {
            let seen = ids(&launcher.pages("limit=17"));
            let once: BTreeSet<String> = seen.iter().cloned().collect();
            assert_eq!(once.len(), seen.len(), "a session was shown twice");
            let missing: Vec<&String> = steady.difference(&once).collect();
            assert!(missing.is_empty(), "never purged, and not shown: {missing:?}");
        }
    });
}

#[test]
fn ended_sessions_are_paged_too() {
    let template = Template::new("brief")
        .hook("submit", "echo 'no' >&2; exit 65")
        .hook("terminate", "exit 0")
        .toml("[command]\ndefault = [\"true\"]\n");
    let launcher = Launcher::with(&template);
    let all: BTreeSet<String> =
        (0..30).map(|_| launcher.start_session(&json!({"template": "brief"}))).collect();
    for id in &all {
        launcher.await_ended(id, std::time::Duration::from_secs(20));
    }
    let seen: BTreeSet<String> = ids(&launcher.pages("state=ended&limit=7")).into_iter().collect();
    assert_eq!(seen, all);
    assert!(launcher.listed().is_empty());
}

#[test]
fn every_collection_has_pages() {
    let launcher = Launcher::start();
    let id = launcher.run_session("shell", &["sleep", "1000"]);
    for user in ["bob", "carol", "dave"] {
        launcher.token("guest", Some(user));
        let grant = json!({"grantee": format!("user:{user}"), "role": "view"});
        launcher.http().post(&format!("/sessions/{id}/shares"), &grant).expect(201);
    }
    let history = format!("/sessions/{id}/history");
    for path in ["/templates", "/tokens", "/backends", &history, &format!("/sessions/{id}/shares")] {
        let whole = launcher.http().get(path).expect(200);
        let whole = whole["items"].as_array().expect("items").clone();
        assert!(whole.len() > 1, "{path}: {whole:?}");
        let (mut paged, mut query) = (Vec::new(), "?limit=1".to_owned());
        loop {
            let page = launcher.http().get(&format!("{path}{query}")).expect(200);
            let items = page["items"].as_array().expect("items");
            assert_eq!(items.len(), 1, "{path}: {page}");
            paged.extend(items.iter().cloned());
            let Some(next) = page["next_cursor"].as_str() else { break };
            query = format!("?limit=1&cursor={next}");
        }
        let names = |items: &[Value]| -> Vec<Value> {
            let named = |item: &Value| {
                [&item["id"], &item["name"], &item["event"]].into_iter().find(|name| !name.is_null()).cloned()
            };
            items.iter().filter_map(named).collect()
        };
        assert_eq!(names(&paged), names(&whole), "{path}");
        launcher.http().get(&format!("{path}?limit=0")).problem(422, "invalid");
        launcher.http().get(&format!("{path}?limit=501")).problem(422, "invalid");
        launcher.http().get(&format!("{path}?cursor=nonsense")).problem(400, "bad_cursor");
        launcher.http().get(&format!("{path}?color=red")).problem(422, "invalid");
    }
}
