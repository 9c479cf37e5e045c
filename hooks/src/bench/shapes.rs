//! The shapes of requests and results, as JSON Schema, Lua classes and tables: written out of the Rust types.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};
use wharf_core::hook::{Hook, JobReport, MonitorInRequest, SessionInRequest, Submitted, User, Validated};

/// Schemas by name, with all that they refer to.
fn schemas() -> BTreeMap<String, Value> {
    fn add<T: ToSchema>(all: &mut Vec<(String, RefOr<Schema>)>) {
        all.push((T::name().into_owned(), T::schema()));
        T::schemas(all);
    }
    let mut all = Vec::new();
    add::<SessionInRequest>(&mut all);
    add::<User>(&mut all);
    add::<MonitorInRequest>(&mut all);
    add::<Validated>(&mut all);
    add::<Submitted>(&mut all);
    add::<JobReport>(&mut all);
    all.into_iter().map(|(name, schema)| (name, serde_json::to_value(schema).unwrap_or_default())).collect()
}

fn reference_to(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn text(doc: &str) -> Value {
    json!({ "type": "string", "description": doc })
}

/// What every request has.
fn usual(members: &[(&str, Value, bool)]) -> Value {
    let mut properties = Map::new();
    let mut required = vec!["user", "config", "trace_id", "deadline_ms", "dry_run"];
    for (name, schema, needed) in members {
        properties.insert((*name).to_owned(), schema.clone());
        if *needed {
            required.push(name);
        }
    }
    let mut add = |name: &str, schema: Value| drop(properties.insert(name.to_owned(), schema));
    add("user", reference_to("User"));
    add("node", text("The instance or node that was chosen for the session."));
    add("config", json!({ "type": "object", "description": "[config] of the template." }));
    add("trace_id", text("Names this call."));
    add("deadline_ms", json!({ "type": "integer", "description": "What is left of its time." }));
    add("dry_run", json!({ "type": "boolean", "description": "Nothing may be changed." }));
    json!({ "type": "object", "required": required, "properties": properties })
}

fn map_of(schema: Value, doc: &str) -> Value {
    json!({ "type": "object", "additionalProperties": schema, "description": doc })
}

fn list_of(schema: Value) -> Value {
    json!({ "type": "array", "items": schema })
}

fn object(members: &[(&str, Value, bool)]) -> Value {
    let properties: Map<String, Value> =
        members.iter().map(|(name, schema, _)| ((*name).to_owned(), schema.clone())).collect();
    let required: Vec<&str> =
        members.iter().filter(|(_, _, needed)| *needed).map(|(name, ..)| *name).collect();
    json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false })
}

/// The request of a hook.
fn request(hook: Hook) -> Value {
    let session = || ("session", reference_to("SessionInRequest"), true);
    let job_id = |needed| ("job_id", text("The job; absent when the submit's answer was lost."), needed);
    let handle = || ("handle", json!({ "description": "What submit gave as handle." }), false);
    match hook {
        Hook::Options => usual(&[("params", map_of(json!({}), "Parameters so far."), true)]),
        Hook::Validate => usual(&[
            session(),
            ("params", map_of(json!({}), "Parameters."), true),
            ("command", list_of(json!({ "type": "string" })), true),
        ]),
        Hook::Select => {
            usual(&[session(), ("nodes", list_of(object(&[("name", text("Its name."), true)])), true)])
        }
        Hook::Prepare | Hook::Submit => usual(&[
            session(),
            ("monitor", reference_to("MonitorInRequest"), true),
            (
                "job",
                object(&[
                    ("before", list_of(text("Lines for the job script.")), true),
                    ("cwd", text("The command's working directory."), false),
                    ("env", map_of(text("Its variables."), ""), true),
                ]),
                false,
            ),
        ]),
        Hook::Find => usual(&[("sessions", list_of(reference_to("SessionInRequest")), true)]),
        Hook::Status => usual(&[(
            "jobs",
            list_of(object(&[("session_id", text("Its session."), true), job_id(true), handle()])),
            true,
        )]),
        Hook::Logs => usual(&[
            session(),
            job_id(false),
            handle(),
            ("tail", json!({ "type": "integer", "description": "So many lines." }), false),
            ("after", text("`next` of an earlier answer; absent for the end of it all."), false),
            ("dir", text("The session directory, where a job's own output may lie."), true),
        ]),
        Hook::Terminate => usual(&[
            session(),
            job_id(false),
            handle(),
            ("mode", json!({ "type": "string", "enum": ["stop", "kill"] }), true),
        ]),
        Hook::TerminateMany => usual(&[(
            "jobs",
            list_of(object(&[
                ("session_id", text("Its session."), true),
                job_id(false),
                handle(),
                ("mode", json!({ "type": "string", "enum": ["stop", "kill"] }), true),
            ])),
            true,
        )]),
        Hook::Extend => {
            usual(&[session(), job_id(false), handle(), ("by_seconds", json!({ "type": "integer" }), true)])
        }
        Hook::OnRunning | Hook::OnConnect | Hook::OnDisconnect | Hook::OnParams | Hook::OnEnded => {
            usual(&[session(), job_id(false), handle(), ("event", json!({ "type": "object" }), false)])
        }
    }
}

