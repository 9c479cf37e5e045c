//! What editors want to know of hooks in Lua, and the reference page: written out of the table of the host API.
//!
//! Generated, never edited: a test holds the files in `docs/` against it.

use std::fmt::Write as _;

use super::api::{API, ApiItem};

/// Settings of the Lua language server for a template's directory.
pub const LUARC: &str = r#"{
  "$schema": "https://raw.githubusercontent.com/LuaLS/vscode-lua/master/setting/schema.json",
  "runtime.version": "Lua 5.1",
  "runtime.builtin": {
    "basic": "enable", "string": "enable", "table": "enable", "math": "enable", "utf8": "enable",
    "bit": "disable", "bit32": "enable", "coroutine": "disable", "debug": "disable", "ffi": "disable",
    "io": "disable", "jit": "disable", "os": "disable", "package": "disable"
  },
  "workspace.library": ["types"],
  "diagnostics.globals": ["base"]
}
"#;

/// Shapes that only the host API has.
const SHAPES: &str = r#"---@class wharf.Secret opaque: usable as env or stdin of a command, never as text
---@class wharf.Null
---@class wharf.Captures { [integer|string]: string }

---@alias wharf.ErrorKind "invalid"|"denied"|"not_found"|"unsupported"|"unavailable"|"rate_limited"|"misconfigured"|"timeout"|"memory"|"command_failed"|"internal"

---@class wharf.ExecOptions
---@field argv string[] a command of [hooks] commands and its arguments
---@field stdin? string|wharf.Secret
---@field timeout? number|string seconds, or a duration such as "5s"
---@field env? table<string, string|number|wharf.Secret>
---@field effect? "read"|"write" "write" when absent
---@field check? boolean raise command_failed unless the status is 0

---@class wharf.ExecResult
---@field status? integer nil when a signal ended it
---@field signal? integer
---@field stdout string
---@field stderr string
---@field truncated boolean

---@class wharf.FailOptions
---@field hint? string what to do next
---@field field? string the member at fault
---@field retry_after? number|string
---@field detail? string

"#;

/// The types of everything that hooks in Lua see, for the Lua language server.
pub fn lua_types() -> String {
    let mut text = String::from(
        "---@meta wharf\n-- What hooks see, for editors. Written by Wharf (`wharf template types`); nothing here runs.\n\n",
    );
    text.push_str(SHAPES);
    text.push_str(&super::shapes::lua_classes());
    let mut tables: Vec<&str> = Vec::new();
    for item in API {
        if !item.table.is_empty() && !tables.contains(&item.table) {
            tables.push(item.table);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "---@class wharf.api.{0}\n{0} = {{}}\n", item.table);
        }
        text.push_str(&lua_function(item));
    }
    text
}

fn qualified(item: &ApiItem) -> String {
    if item.table.is_empty() { item.name.to_owned() } else { format!("{}.{}", item.table, item.name) }
}

fn is_value(item: &ApiItem) -> bool {
    item.table == "json" && item.name == "null"
}

fn lua_function(item: &ApiItem) -> String {
    let mut text = format!("---{}\n", item.doc);
    if is_value(item) {
        let _ = writeln!(text, "---@type {}\n{} = nil\n", item.returns, qualified(item));
        return text;
    }
    let mut names = Vec::new();
    for (name, kind) in item.params {
        let _ = writeln!(text, "---@param {name} {kind}");
        names.push(name.trim_end_matches('?'));
    }
    if !item.returns.is_empty() {
        let _ = writeln!(text, "---@return {}", item.returns);
    }
    if item.name == "fail" {
        text.push_str("---@return never\n");
    }
    let _ = writeln!(text, "function {}({}) end\n", qualified(item), names.join(", "));
    text
}

/// The reference page of the host API, in Markdown.
pub fn reference() -> String {
    let mut text = String::from(
        "# What hooks are asked, answer and may call\n\n\
         Generated: `WHARF_UPDATE=1 cargo test -p wharf-hooks --test generated` writes it again. How to use it is in\n\
         [Writing a template](writing-a-template.md). `wharf template types` prints the same for editors, and\n\
         `wharf template types --schema NAME` as JSON Schema.\n\n## The host API of Lua\n",
    );
    let mut table = "?";
    for item in API {
        if item.table != table {
            table = item.table;
            let title = if table.is_empty() { "Globals".to_owned() } else { format!("`{table}`") };
            let _ = writeln!(text, "\n### {title}\n\n| function | does |\n|---|---|");
        }
        let names: Vec<&str> = item.params.iter().map(|(name, _)| *name).collect();
        let call = if is_value(item) { String::new() } else { format!("({})", names.join(", ")) };
        let returns = if item.returns.is_empty() {
            String::new()
        } else {
            format!(" → `{}`", item.returns.replace('|', "\\|"))
        };
        let _ = writeln!(text, "| `{}{call}`{returns} | {} |", qualified(item), item.doc.replace('|', "\\|"));
    }
    text.push_str(&super::shapes::reference());
    text
}
