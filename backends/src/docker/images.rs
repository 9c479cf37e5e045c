//! Bringing images, with words for whoever waits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bollard::errors::Error;
use bollard::models::CreateImageInfo;
use futures_util::StreamExt as _;
use http::Method;
use serde_json::{Value, json};
use wharf_core::backend::{HostContext, HostError};
use wharf_core::hook::HookErrorKind;

use super::arguments::{Pull, When};
use super::engine::{Engine, status, words};
use super::login;
use super::policy::Policy;
use super::raw::{self, Line};
use super::transport::{is_too_long, is_unreached};

/// Between two words to the user.
const PAUSE: Duration = Duration::from_millis(500);

/// Brings the image. It can be cancelled: the engine stops when we hang up.
pub(super) async fn pull(engine: &Engine, pull: &Pull, context: &HostContext) -> Result<Value, HostError> {
    Policy::of(context)?.check_image(&pull.image)?;
    if pull.when != When::Always && engine.believes_in_image(&pull.image) {
        return Ok(json!({}));
    }
    if pull.when != When::Always {
        match look(engine, &pull.image).await {
            Ok(()) => return Ok(json!({})),
            Err(error) if error.kind == HookErrorKind::NotFound && pull.when == When::Missing => {}
            Err(error) => return Err(error),
        }
    }
    bring(engine, &pull.image, context).await?;
    look(engine, &pull.image).await?;
    Ok(json!({}))
}

/// Looks at an image that is to be run. What it says of itself is told again with each of its containers.
async fn look(engine: &Engine, image: &str) -> Result<(), HostError> {
    match engine.client().await?.inspect_image(image).await {
        Ok(_) => {
            engine.has_image(image);
            Ok(())
        }
        Err(error) if status(&error) == Some(404) => {
            Err(engine.told(&format!("the image {image} is not here"), error))
        }
        Err(error) if is_too_long(&error) => Err(HostError::new(
            HookErrorKind::Invalid,
            format!("the image {image} is not run: it has more than 1 MiB of labels and variables"),
        )),
        Err(error) => Err(engine.told("the image cannot be looked at", error)),
    }
}

async fn bring(engine: &Engine, image: &str, context: &HostContext) -> Result<(), HostError> {
    let failed = |error| refused(engine, image, error);
    say(context, format!("pulling the image {image}"));
    let (name, tag) = reference(image);
    let query = [("fromImage", name.as_str()), ("tag", tag.as_deref().unwrap_or_default())];
    let login = login::header(image).await;
    let body = raw::send(engine, Method::POST, "/images/create", &query, login).await.map_err(failed)?;
    let mut steps = std::pin::pin!(raw::lines::<CreateImageInfo>(body));
    let mut layers = Layers::default();
    let mut said: Option<Instant> = None;
    while let Some(step) = steps.next().await {
        let Line::Read(step) = step.map_err(failed)? else { continue };
        if let Some(detail) = step.error_detail {
            let error = detail.message.unwrap_or_default();
            return Err(failed(Error::DockerStreamError { error }));
        }
        layers.note(&step);
        if said.is_none_or(|at| at.elapsed() >= PAUSE)
            && let Some(progress) = layers.words()
        {
            // What changes comes first: names are long, and lines of terminals are not.
            say(context, format!("{progress} of the image {image}"));
            said = Some(Instant::now());
        }
    }
    Ok(())
}

fn say(context: &HostContext, text: String) {
    if let Some(progress) = &context.progress {
        progress.send_replace(text);
    }
}

/// In the words of Go's net library and of registries: what passes by itself. An engine has no other word for it than
/// its text.
const PASSING: [&str; 15] = [
    "connection refused",
    "connection reset",
    "broken pipe",
    "timeout",
    "deadline exceeded",
    "request canceled",
    "no route to host",
    "network is unreachable",
    "temporary failure",
    "server misbehaving",
    "bad gateway",
    "service unavailable",
    " eof",
    "toomanyrequests",
    "too many requests",
];
/// The same for what does not, whatever else is said: names of images may hold any word.
const FINAL: [&str; 4] = ["not found", "manifest unknown", "denied", "no such host"];

/// What a registry's failure means. One that does not serve now is `rate_limited`, not `unavailable`: it says nothing
/// about the engine or the template, and users of other images must not wait for it.
fn kind(words: &str) -> HookErrorKind {
    let words = words.to_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| words.contains(text));
    if !says(&FINAL) && says(&PASSING) { HookErrorKind::RateLimited } else { HookErrorKind::NotFound }
}

