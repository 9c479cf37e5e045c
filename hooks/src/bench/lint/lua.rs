//! Lua: names that are nowhere, functions that there are not, commands that are not listed, and text that a shell reads.

use std::collections::BTreeSet;

use wharf_core::hook::Hook;
use wharf_protocol::template::{Finding, Severity};

use super::super::{api, shapes};
use super::tokens::{self, Kind, Token};
use super::{Module, SHELLS, finding};
use crate::load::files::Files;
use crate::load::{Version, closest};

const KEYWORDS: [&str; 23] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while", "self",
];

/// Words that are keywords in one place and names in another.
const SOFT: [&str; 10] =
    ["continue", "type", "export", "any", "number", "boolean", "never", "unknown", "thread", "buffer"];

pub(super) fn look(
    file: &str,
    text: &str,
    files: &Files,
    (version, module): (Option<&Version>, Option<&Module>),
    out: &mut Vec<Finding>,
) {
    let tokens = tokens::read(text);
    let known = declared(&tokens);
    names(file, &tokens, &known, version, out);
    members(file, &tokens, &known, (version, module), out);
    requires(file, &tokens, files, out);
    commands(file, &tokens, listed(files, version).as_ref(), out);
    requests(file, &tokens, out);
}

/// Where a member of the returned table is first written.
pub(super) fn line_of(text: &str, member: &str) -> Option<u32> {
    let tokens = tokens::read(text);
    let found = tokens.iter().enumerate().find(|(here, token)| {
        let before = here.checked_sub(1).and_then(|before| tokens.get(before));
        token.is(member) && (before.is_some_and(|before| before.is(".")) || at(&tokens, here + 1, "="))
    });
    found.map(|(_, token)| token.line)
}

fn at(tokens: &[Token], at: usize, word: &str) -> bool {
    tokens.get(at).is_some_and(|token| token.is(word))
}

/// Members of requests: `req.X` and `req.session.X` in `function hooks.NAME(req)`.
fn requests(file: &str, tokens: &[Token], out: &mut Vec<Finding>) {
    // Where each hook begins, which it is, and what its request is called.
    let heads: Vec<(usize, Hook, &str)> = (0..tokens.len())
        .filter(|here| {
            at(tokens, *here, "function") && at(tokens, here + 2, ".") && at(tokens, here + 4, "(")
        })
        .filter_map(|here| {
            let hook = crate::load::hook_of(tokens.get(here + 3)?.name()?)?;
            Some((here + 5, hook, tokens.get(here + 5)?.name()?))
        })
        .collect();
    for (index, (from, hook, request)) in heads.iter().enumerate() {
        let to = heads.get(index + 1).map_or(tokens.len(), |(next, ..)| *next);
        // Another function that calls something of its own by that name ends the look.
        let to = (*from + 1..to).find(|here| binds(tokens, *here, request)).unwrap_or(to);
        let known = shapes::members_of(*hook);
        for here in *from + 1..to {
            let whole = at(tokens, here, request) && at(tokens, here + 1, ".");
            if !whole || at(tokens, here - 1, ".") || at(tokens, here - 1, ":") {
                continue;
            }
            let path = format!("the request of `{}`", hook.as_str());
            out.extend(tokens.get(here + 2).and_then(|member| unknown_member(file, &path, member, &known)));
            if at(tokens, here + 2, "session") && at(tokens, here + 3, ".") {
                let session = shapes::members_of_session();
                out.extend(
                    tokens
                        .get(here + 4)
                        .and_then(|member| unknown_member(file, "a session", member, &session)),
                );
            }
        }
    }
}

/// Whether a function begins there that has a parameter of that name.
fn binds(tokens: &[Token], here: usize, name: &str) -> bool {
    at(tokens, here, "function")
        && tokens[here..]
            .iter()
            .skip_while(|token| !token.is("("))
            .take_while(|token| !token.is(")"))
            .any(|token| token.is(name))
}

fn unknown_member(file: &str, whose: &str, member: &Token, known: &[String]) -> Option<Finding> {
    let name = member.name()?;
    if known.iter().any(|known| known == name) {
        return None;
    }
    let hint = match closest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are: {}", known.join(", ")),
    };
    let message = format!("{whose} has no `{name}`; {hint}");
    Some(finding(file, member.line, Severity::Error, "unknown_member", message))
}

