//! Whether what a template names is on this host: commands, interpreters, directories, secrets.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Bench, BenchError};

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What.
    pub what: String,
    /// Whether it is as it has to be.
    pub good: bool,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub hint: Option<String>,
}

fn good(what: impl Into<String>, detail: impl Into<String>) -> Health {
    Health { what: what.into(), good: true, detail: detail.into(), hint: None }
}

fn bad(what: impl Into<String>, detail: impl Into<String>, hint: impl Into<String>) -> Health {
    Health { what: what.into(), good: false, detail: detail.into(), hint: Some(hint.into()) }
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

impl Bench {
    /// Looks at this host; runs nothing.
    ///
    /// # Errors
    /// The template cannot be used.
    pub fn doctor(&self) -> Result<Vec<Health>, BenchError> {
        let version = self.version()?;
        let run = &version.run;
        let mut all = vec![good("template", format!("{} can be loaded", self.name()))];
        for dir in &run.path {
            all.push(if Path::new(dir).is_dir() {
                good(format!("path {dir}"), "is there")
            } else {
                bad(format!("path {dir}"), "is no directory of this host", "correct [hooks] path")
            });
        }
        let path = self.real_path();
        for (name, fixed) in &run.commands {
            let what = format!("command {name}");
            let found = match fixed {
                Some(file) => Some(PathBuf::from(file)).filter(|file| is_program(file)),
                None => path
                    .split(':')
                    .filter(|dir| dir.starts_with('/'))
                    .map(|dir| Path::new(dir).join(name))
                    .find(|file| is_program(file)),
            };
            all.push(match (found, fixed) {
                (Some(file), _) => good(what, file.display().to_string()),
                (None, Some(file)) => bad(what, format!("{file} is no program"), "correct [hooks] commands"),
                (None, None) => bad(
                    what,
                    "is not found",
                    format!("install it, or name its directory in [hooks] path; looked in {path}"),
                ),
            });
        }
        for level in version.levels.iter() {
            for file in level.executables.values() {
                let bytes = level.files.files.get(file).map(|file| file.bytes.as_slice()).unwrap_or_default();
                let first =
                    String::from_utf8_lossy(bytes.split(|byte| *byte == b'\n').next().unwrap_or_default())
                        .into_owned();
                let Some(interpreter) =
                    first.strip_prefix("#!").and_then(|line| line.split_whitespace().next())
                else {
                    continue;
                };
                let what = format!("{} {file}", level.name);
                all.push(if is_program(Path::new(interpreter)) {
                    good(what, format!("is run by {interpreter}"))
                } else {
                    bad(
                        what,
                        format!("its interpreter {interpreter} is not on this host"),
                        "correct its first line, or install it",
                    )
                });
            }
        }
        for (name, file) in &run.secrets {
            let what = format!("secret {name}");
            all.push(match std::fs::metadata(file) {
                Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
                    bad(what, format!("others may read {file}"), format!("chmod 600 {file}"))
                }
                Ok(_) => match std::fs::File::open(file) {
                    Ok(_) => good(what, file.clone()),
                    Err(error) => {
                        bad(what, format!("{file}: {error}"), "it has to be readable for the launcher's user")
                    }
                },
                Err(error) => bad(what, format!("{file}: {error}"), "write the secret there, mode 0600"),
            });
        }
        if let Some(cwd) = version.template.job_cwd.as_deref().filter(|cwd| cwd.starts_with('/')) {
            all.push(if Path::new(cwd).is_dir() {
                good("job cwd", cwd)
            } else {
                bad(
                    "job cwd",
                    format!("{cwd} is no directory of this host"),
                    "correct [job] cwd, if jobs run here",
                )
            });
        }
        Ok(all)
    }
}
