//! Who we are to a registry: what `docker login` has left in the configuration of the launcher's user.
//!
//! Read anew for each pull, handed to the engine with it, and kept nowhere. Programs that keep passwords elsewhere
//! (`credsStore`, `credHelpers`) are not asked.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use http::HeaderValue;
use serde::{Deserialize, Serialize};

/// The name of the registry of images without one.
const HUB: &str = "docker.io";
/// What it is called in configurations.
const HUB_KEY: &str = "index.docker.io";
/// Most bytes of a configuration.
const MOST: u64 = 1 << 20;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Configuration {
    auths: BTreeMap<String, Login>,
}

/// What is kept for one registry.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "lowercase")]
struct Login {
    /// `NAME:PASSWORD`, in base64.
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.write_str("Login")
    }
}

/// In the words of the engine's header.
#[derive(Serialize)]
struct Told<'a> {
    username: &'a str,
    password: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    identitytoken: Option<&'a str>,
    serveraddress: &'a str,
}

/// The header for a pull of that image; none where nobody has logged in, or the configuration cannot be read.
pub(super) async fn header(image: &str) -> Option<HeaderValue> {
    let file = file()?;
    let registry = registry(image).to_owned();
    tokio::task::spawn_blocking(move || read(&file, &registry)).await.ok().flatten()
}

fn file() -> Option<PathBuf> {
    let named = std::env::var_os("DOCKER_CONFIG").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let dir = named.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".docker")))?;
    Some(dir.join("config.json"))
}

/// The registry of an image: what stands before its first slash, if that is a host.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => HUB,
    }
}

/// A registry as configurations name it: with or without scheme and path.
fn bare(key: &str) -> &str {
    let host = key.split_once("://").map_or(key, |(_, host)| host);
    let host = host.split('/').next().unwrap_or(host);
    if host == HUB_KEY { HUB } else { host }
}

fn read(file: &Path, registry: &str) -> Option<HeaderValue> {
    let mut text = Vec::new();
    std::fs::File::open(file).ok()?.take(MOST).read_to_end(&mut text).ok()?;
    let configuration: Configuration = match serde_json::from_slice(&text) {
        Ok(configuration) => configuration,
        Err(error) => {
            tracing::warn!(file = %file.display(), line = error.line(), "logins to registries cannot be read");
            return None;
        }
    };
    let (_, login) = configuration.auths.iter().find(|(key, _)| bare(key) == registry)?;
    told(login, registry)
}

fn told(login: &Login, registry: &str) -> Option<HeaderValue> {
    let pair = login.auth.as_deref().and_then(|auth| String::from_utf8(STANDARD.decode(auth).ok()?).ok());
    let (username, password) = match &pair {
        Some(pair) => pair.split_once(':')?,
        None => {
            (login.username.as_deref().unwrap_or_default(), login.password.as_deref().unwrap_or_default())
        }
    };
    let identitytoken = login.identitytoken.as_deref().filter(|token| !token.is_empty());
    if username.is_empty() && identitytoken.is_none() {
        return None;
    }
    let told = Told { username, password, identitytoken, serveraddress: registry };
    let text = serde_json::to_vec(&told).ok()?;
    let mut header = HeaderValue::try_from(URL_SAFE.encode(text)).ok()?;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told_of(configuration: &str, image: &str) -> Option<Value> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), configuration).unwrap();
        let header = read(file.path(), registry(image))?;
        assert!(header.is_sensitive());
        Some(serde_json::from_slice(&URL_SAFE.decode(header.as_bytes()).unwrap()).unwrap())
    }

    #[test]
    fn a_login_is_told_to_its_own_registry_and_to_no_other() {
        let configuration = json!({
            "auths": {
                "https://index.docker.io/v1/": {"auth": STANDARD.encode("hub:a:b")},
                "registry.example.org": {"auth": STANDARD.encode("alice:open")},
                "http://localhost:5000/v2/": {"username": "bob", "password": "x"},
                "tokens.example.org": {"identitytoken": "t"},
                "helped.example.org": {},
            },
            "credsStore": "secretservice", "HttpHeaders": {"User-Agent": "x"},
        });
        let text = configuration.to_string();
        let user = |image: &str| Some(told_of(&text, image)?["username"].clone());
        assert_eq!(user("registry.example.org/team/tools:1"), Some(json!("alice")));
        assert_eq!(told_of(&text, "registry.example.org/x").unwrap()["password"], "open");
        assert_eq!(told_of(&text, "debian:12").unwrap()["password"], "a:b");
        assert_eq!(user("docker.io/library/debian"), Some(json!("hub")));
        assert_eq!(user("team/tools"), Some(json!("hub")));
        assert_eq!(user("localhost:5000/x"), Some(json!("bob")));
        assert_eq!(told_of(&text, "tokens.example.org/x").unwrap()["identitytoken"], "t");
        for other in
            ["registry.example.org:5000/x", "evil.example.org/x", "helped.example.org/x", "example.org/x"]
        {
            assert_eq!(told_of(&text, other), None, "{other}");
        }
        for broken in ["", "{", "[]", r#"{"auths": {"registry.example.org": {"auth": "%%%"}}}"#] {
            assert_eq!(told_of(broken, "registry.example.org/x"), None, "{broken}");
        }
    }
}
