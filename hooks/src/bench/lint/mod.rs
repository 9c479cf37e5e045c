//! What a template's files say that will not work, or looks dangerous, found by reading them.
//!
//! Nothing runs here. Errors are what surely fails when it is reached; what only looks wrong is a warning.

mod lua;
mod plain;
mod tokens;

use wharf_protocol::template::{Finding, Severity};

use crate::load::Version;
use crate::load::files::Files;

/// Programs that take text as code, or give more rights.
pub(super) const SHELLS: [&str; 7] = ["sh", "bash", "dash", "zsh", "ksh", "csh", "fish"];
const PRIVILEGED: [&str; 10] =
    ["sudo", "su", "doas", "pkexec", "setpriv", "nsenter", "chroot", "mount", "runuser", "systemd-run"];
const INTERPRETERS: [&str; 8] = ["env", "xargs", "perl", "python", "python3", "awk", "ssh", "eval"];

/// How ssh is called where no value becomes text of the remote shell: the script comes on standard input.
const BY_INPUT: &str = r#""sh", "-s", "--""#;

/// The backend's module: its name, and its functions.
pub(super) type Module = (String, Vec<&'static str>);

/// A finding of a line.
pub(super) fn finding(
    file: &str,
    line: impl Into<Option<u32>>,
    severity: Severity,
    code: &str,
    message: impl Into<String>,
) -> Finding {
    Finding {
        file: file.to_owned(),
        line: line.into(),
        severity,
        code: code.to_owned(),
        message: message.into(),
    }
}

/// Looks at one template's own files; `version` is there when it could be built.
pub(super) fn look(
    files: &Files,
    version: Option<&Version>,
    module: Option<&Module>,
    out: &mut Vec<Finding>,
) {
    for (name, file) in &files.files {
        let Ok(text) = std::str::from_utf8(&file.bytes) else { continue };
        let is_lua = name == "hooks.lua" || (name.starts_with("lib/") && name.ends_with(".lua"));
        if is_lua {
            lua::look(name, text, files, (version, module), out);
        } else if name.starts_with("hooks/") && file.executable {
            plain::script(name, text, out);
        } else if name.starts_with("files/") {
            plain::document(name, text, out);
        }
    }
    if let Some(version) = version {
        manifest(files, version, out);
    }
}

/// Gives findings about a hook of `hooks.lua` the line on which it stands.
pub(super) fn place(files: &Files, findings: &mut [Finding]) {
    let Some(file) = files.files.get("hooks.lua") else { return };
    let text = String::from_utf8_lossy(&file.bytes);
    for finding in findings {
        let wanted = finding.file == "hooks.lua" && finding.line.is_none();
        if wanted && let Some(word) = finding.message.split('`').nth(1) {
            finding.line = lua::line_of(&text, word);
        }
    }
}

/// The line of `template.toml` that holds a text.
fn line_of(files: &Files, text: &str) -> Option<u32> {
    let manifest = String::from_utf8_lossy(&files.files.get("template.toml")?.bytes).into_owned();
    let at = manifest.lines().position(|line| !line.trim_start().starts_with('#') && line.contains(text))?;
    u32::try_from(at + 1).ok()
}

fn is_called_by_input(files: &Files) -> bool {
    let script = files.files.get("hooks.lua");
    script.is_some_and(|file| String::from_utf8_lossy(&file.bytes).contains(BY_INPUT))
}

fn manifest(files: &Files, version: &Version, out: &mut Vec<Finding>) {
    const FILE: &str = "template.toml";
    let mut warn = |line: Option<u32>, code: &str, message: String| {
        out.push(finding(FILE, line, Severity::Warning, code, message));
    };
    for command in version.run.commands.keys() {
        let line = line_of(files, &format!("\"{command}\"")).or_else(|| line_of(files, command));
        if PRIVILEGED.contains(&command.as_str()) {
            warn(
                line,
                "privileged",
                format!(
                    "`{command}` runs things with other rights: whoever can change this template has them"
                ),
            );
        } else if (SHELLS.contains(&command.as_str()) || INTERPRETERS.contains(&command.as_str()))
            && !(command == "ssh" && is_called_by_input(files))
        {
            warn(
                line,
                "shell_command",
                format!(
                    "`{command}` runs what it is given as code: hand values over as arguments of their own, never as part of its text"
                ),
            );
        } else if command == "docker" || command == "podman" {
            warn(
                line,
                "privileged",
                format!(
                    "`{command}` is as good as root on its host: use the backend's functions where you can"
                ),
            );
        }
    }
    let others: Vec<&str> = version
        .levels
        .iter()
        .flat_map(|level| level.files.files.iter())
        .filter(|(name, _)| *name != FILE && !name.starts_with("tests/") && !name.starts_with("types/"))
        .filter_map(|(_, file)| std::str::from_utf8(&file.bytes).ok())
        .collect();
    let own =
        files.files.get(FILE).and_then(|file| std::str::from_utf8(&file.bytes).ok()).unwrap_or_default();
    for name in version.template.params.keys() {
        let variable = format!("WHARF_PARAM_{}", name.to_ascii_uppercase());
        let word = regex::Regex::new(&format!(r"\b{name}\b"));
        let used = others
            .iter()
            .any(|text| text.contains(&variable) || word.as_ref().is_ok_and(|word| word.is_match(text)));
        let declared_here = own.contains(&format!("params.{name}")) || own.contains("[params]");
        if !used && !own.contains(&variable) && declared_here {
            warn(
                line_of(files, &format!("params.{name}")),
                "unused_param",
                format!(
                    "no hook reads the parameter `{name}`; only the session's command sees it, as {variable}"
                ),
            );
        }
    }
    for (hook, why) in [
        (wharf_core::hook::Hook::Find, "a submit whose answer was lost cannot be looked up"),
        (wharf_core::hook::Hook::Status, "a job that ends before its monitor registers is not noticed"),
    ] {
        if !version.hooks.contains_key(&hook) {
            warn(None, "no_hook", format!("there is no `{}` hook: {why}", hook.as_str()));
        }
    }
}