/// An image that cannot be had ends the start, in the engine's words; a registry, engine or connection that fails for a
/// moment does not.
fn refused(engine: &Engine, image: &str, error: Error) -> HostError {
    let what = format!("the image {image} cannot be pulled");
    if let Error::DockerStreamError { error } = &error {
        return HostError::new(kind(error), format!("{what}: {}", error.trim()));
    }
    match status(&error) {
        // The engine's word for everything that its registry says, from a wrong name to no network.
        Some(404 | 500) => HostError::new(kind(&words(&error)), format!("{what}: {}", words(&error))),
        // A pull can be said again: nothing hangs on how far it came.
        None if !is_unreached(&error) => {
            HostError::new(HookErrorKind::Unavailable, format!("{what}: {}", words(&error)))
        }
        _ => engine.told(&what, error),
    }
}

/// Name and tag: without a tag an engine would bring all there are.
fn reference(image: &str) -> (String, Option<String>) {
    let last = image.rsplit('/').next().unwrap_or(image);
    if image.contains('@') {
        return (image.to_owned(), None);
    }
    match last.rsplit_once(':') {
        Some((_, tag)) => (image[..image.len() - tag.len() - 1].to_owned(), Some(tag.to_owned())),
        None => (image.to_owned(), Some("latest".to_owned())),
    }
}

/// How far each layer is.
#[derive(Default)]
struct Layers {
    /// Bytes there and in all.
    bytes: BTreeMap<String, (i64, i64)>,
    done: usize,
}

impl Layers {
    fn note(&mut self, step: &CreateImageInfo) {
        let (Some(id), Some(status)) = (&step.id, &step.status) else { return };
        match (status.as_str(), &step.progress_detail) {
            ("Pull complete" | "Already exists", _) => self.done += 1,
            ("Pulling fs layer", _) => {
                self.bytes.entry(id.clone()).or_default();
            }
            ("Downloading", Some(detail)) => {
                let bytes = (detail.current.unwrap_or(0), detail.total.unwrap_or(0));
                self.bytes.insert(id.clone(), bytes);
            }
            ("Download complete", _) => {
                let bytes = self.bytes.entry(id.clone()).or_default();
                bytes.0 = bytes.1;
            }
            _ => {}
        }
    }

    fn words(&self) -> Option<String> {
        let (there, all) = self.bytes.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let layers = format!("{} of {} layers", self.done, self.bytes.len().max(self.done));
        let megabytes = |bytes: i64| bytes / 1_000_000;
        match all {
            _ if self.bytes.is_empty() && self.done == 0 => None,
            0 => Some(format!("pulled {layers}")),
            _ if there == all => Some(format!("pulled {} MB, unpacked {layers}", megabytes(all))),
            _ => Some(format!("pulled {} of {} MB, unpacked {layers}", megabytes(there), megabytes(all))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        for (words, expected) in [
            (
                r#"Get "https://r:1/v2/": dial tcp 10.0.0.1:1: connect: connection refused"#,
                HookErrorKind::RateLimited,
            ),
            (r#"Get "https://r/v2/": net/http: TLS handshake timeout"#, HookErrorKind::RateLimited),
            ("received unexpected HTTP status: 503 Service Unavailable", HookErrorKind::RateLimited),
            ("manifest for r/timeout:1 not found", HookErrorKind::NotFound),
            ("unexpected EOF", HookErrorKind::RateLimited),
            ("toomanyrequests: You have reached your pull rate limit", HookErrorKind::RateLimited),
            ("manifest for r/x:1 not found: manifest unknown", HookErrorKind::NotFound),
            (r#"Get "https://typo/v2/": dial tcp: lookup typo: no such host"#, HookErrorKind::NotFound),
            ("pull access denied for x, repository does not exist", HookErrorKind::NotFound),
        ] {
            assert_eq!(kind(words), expected, "{words}");
        }
    }

    #[test]
    fn a_reference_without_a_tag_means_one_image() {
        for (image, name, tag) in [
            ("alpine", "alpine", Some("latest")),
            ("alpine:3", "alpine", Some("3")),
            ("reg:5000/team/x", "reg:5000/team/x", Some("latest")),
            ("reg:5000/team/x:1.2", "reg:5000/team/x", Some("1.2")),
            ("x@sha256:00", "x@sha256:00", None),
        ] {
            assert_eq!(reference(image), (name.to_owned(), tag.map(str::to_owned)), "{image}");
        }
    }
}
