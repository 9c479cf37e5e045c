//! The shape of `template.toml` as JSON Schema, for editors.
//!
//! The reader in `load::manifest` is the authority: a test asks it for every key that it knows, and holds the schema
//! against the answer.

use serde_json::{Map, Value, json};
use wharf_core::template::Timeouts;
use wharf_protocol::Dur;

fn text(doc: &str) -> Value {
    json!({ "type": "string", "description": doc })
}

fn texts(doc: &str) -> Value {
    json!({ "type": "array", "items": { "type": "string" }, "description": doc })
}

fn pairs(doc: &str) -> Value {
    json!({ "type": "object", "additionalProperties": { "type": ["string", "integer"] }, "description": doc })
}

fn flag(doc: &str) -> Value {
    json!({ "type": "boolean", "description": doc })
}

fn number(doc: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": doc })
}

fn duration(doc: &str) -> Value {
    json!({ "type": ["string", "number"], "description": doc, "examples": ["30s", "10m", "7d"] })
}

fn size(doc: &str) -> Value {
    json!({ "type": ["string", "integer"], "description": doc, "examples": ["32MiB", "4GiB"] })
}

fn word(words: &[&str], doc: &str) -> Value {
    json!({ "type": "string", "enum": words, "description": doc })
}

fn anything(doc: &str) -> Value {
    json!({ "description": doc })
}

fn table(members: &[(&str, Value)], required: &[&str], doc: &str) -> Value {
    let properties: Map<String, Value> =
        members.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({
        "type": "object", "description": doc, "properties": properties, "required": required,
        "additionalProperties": false,
    })
}

fn named(members: &[(&str, Value)], required: &[&str], doc: &str) -> Value {
    json!({ "type": "object", "description": doc, "additionalProperties": table(members, required, "") })
}

