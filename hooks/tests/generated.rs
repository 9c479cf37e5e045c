//! Files that are written out of the types: stale ones fail. `WHARF_UPDATE=1 cargo test -p wharf-hooks --test generated`
//! writes them again.

use std::path::Path;

use serde_json::{Map, Value};
use wharf_hooks::bench;

#[track_caller]
fn kept(file: &str, now: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(file);
    if std::env::var_os("WHARF_UPDATE").is_some() {
        std::fs::write(&path, now).expect("docs/ is writable");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(kept == now, "docs/{file} is old: run this test once with WHARF_UPDATE=1");
}

#[test]
fn the_reference_page_is_as_the_types_are() {
    kept("hooks-reference.md", &bench::reference());
}

#[test]
fn the_editors_types_are_as_the_types_are() {
    kept("wharf.lua", &bench::lua_types());
}

#[test]
fn the_schemas_are_as_the_types_are() {
    let all: Map<String, Value> = bench::schema_names()
        .into_iter()
        .map(|name| {
            let schema = bench::schema(&name).expect("it is in the list");
            (name, schema)
        })
        .collect();
    let text = serde_json::to_string_pretty(&all).expect("it is JSON") + "\n";
    assert!(!text.contains("components/schemas"), "a reference leads nowhere");
    kept("hooks.schema.json", &text);
}

#[test]
fn the_types_are_lua() {
    let text = bench::lua_types();
    for wanted in [
        "---@class wharf.SubmitRequest",
        "---@field monitor wharf.MonitorInRequest",
        "function host.exec(options) end",
        "---@class wharf.JobReport",
    ] {
        assert!(text.contains(wanted), "{wanted}\n{text}");
    }
}