fn names(schema: &Value) -> Vec<String> {
    schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

/// Members of a hook's request.
pub(super) fn members_of(hook: Hook) -> Vec<String> {
    names(&request(hook))
}

/// Members of `session` in a request.
pub(super) fn members_of_session() -> Vec<String> {
    schemas().get("SessionInRequest").map(names).unwrap_or_default()
}

/// The result of a hook.
fn result(hook: Hook) -> Value {
    let nothing = || json!({ "type": "object", "additionalProperties": false, "maxProperties": 0 });
    match hook {
        Hook::Options => map_of(list_of(json!({})), "Choices by parameter."),
        Hook::Validate => reference_to("Validated"),
        Hook::Select => list_of(text("A node's name, best first.")),
        Hook::Submit => reference_to("Submitted"),
        Hook::Find => map_of(
            json!({ "oneOf": [
                { "type": "string" },
                { "type": "array", "items": { "type": "string" }, "minItems": 1 },
                { "const": false },
            ] }),
            "By session id: a job id, several, or false: surely none.",
        ),
        Hook::Status => map_of(reference_to("JobReport"), "By job id; what is left out nobody can tell."),
        Hook::Logs => json!({ "oneOf": [
            object(&[
                ("text", text("The log itself; with `after` only what came since."), true),
                ("next", text("Where it ends, in words of the hook's own: the next `after`."), false),
            ]),
            object(&[("path", text("A regular file below the session directory or logs.roots."), true)]),
        ] }),
        Hook::TerminateMany => map_of(
            json!({ "oneOf": [nothing(), object(&[("error", json!({ "type": "object" }), true)])] }),
            "By session id.",
        ),
        Hook::Extend => object(&[("ends_at", json!({ "type": "string", "format": "date-time" }), true)]),
        Hook::Prepare
        | Hook::Terminate
        | Hook::OnRunning
        | Hook::OnConnect
        | Hook::OnDisconnect
        | Hook::OnParams
        | Hook::OnEnded => nothing(),
    }
}

/// A JSON Schema by name: `template`, `HOOK.request` or `HOOK.result`.
pub fn schema(name: &str) -> Option<Value> {
    if name == "template" {
        return Some(super::manifest_schema::schema());
    }
    let (word, which) = name.split_once('.')?;
    let hook = crate::load::hook_of(word)?;
    let mut schema = match which {
        "request" => request(hook),
        "result" => result(hook),
        _ => return None,
    };
    let text = schema.to_string();
    let mut used = BTreeMap::new();
    let mut wait: Vec<String> = vec![text];
    let all = schemas();
    while let Some(text) = wait.pop() {
        for (name, schema) in &all {
            if text.contains(&format!("schemas/{name}\"")) && !used.contains_key(name) {
                used.insert(name.clone(), schema.clone());
                wait.push(schema.to_string());
            }
        }
    }
    if !used.is_empty() {
        schema["$defs"] = json!(used);
    }
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(name);
    let text = schema.to_string().replace("#/components/schemas/", "#/$defs/");
    serde_json::from_str(&text).ok()
}

/// Names that [`schema`] knows.
pub fn schema_names() -> Vec<String> {
    let both = |hook: Hook| ["request", "result"].map(|which| format!("{}.{which}", hook.as_str()));
    std::iter::once("template".to_owned()).chain(Hook::ALL.into_iter().flat_map(both)).collect()
}

/// A hook's name as a type's.
fn camel(hook: Hook) -> String {
    hook.as_str().split('_').fold(String::new(), |mut out, word| {
        let mut letters = word.chars();
        out.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        out.push_str(letters.as_str());
        out
    })
}

/// A schema as a Lua type.
fn lua_type(schema: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        return format!("wharf.{}", name.rsplit('/').next().unwrap_or_default());
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return words.iter().map(Value::to_string).collect::<Vec<_>>().join("|");
    }
    if schema.get("const") == Some(&Value::Bool(false)) {
        return "false".to_owned();
    }
    for several in ["oneOf", "anyOf", "allOf"] {
        if let Some(all) = schema.get(several).and_then(Value::as_array) {
            let kinds: Vec<String> = all.iter().map(lua_type).filter(|kind| kind != "nil").collect();
            return kinds.join("|");
        }
    }
    let one = |kind: &str| match kind {
        "string" => "string".to_owned(),
        "integer" => "integer".to_owned(),
        "number" => "number".to_owned(),
        "boolean" => "boolean".to_owned(),
        "array" => format!("({})[]", schema.get("items").map_or("any".to_owned(), lua_type)),
        "object" => {
            match (schema.get("additionalProperties"), schema.get("properties").and_then(Value::as_object)) {
                (_, Some(members)) => {
                    let required: Vec<&str> = schema["required"]
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                        .collect();
                    let members = members.iter().map(|(name, schema)| {
                        let optional = if required.contains(&name.as_str()) { "" } else { "?" };
                        format!("{name}{optional}: {}", lua_type(schema))
                    });
                    format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
                }
                (Some(Value::Object(value)), None) => {
                    format!("table<string, {}>", lua_type(&Value::Object(value.clone())))
                }
                (_, None) => "table".to_owned(),
            }
        }
        _ => "nil".to_owned(),
    };
    match schema.get("type") {
        Some(Value::String(kind)) => one(kind),
        Some(Value::Array(kinds)) => {
            let kinds = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null");
            kinds.map(one).collect::<Vec<_>>().join("|")
        }
        _ => "any".to_owned(),
    }
}