/// Every name that is declared anywhere in the file: locals, functions, what loops and parameters bind.
fn declared(tokens: &[Token]) -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    let list = |from: usize, known: &mut BTreeSet<String>| {
        let mut here = from;
        while let Some(name) = tokens.get(here).and_then(Token::name) {
            known.insert(name.to_owned());
            here += 1;
            // A type, as Luau has them.
            if at(tokens, here, ":") {
                while tokens.get(here).is_some_and(|token| {
                    !token.is(",") && !token.is("=") && !token.is(")") && !token.is("in")
                }) {
                    here += 1;
                }
            }
            if !at(tokens, here, ",") {
                break;
            }
            here += 1;
        }
    };
    for (here, token) in tokens.iter().enumerate() {
        if token.is("local") {
            let from = if at(tokens, here + 1, "function") { here + 2 } else { here + 1 };
            list(from, &mut known);
        } else if token.is("for") || token.is("type") && at(tokens, here + 2, "=") {
            list(here + 1, &mut known);
        } else if token.is("function") {
            // To its parameters, past its name.
            let open = (here..tokens.len().min(here + 12)).find(|here| at(tokens, *here, "("));
            if let Some(open) = open {
                list(open + 1, &mut known);
            }
        }
    }
    known
}

fn names(
    file: &str,
    tokens: &[Token],
    known: &BTreeSet<String>,
    version: Option<&Version>,
    out: &mut Vec<Finding>,
) {
    let globals: Vec<&str> = api::globals(version.map(|version| version.template.backend.as_str()));
    let mut said = BTreeSet::new();
    let mut braces: Vec<&str> = Vec::new();
    for (here, token) in tokens.iter().enumerate() {
        match &token.kind {
            Kind::Mark(mark @ ("{" | "(" | "[")) => braces.push(mark),
            Kind::Mark("}" | ")" | "]") => drop(braces.pop()),
            _ => {}
        }
        let Some(name) = token.name() else { continue };
        let member = here > 0
            && (at(tokens, here - 1, ".") || at(tokens, here - 1, ":") || at(tokens, here - 1, "::"));
        let in_table = braces.last() == Some(&"{");
        let field = in_table
            && (at(tokens, here + 1, "=") || at(tokens, here + 1, ":"))
            && (at(tokens, here.wrapping_sub(1), "{")
                || at(tokens, here.wrapping_sub(1), ",")
                || at(tokens, here.wrapping_sub(1), ";"));
        if member
            || field
            || KEYWORDS.contains(&name)
            || SOFT.contains(&name)
            || known.contains(name)
            || globals.contains(&name)
        {
            continue;
        }
        if !said.insert((name.to_owned(), token.line)) {
            continue;
        }
        let assigned = at(tokens, here + 1, "=") && braces.is_empty();
        let all = known.iter().map(String::as_str).chain(globals.iter().copied());
        let hint = match closest(name, all) {
            Some(near) => format!("; did you mean `{near}`?"),
            None if assigned => format!("; write `local {name} = …`"),
            None => String::new(),
        };
        let what = if assigned { "is assigned, but globals cannot be" } else { "is nowhere defined" };
        out.push(finding(
            file,
            token.line,
            Severity::Error,
            "undefined_global",
            format!("`{name}` {what}{hint}"),
        ));
    }
}

/// `host.x`, `shell.x` and their like.
fn members(
    file: &str,
    tokens: &[Token],
    known: &BTreeSet<String>,
    (version, module): (Option<&Version>, Option<&Module>),
    out: &mut Vec<Finding>,
) {
    for (here, token) in tokens.iter().enumerate() {
        let Some(table) = token.name() else { continue };
        let own = here > 0 && (at(tokens, here - 1, ".") || at(tokens, here - 1, ":"));
        if own || known.contains(table) || !at(tokens, here + 1, ".") {
            continue;
        }
        let Some(member) = tokens.get(here + 2).and_then(Token::name) else { continue };
        let backend = version.map(|version| version.template.backend.as_str());
        let Some(functions) = api::members(table, backend, module) else { continue };
        if functions.contains(&member) {
            continue;
        }
        let hint = match closest(member, functions.iter().copied()) {
            Some(near) => format!("did you mean `{table}.{near}`?"),
            None => format!("there are: {}", functions.join(", ")),
        };
        let message = format!("`{table}.{member}` is no function of the host; {hint}");
        out.push(finding(file, token.line, Severity::Error, "unknown_function", message));
    }
}

