//! `wharf.toml` (CONTRACT section 7).
//!
//! Only reads and checks: what a value means to a launcher is decided in [`crate::assemble`]. `default.toml` beside this file is
//! the documentation of every key, and a test holds it against [`Config::default`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing_subscriber::filter::{LevelFilter, Targets};
use wharf_backends::slurm::RestAddress;
use wharf_protocol::{Dur, ErrorCode, Problem};

use crate::args::Global;
use crate::failure::Outcome;
use crate::paths;

/// Every key with its default and what it means.
pub(crate) const DEFAULT: &str = include_str!("default.toml");
/// A larger file is none of ours.
const LARGEST: u64 = 1 << 20;

/// The configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) listen: Listen,
    pub(crate) tls: Tls,
    pub(crate) monitor: Monitor,
    pub(crate) templates: Templates,
    pub(crate) history: History,
    pub(crate) logs: Logs,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) log: Log,
    pub(crate) backends: Backends,
    pub(crate) web: Web,
}

/// `[listen]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Listen {
    pub(crate) addresses: Vec<String>,
    pub(crate) insecure_http: bool,
}

/// `[tls]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Tls {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// `[monitor]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Monitor {
    pub(crate) advertise: Vec<String>,
    /// By architecture.
    pub(crate) path: BTreeMap<String, PathBuf>,
}

/// `[templates]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Templates {
    pub(crate) dirs: Vec<PathBuf>,
}

/// `[history]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct History {
    pub(crate) keep: Dur,
}

impl Default for History {
    fn default() -> Self {
        Self { keep: Dur::secs(7 * 24 * 3600) }
    }
}

/// `[logs]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Logs {
    pub(crate) keep: Dur,
    pub(crate) roots: Vec<PathBuf>,
    pub(crate) per_session: Size,
}

impl Default for Logs {
    fn default() -> Self {
        Self { keep: Dur::secs(7 * 24 * 3600), roots: Vec::new(), per_session: Size("2MiB".to_owned()) }
    }
}

/// `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) sessions: u32,
    pub(crate) starts_per_minute: u32,
    pub(crate) hooks: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { sessions: 0, starts_per_minute: 0, hooks: 64 }
    }
}

/// `[metrics]`: nothing to set.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Metrics {}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    pub(crate) level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// `[backends]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Backends {
    pub(crate) docker: BTreeMap<String, Docker>,
    pub(crate) slurm: BTreeMap<String, Slurm>,
}

/// `[backends.docker.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Docker {
    pub(crate) host: String,
    pub(crate) tls_ca: PathBuf,
    pub(crate) tls_cert: PathBuf,
    pub(crate) tls_key: PathBuf,
    pub(crate) nodes: Vec<String>,
    pub(crate) upload: Option<bool>,
}

/// `[backends.slurm.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Slurm {
    pub(crate) conf: PathBuf,
    pub(crate) path: Vec<PathBuf>,
    pub(crate) rest: Rest,
}

/// slurmrestd's address; nothing: there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Rest(pub(crate) Option<RestAddress>);

impl TryFrom<String> for Rest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() { Ok(Self(None)) } else { text.parse().map(|address| Self(Some(address))) }
    }
}

impl From<Rest> for String {
    fn from(rest: Rest) -> Self {
        rest.0.map_or_else(Self::new, |address| address.to_string())
    }
}

/// `[web]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Web {
    pub(crate) domain: String,
}

/// A number of bytes as people write it: `1MiB`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SizeText", into = "String")]
pub(crate) struct Size(String);

#[derive(Deserialize)]
#[serde(untagged)]
enum SizeText {
    Bytes(u64),
    Text(String),
}

impl TryFrom<SizeText> for Size {
    type Error = String;

    fn try_from(text: SizeText) -> Result<Self, String> {
        let text = match text {
            SizeText::Bytes(bytes) => bytes.to_string(),
            SizeText::Text(text) => text,
        };
        match wharf_core::params::size(&text) {
            Some(_) => Ok(Self(text)),
            None => Err(format!("{text:?} is no size: write it as 512KiB or 1MiB")),
        }
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.0
    }
}

impl Size {
    /// As a number.
    pub(crate) fn bytes(&self) -> usize {
        wharf_core::params::size(&self.0).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX)
    }
}