fn class(name: &str, schema: &Value) -> String {
    let doc = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    let doc = doc.lines().next().unwrap_or_default();
    let Some(members) = schema.get("properties").and_then(Value::as_object) else {
        return format!("---@alias wharf.{name} {} {doc}", lua_type(schema)).trim_end().to_owned() + "\n\n";
    };
    let mut text = format!("---@class wharf.{name} {doc}").trim_end().to_owned() + "\n";
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (member, schema) in members {
        let optional = if required.contains(&member.as_str()) { "" } else { "?" };
        let doc = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        let doc = doc.lines().next().unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{}",
            format!("---@field {member}{optional} {} {doc}", lua_type(schema)).trim_end()
        );
    }
    text + "\n"
}

/// Lua classes of everything that hooks are asked and may answer.
pub(super) fn lua_classes() -> String {
    let mut text = String::new();
    for (name, schema) in schemas() {
        text.push_str(&class(&name, &schema));
    }
    for hook in Hook::ALL {
        text.push_str(&class(&format!("{}Request", camel(hook)), &request(hook)));
        text.push_str(&class(&format!("{}Result", camel(hook)), &result(hook)));
    }
    text
}

/// Tables of all of it, in Markdown.
pub(super) fn reference() -> String {
    let mut text = String::from("\n## Requests and results\n");
    for hook in Hook::ALL {
        let _ = writeln!(text, "\n### {}\n\n| member | type | |\n|---|---|---|", hook.as_str());
        rows(&mut text, &request(hook));
        let _ = writeln!(text, "\nResult: `{}`", lua_type(&result(hook)));
    }
    text.push_str("\n## Shapes\n");
    for (name, schema) in schemas() {
        let doc = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        let _ = writeln!(text, "\n### wharf.{name}\n\n{}\n", doc.lines().next().unwrap_or_default());
        if schema.get("properties").is_some() {
            text.push_str("| member | type | |\n|---|---|---|\n");
            rows(&mut text, &schema);
        } else {
            let _ = writeln!(text, "`{}`", lua_type(&schema));
        }
    }
    text
}

fn rows(text: &mut String, schema: &Value) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (member, schema) in schema["properties"].as_object().into_iter().flatten() {
        let optional = if required.contains(&member.as_str()) { "" } else { "?" };
        let doc = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        let doc = doc.lines().next().unwrap_or_default().replace('|', "\\|");
        let _ =
            writeln!(text, "| `{member}{optional}` | `{}` | {doc} |", lua_type(schema).replace('|', "\\|"));
    }
}