fn requires(file: &str, tokens: &[Token], files: &Files, out: &mut Vec<Finding>) {
    for (here, token) in tokens.iter().enumerate() {
        let open = usize::from(at(tokens, here + 1, "("));
        let Some(Kind::Text(name, _)) = tokens.get(here + 1 + open).map(|token| &token.kind) else {
            continue;
        };
        let missing = |path: &str, code: &str, what: String, out: &mut Vec<Finding>| {
            if !files.files.contains_key(path) {
                let near = closest(path, files.files.keys().map(String::as_str));
                let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
                out.push(finding(
                    file,
                    token.line,
                    Severity::Error,
                    code,
                    format!("{what}: the template has no {path}{hint}"),
                ));
            }
        };
        if token.is("require") && name.starts_with("lib.") {
            missing(
                &format!("{}.lua", name.replace('.', "/")),
                "require",
                format!("require \"{name}\""),
                out,
            );
        } else if token.is("render") && here > 0 && at(tokens, here - 1, ".") {
            let path = if name.starts_with("files/") { name.clone() } else { format!("files/{name}") };
            missing(&path, "document", "host.render".to_owned(), out);
        }
    }
}

/// What `[hooks] commands` names, also while something else in the manifest is wrong; `None` when nobody can tell.
fn listed(files: &Files, version: Option<&Version>) -> Option<BTreeSet<String>> {
    if let Some(version) = version {
        return Some(version.run.commands.keys().cloned().collect());
    }
    let text = std::str::from_utf8(&files.files.get("template.toml")?.bytes).ok()?;
    let manifest: toml::Table = text.parse().ok()?;
    // The commands of the one below count as well, and it is not looked at here.
    if manifest.contains_key("extends") {
        return None;
    }
    match manifest.get("hooks").and_then(|hooks| hooks.get("commands")) {
        Some(toml::Value::Array(names)) => {
            Some(names.iter().filter_map(toml::Value::as_str).map(str::to_owned).collect())
        }
        Some(toml::Value::Table(names)) => Some(names.keys().cloned().collect()),
        // Perhaps written otherwise, which is a finding of its own.
        _ => None,
    }
}

/// Literal commands of `host.exec`: listed ones, and what a shell is given.
fn commands(file: &str, tokens: &[Token], listed: Option<&BTreeSet<String>>, out: &mut Vec<Finding>) {
    for (here, token) in tokens.iter().enumerate() {
        // `argv = {` or `argv = x` or a local of that name.
        if !token.is("argv") || !at(tokens, here + 1, "=") || !at(tokens, here + 2, "{") {
            continue;
        }
        let Some(Kind::Text(program, _)) = tokens.get(here + 3).map(|token| &token.kind) else { continue };
        if let Some(listed) = listed
            && !listed.contains(program)
        {
            let hint = match closest(program, listed.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "add it".to_owned(),
            };
            out.push(finding(
                file,
                token.line,
                Severity::Error,
                "unlisted_command",
                format!("`{program}` is not in [hooks] commands: {hint}"),
            ));
        }
        let base = program.rsplit('/').next().unwrap_or(program);
        if SHELLS.contains(&base) {
            shell(file, &tokens[here + 4..], base, out);
        } else if let Some(option) = tokens[here + 4..]
            .iter()
            .take_while(|token| !token.is("}"))
            .find(|token| matches!(&token.kind, Kind::Text(text, _) if text.starts_with("--wrap")))
        {
            let message = format!(
                "`{base} --wrap` takes shell text: write a script with host.render and `| shq` instead"
            );
            out.push(finding(file, option.line, Severity::Warning, "shell_text", message));
        }
    }
}

/// The text after `-c` has to be one literal.
fn shell(file: &str, rest: &[Token], program: &str, out: &mut Vec<Finding>) {
    let dash = rest.iter().take_while(|token| !token.is("}")).position(
        |token| matches!(&token.kind, Kind::Text(text, _) if text.starts_with('-') && text.ends_with('c')),
    );
    let Some(dash) = dash else { return };
    let (text, after) = (rest.get(dash + 2), rest.get(dash + 3));
    let literal = matches!(text.map(|text| &text.kind), Some(Kind::Text(_, false)))
        && after.is_some_and(|after| after.is(",") || after.is("}") || after.is(";"));
    if !literal {
        let line = rest.get(dash).map_or(0, |token| token.line);
        out.push(finding(
            file,
            line,
            Severity::Warning,
            "shell_text",
            format!("the text of `{program} -c` is put together from values, which the shell reads as code: keep the text fixed and give values as further words, {{ \"{program}\", \"-c\", 'echo \"$1\"', \"name\", value }}"),
        ));
    }
}