/// The schema.
pub(super) fn schema() -> Value {
    let kinds = ["string", "int", "float", "bool", "choice", "duration", "size", "path"];
    let usual = Timeouts::default();
    let timeouts = [
        ("prepare", usual.prepare, "Of the prepare hook."),
        ("submit", usual.submit, "Of submit."),
        ("find", usual.find, "Of find."),
        ("status", usual.status, "Of status."),
        ("logs", usual.logs, "Of logs."),
        ("terminate", usual.terminate, "Of terminate, extend and the on_* hooks."),
        ("options", usual.options, "Of options."),
        ("validate", usual.validate, "Of validate."),
        ("settle", usual.settle, "How long after an unknown submit a \"no job\" of find is believed."),
        ("register", usual.register, "From the job's start to its monitor's registration."),
        ("queue", usual.queue, "How long an unsubmitted or unknown session is kept trying."),
        ("poll", usual.poll, "How often status is asked."),
    ]
    .map(|(name, usual, doc)| {
        let mut schema = duration(doc);
        schema["default"] = Value::from(Dur(usual).to_string());
        (name, schema)
    });
    let mut schema = table(
        &[
            ("api", json!({ "const": 1, "description": "The version of these rules." })),
            ("title", text("For people.")),
            ("description", text("A sentence or two.")),
            ("icon", text("A picture.")),
            ("documentation", text("Where to read more.")),
            ("backend", word(&["shell", "docker", "slurm"], "Which functions Lua may call.")),
            ("scheduler", text("The name that people know; the backend's when absent.")),
            (
                "instance",
                json!({ "type": ["string", "array"], "items": { "type": "string" }, "description": "One of the configured backends, or several to choose from." }),
            ),
            ("select", word(&["fewest", "round-robin", "most-memory"], "How one of several is chosen.")),
            ("extends", text("The template that this one is laid over.")),
            (
                "disabled",
                json!({ "type": ["string", "boolean"], "description": "A message: starts are refused with it." }),
            ),
            (
                "access",
                table(
                    &[("users", texts("These users.")), ("groups", texts("Members of these groups."))],
                    &[],
                    "Who may start; everybody when absent.",
                ),
            ),
            (
                "command",
                table(
                    &[
                        ("default", texts("What runs when the user gives none.")),
                        ("override", flag("Whether the user may give one.")),
                        ("tty", flag("A terminal for it.")),
                        ("stop", texts("A clean-stop command, run in the session.")),
                    ],
                    &[],
                    "What runs.",
                ),
            ),
            (
                "params",
                named(
                    &[
                        ("type", word(&kinds, "Its type.")),
                        ("default", anything("When the user gives none.")),
                        ("required", flag("The user has to give one.")),
                        ("min", anything("The smallest value.")),
                        ("max", anything("The largest value.")),
                        ("pattern", text("A regular expression that matches the whole text.")),
                        ("max_length", number("Most characters.")),
                        ("choices", json!({ "type": "array", "description": "The values there are." })),
                        ("title", text("For people.")),
                        ("help", text("A sentence for people.")),
                        ("secret", flag("Never shown, opaque in Lua.")),
                        ("group", text("Parameters that stand together.")),
                    ],
                    &["type"],
                    "Parameters by name.",
                ),
            ),
            (
                "job",
                table(
                    &[
                        ("cwd", text("The command's working directory.")),
                        (
                            "enrol",
                            text(
                                "Where wharf-monitor is on nodes that have no file system in common with the launcher.",
                            ),
                        ),
                        ("env", pairs("Its variables.")),
                        ("before", texts("Lines of the site's own for the job script.")),
                    ],
                    &[],
                    "The job.",
                ),
            ),
            (
                "config",
                json!({ "type": "object", "description": "The site's own values; hooks get them as req.config." }),
            ),
            ("secrets", named(&[("file", text("The file that holds it."))], &["file"], "Secrets by name.")),
            (
                "connect",
                named(
                    &[
                        ("kind", word(&["http", "tcp", "vnc", "tty"], "What it is.")),
                        (
                            "port",
                            json!({ "type": "integer", "minimum": 0, "maximum": 65535, "description": "0: the monitor picks one." }),
                        ),
                        ("socket", text("A socket instead of a port.")),
                        ("prefix", flag("The application's own paths begin with WHARF_PREFIX_NAME.")),
                    ],
                    &["kind"],
                    "Endpoints by name.",
                ),
            ),
            ("timeouts", table(&timeouts, &[], "Deadlines and waits.")),
            (
                "session",
                table(
                    &[
                        ("terminate_grace", duration("From the clean attempts to the kill.")),
                        ("idle_timeout", duration("Ends an unused session.")),
                        ("max_lifetime", duration("Ends a session.")),
                        ("on_orphan", text("\"run\", or \"end:1h\": without a launcher for so long.")),
                    ],
                    &[],
                    "How sessions end.",
                ),
            ),
            (
                "limits",
                table(
                    &[
                        ("per_user", number("Live sessions of one user.")),
                        ("total", number("Live sessions.")),
                        ("starts_per_minute", number("Starts.")),
                        ("hook_memory", size("Of a Lua hook.")),
                        ("hook_output", size("Of an executable.")),
                    ],
                    &[],
                    "Limits.",
                ),
            ),
            (
                "hooks",
                table(
                    &[
                        ("path", texts("Directories before the system's own.")),
                        (
                            "commands",
                            json!({ "type": ["array", "object"], "items": { "type": "string" }, "additionalProperties": { "type": "string" }, "description": "What host.exec may run: names, or names and absolute paths." }),
                        ),
                        ("env", pairs("Variables of every hook and command.")),
                        ("leftovers", word(&["end", "keep"], "Processes that a hook leaves behind.")),
                        ("job_id_pattern", text("A regular expression that every job id matches.")),
                        ("dry_run", flag("A dry run starts executables, with WHARF_DRY_RUN=1.")),
                    ],
                    &[],
                    "How hooks run.",
                ),
            ),
        ],
        &["api"],
        "A template of Wharf.",
    );
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("template.toml");
    schema
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Keys that the reader lists when it meets one that it does not know.
    fn known(table: &str) -> BTreeSet<String> {
        let head = if table.is_empty() { String::new() } else { format!("[{table}]\n") };
        let strange = "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz";
        let text = format!("{head}{strange} = 1\n");
        let (root, findings) = crate::load::node::Node::parse("template.toml", &text);
        assert!(findings.is_empty(), "{findings:?}");
        let mut out = Vec::new();
        let _ = crate::load::manifest::read("t", &root, &mut out);
        let found = out.iter().find(|found| found.code == "unknown_key").unwrap_or_else(|| panic!("{out:?}"));
        let (_, list) =
            found.message.split_once("there are: ").unwrap_or_else(|| panic!("{}", found.message));
        list.split(", ").map(str::to_owned).collect()
    }

    #[test]
    fn the_schema_has_exactly_the_keys_that_the_reader_knows() {
        let schema = schema();
        let keys = |schema: &Value| -> BTreeSet<String> {
            schema["properties"].as_object().expect("it is a table").keys().cloned().collect()
        };
        assert_eq!(keys(&schema), known(""));
        for table in ["access", "command", "job", "timeouts", "session", "limits", "hooks"] {
            assert_eq!(keys(&schema["properties"][table]), known(table), "[{table}]");
        }
        for (table, name) in [("params", "params.x"), ("secrets", "secrets.x"), ("connect", "connect.x")] {
            assert_eq!(keys(&schema["properties"][table]["additionalProperties"]), known(name), "[{table}]");
        }
    }
}