/// Reads the configuration in force, and which file it came from; the defaults when there is none.
pub(crate) fn load(global: &Global) -> Outcome<(Config, Option<PathBuf>)> {
    let (file, named) = paths::config_file(global)?;
    let unreadable = |error: &dyn std::fmt::Display| {
        Problem::new(
            ErrorCode::Usage,
            format!("the configuration {} cannot be read: {error}", file.display()),
        )
    };
    match std::fs::metadata(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {
            return Ok((Config::default(), None));
        }
        Err(error) => return Err(unreadable(&error).into()),
        Ok(found) if found.len() > LARGEST => return Err(unreadable(&"it is larger than 1 MiB").into()),
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(&file).map_err(|error| unreadable(&error))?;
    let config = parse(&text, &file)?;
    Ok((config, Some(file)))
}

/// Reads a configuration's text; relative paths are below its own directory.
pub(crate) fn parse(text: &str, file: &Path) -> Result<Config, Problem> {
    let mut config: Config = toml::from_str(text).map_err(|error| told(&error, text, file))?;
    let dir = file.parent().unwrap_or_else(|| Path::new("/"));
    let absolute = |path: &mut PathBuf| {
        if !path.as_os_str().is_empty() && path.is_relative() {
            *path = dir.join(&*path);
        }
    };
    [&mut config.tls.certificate, &mut config.tls.key].into_iter().for_each(absolute);
    config.monitor.path.values_mut().for_each(absolute);
    config.templates.dirs.iter_mut().for_each(absolute);
    config.logs.roots.iter_mut().for_each(absolute);
    for docker in config.backends.docker.values_mut() {
        [&mut docker.tls_ca, &mut docker.tls_cert, &mut docker.tls_key].into_iter().for_each(absolute);
    }
    for slurm in config.backends.slurm.values_mut() {
        absolute(&mut slurm.conf);
        slurm.path.iter_mut().for_each(absolute);
    }
    check(&config, file)?;
    Ok(config)
}

/// What the shapes of the values do not say.
fn check(config: &Config, file: &Path) -> Result<(), Problem> {
    let wrong = |key: &str, detail: &str| {
        let detail = format!("{}: {key}: {detail}", file.display());
        let mut problem = Problem::new(ErrorCode::Usage, detail);
        problem.field = Some(key.to_owned());
        problem
    };
    for address in &config.listen.addresses {
        address
            .parse::<wharf_server::ListenAddr>()
            .map_err(|error| wrong("listen.addresses", &error.to_string()))?;
    }
    let tls = &config.tls;
    if tls.certificate.as_os_str().is_empty() != tls.key.as_os_str().is_empty() {
        return Err(wrong("tls", "certificate and key belong together: give both or none"));
    }
    for address in &config.monitor.advertise {
        let parsed = address.parse::<crate::client::address::Address>();
        parsed.map_err(|error| wrong("monitor.advertise", &error.to_string()))?;
    }
    if config.limits.hooks == 0 {
        return Err(wrong("limits.hooks", "at least one hook has to run at a time"));
    }
    if config.history.keep.0.is_zero() {
        return Err(wrong("history.keep", "ended sessions are kept for a second at least"));
    }
    if !is_filter(&config.log.level) {
        let detail = format!(
            "{:?} is no level: write error, warn, info, debug or trace, or \"info,wharf_core=debug\"",
            config.log.level
        );
        return Err(wrong("log.level", &detail));
    }
    Ok(())
}

/// Whether that is a filter with a level in each part; a word without one would name a part of the program.
fn is_filter(text: &str) -> bool {
    let levels = text.split(',').map(|part| part.rsplit_once('=').map_or(part, |(_, level)| level).trim());
    let mut levels = levels.map(|level| !level.is_empty() && level.parse::<LevelFilter>().is_ok());
    levels.all(|good| good) && text.parse::<Targets>().is_ok()
}

/// The error with file and line, and the key that was probably meant.
fn told(error: &toml::de::Error, text: &str, file: &Path) -> Problem {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    let message = error.message();
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message.starts_with("unknown field").then(|| quoted.next()).flatten();
    let detail = match unknown {
        Some(key) => format!("{}:{line}: there is no key {key:?} here", file.display()),
        None => format!("{}:{line}: {}", file.display(), message.trim()),
    };
    let mut problem = Problem::new(ErrorCode::Usage, detail);
    problem.field = unknown.map(str::to_owned);
    let keys: Vec<&str> = quoted.collect();
    let near = unknown.and_then(|key| {
        keys.iter()
            .map(|known| (strsim::damerau_levenshtein(key, known), *known))
            .min()
            .filter(|(distance, _)| *distance <= key.len().max(3) / 2)
    });
    match (near, unknown) {
        (Some((_, key)), _) => problem.hint(format!("did you mean {key:?}?")),
        (None, Some(_)) => problem.hint(format!("keys here: {}", keys.join(", "))),
        (None, None) => problem.hint("`wharf config show --default` shows every key with its default"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_file_holds_the_defaults() {
        assert_eq!(parse(DEFAULT, Path::new("/etc/default.toml")), Ok(Config::default()));
        assert_eq!(parse("", Path::new("/etc/default.toml")), Ok(Config::default()));
    }

    #[test]
    fn every_key_is_in_the_commented_file() {
        fn keys(value: &toml::Value, below: &str, all: &mut Vec<String>) {
            for (key, value) in value.as_table().into_iter().flatten() {
                let name = format!("{below}{key}");
                keys(value, &format!("{name}."), all);
                all.push(name);
            }
        }
        let (mut documented, mut known) = (Vec::new(), Vec::new());
        keys(&toml::from_str(DEFAULT).unwrap(), "", &mut documented);
        keys(&toml::Value::try_from(Config::default()).unwrap(), "", &mut known);
        documented.sort();
        known.sort();
        assert_eq!(documented, known);
    }

    #[test]
    fn a_wrong_key_is_told_with_its_line_and_the_near_one() {
        let problem = parse("[history]\n\nkeeep = \"1d\"\n", Path::new("/x/wharf.toml")).unwrap_err();
        assert!(
            problem.detail.starts_with("/x/wharf.toml:3: ") && problem.detail.contains("keeep"),
            "{problem}"
        );
        assert_eq!(problem.hint.as_deref(), Some("did you mean \"keep\"?"));
        assert_eq!(problem.exit_code(), 2);
        let far = parse("[log]\nzzzzzz = 1\n", Path::new("/x/wharf.toml")).unwrap_err();
        assert!(far.hint.is_some_and(|hint| hint.contains("format") && hint.contains("level")));
    }

    #[test]
    fn broken_values_are_told_with_their_line() {
        for (text, line, word) in [
            ("[history]\nkeep = \n", 2, ""),
            ("[history]\nkeep = \"soon\"\n", 2, "duration"),
            ("[history]\nkeep = \"9999y\"\n", 2, "3650d"),
            ("\n[logs]\nper_session = \"much\"\n", 3, "size"),
            ("[limits]\nsessions = -1\n", 2, ""),
        ] {
            let detail = parse(text, Path::new("/x/wharf.toml")).unwrap_err().detail;
            assert!(detail.starts_with(&format!("/x/wharf.toml:{line}: ")), "{text}: {detail}");
            assert!(detail.contains(word), "{text}: {detail}");
        }
        for text in [
            "[listen]\naddresses = [\"gopher://x\"]\n",
            "[tls]\nkey = \"k.pem\"\n",
            "[log]\nlevel = \"loud=x=y\"\n",
            "[log]\nlevel = \"loud\"\n",
            "[log]\nlevel = \"info,wharf_core\"\n",
            "[log]\nlevel = \"\"\n",
            "[limits]\nhooks = 0\n",
        ] {
            assert!(parse(text, Path::new("/x/wharf.toml")).is_err(), "{text}");
        }
        for level in ["error", "WARN", "off", "info,wharf_core=debug", "wharf_core=trace"] {
            let text = format!("[log]\nlevel = \"{level}\"\n");
            assert!(parse(&text, Path::new("/x/wharf.toml")).is_ok(), "{text}");
        }
    }

    #[test]
    fn relative_paths_are_below_the_files_directory() {
        let config = parse("[templates]\ndirs = [\"mine\", \"/abs\"]\n", Path::new("/x/wharf.toml")).unwrap();
        assert_eq!(config.templates.dirs, [PathBuf::from("/x/mine"), PathBuf::from("/abs")]);
    }
}
