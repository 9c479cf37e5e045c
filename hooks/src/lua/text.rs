//! What scripts read texts with: `json`, `toml`, `re`, `lines`, `columns`. No effects.

use mlua::{Lua, LuaSerdeExt as _, LuaString, Table, Value as Lv};
use regex::RegexBuilder;

use super::fault::mistake;
use super::value::{Into, Out, Secrets};
use super::vm::in_time;
use crate::exec::document;

/// Most bytes of a text that a script encodes.
const TEXT_MAX: usize = 16 << 20;
/// Most memory of what a text is decoded to, outside the VM.
const VALUES_MAX: usize = 32 << 20;
/// Most bytes of a TOML text: its reader keeps much more than that in memory.
const TOML_MAX: usize = 512 << 10;
/// Most bytes of a text that an expression reads: nothing can interrupt it.
const SEARCHED_MAX: usize = 4 << 20;
/// Everything as data, secrets refused.
const DATA: Out = Out { secrets: Secrets::Never, max: TEXT_MAX };

/// Adds the tables and functions.
pub(crate) fn add(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let json = lua.create_table()?;
    json.set("null", lua.null())?;
    json.set("encode", lua.create_function(|_, value: Lv| Ok(DATA.json(&value)?.to_string()))?)?;
    json.set(
        "decode",
        lua.create_function(|lua, text: LuaString| {
            let value = document::parse_within(&text.as_bytes(), VALUES_MAX)
                .map_err(|reason| mistake(format!("json.decode: {reason}")))?;
            Into::PLAIN.lua(lua, &value)
        })?,
    )?;
    json.set(
        "array",
        lua.create_function(|lua, table: Option<Table>| {
            let table = table.map_or_else(|| lua.create_table(), Ok)?;
            table.set_metatable(Some(lua.array_metatable()))?;
            Ok(table)
        })?,
    )?;
    globals.set("json", json)?;
    let toml = lua.create_table()?;
    toml.set(
        "decode",
        lua.create_function(|lua, text: LuaString| {
            if text.as_bytes().len() > TOML_MAX {
                return Err(mistake(format!("toml.decode: larger than {TOML_MAX} bytes")));
            }
            let text = text.to_string_lossy();
            let value: serde_json::Value = toml::from_str(&text)
                .map_err(|error| mistake(format!("toml.decode: {}", error.message())))?;
            Into::PLAIN.lua(lua, &value)
        })?,
    )?;
    globals.set("toml", toml)?;
    globals.set("re", expressions(lua)?)?;
    globals.set(
        "lines",
        lua.create_function(|lua, text: LuaString| {
            let text = text.to_string_lossy();
            let table = lua.create_table()?;
            for line in text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()) {
                in_time(lua)?;
                table.raw_push(line)?;
            }
            Ok(table)
        })?,
    )?;
    globals.set("columns", lua.create_function(columns)?)
}

fn compile(pattern: &str) -> mlua::Result<regex::Regex> {
    let compiled = RegexBuilder::new(pattern).size_limit(1 << 20).dfa_size_limit(1 << 20).build();
    compiled.map_err(|error| mistake(format!("re: {error}")))
}

fn searched(text: &LuaString) -> mlua::Result<String> {
    if text.as_bytes().len() > SEARCHED_MAX {
        return Err(mistake(format!("re: the text is larger than {SEARCHED_MAX} bytes")));
    }
    Ok(text.to_string_lossy())
}

fn captured(lua: &Lua, pattern: &regex::Regex, found: &regex::Captures<'_>) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set(0, found.get(0).map(|whole| whole.as_str()))?;
    for (at, name) in pattern.capture_names().enumerate().skip(1) {
        let part = found.get(at).map(|part| part.as_str());
        table.raw_set(at, part)?;
        if let Some(name) = name {
            table.raw_set(name, part)?;
        }
    }
    Ok(table)
}

/// `re.match(text, pattern)`: captures by number and name, the whole match at 0; `re.all`: all of them; `re.test`.
fn expressions(lua: &Lua) -> mlua::Result<Table> {
    let re = lua.create_table()?;
    re.set(
        "test",
        lua.create_function(|_, (text, pattern): (LuaString, String)| {
            Ok(compile(&pattern)?.is_match(&searched(&text)?))
        })?,
    )?;
    re.set(
        "match",
        lua.create_function(|lua, (text, pattern): (LuaString, String)| {
            let pattern = compile(&pattern)?;
            let text = searched(&text)?;
            pattern.captures(&text).map(|found| captured(lua, &pattern, &found)).transpose()
        })?,
    )?;
    re.set(
        "find",
        lua.create_function(|_, (text, pattern): (LuaString, String)| {
            let text = searched(&text)?;
            Ok(compile(&pattern)?.find(&text).map(|found| found.as_str().to_owned()))
        })?,
    )?;
    re.set(
        "all",
        lua.create_function(|lua, (text, pattern): (LuaString, String)| {
            let pattern = compile(&pattern)?;
            let text = searched(&text)?;
            let all = lua.create_table()?;
            for found in pattern.captures_iter(&text) {
                in_time(lua)?;
                all.raw_push(captured(lua, &pattern, &found)?)?;
            }
            Ok(all)
        })?,
    )?;
    Ok(re)
}

/// `columns(text, names, separator?)`: one table for each line, by name; the last column takes the rest of the line.
fn columns(
    lua: &Lua,
    (text, names, separator): (LuaString, Vec<String>, Option<String>),
) -> mlua::Result<Table> {
    let text = text.to_string_lossy();
    let rows = lua.create_table()?;
    for line in text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()) {
        in_time(lua)?;
        let row = lua.create_table()?;
        let cells: Vec<&str> = match separator.as_deref() {
            Some(separator) if !separator.is_empty() => line.splitn(names.len().max(1), separator).collect(),
            _ => blanks(line, names.len().max(1)),
        };
        for (name, cell) in names.iter().zip(cells) {
            row.raw_set(name.as_str(), cell.trim())?;
        }
        rows.raw_push(row)?;
    }
    Ok(rows)
}

fn blanks(line: &str, most: usize) -> Vec<&str> {
    let mut rest = line.trim();
    let mut cells = Vec::new();
    while !rest.is_empty() {
        let end = if cells.len() + 1 == most { None } else { rest.find(char::is_whitespace) };
        let (cell, after) = rest.split_at(end.unwrap_or(rest.len()));
        cells.push(cell);
        rest = after.trim_start();
    }
    cells
}
