//! All containers of sessions, whatever their state, by one call.
//!
//! An engine tells them with every label of their images. It is read as it comes, and what nobody needs is passed over:
//! however long the answer, what is kept of a container is small.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use http_body_util::BodyDataStream;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::{Deserializer as _, IgnoredAny, SeqAccess, Visitor};
use tokio::sync::mpsc;
use wharf_core::backend::HostError;

use super::engine::Engine;
use super::podman::docker_word;
use super::raw;
use super::spec::LABEL;

/// Pieces that wait to be read.
const AHEAD: usize = 4;
/// Most bytes of one text: more than all of an image's labels together.
const TEXT: usize = 2 << 20;
/// Most names of a container, and most containers of sessions.
const MOST: (usize, usize) = (16, 100_000);

/// What is kept of a container.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    /// The engine's own id.
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "some_names")]
    names: Vec<String>,
    state: Option<String>,
    labels: Option<Labels>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Labels {
    #[serde(rename = "io.wharf.session")]
    session: Option<String>,
    #[serde(rename = "io.wharf.memory")]
    memory: Option<String>,
}

impl Listed {
    /// The engine's word for its state, in Docker's words; empty when it tells none.
    pub(super) fn word(&self) -> &str {
        self.state.as_deref().map(docker_word).unwrap_or_default()
    }

    /// Bytes that it was promised.
    pub(super) fn memory(&self) -> Option<u64> {
        self.labels.as_ref()?.memory.as_ref()?.parse().ok()
    }

    /// The session whose label and name it has.
    fn session(&self) -> Option<&str> {
        let id = self.labels.as_ref()?.session.as_deref()?;
        let named = self.names.iter().any(|name| name.trim_start_matches('/') == id);
        named.then_some(id)
    }
}

/// By session: containers that have the label and the name.
pub(super) fn by_session(listed: &[Listed]) -> HashMap<&str, &Listed> {
    listed.iter().filter_map(|one| Some((one.session()?, one))).collect()
}

/// All of them.
pub(super) async fn all(engine: &Engine) -> Result<Vec<Listed>, HostError> {
    let told = |error| engine.told("containers cannot be listed", error);
    let filters = serde_json::json!({ "label": [LABEL] }).to_string();
    let query = [("all", "true"), ("filters", filters.as_str())];
    let body = raw::ask(engine, "/containers/json", &query).await.map_err(told)?;
    read(body).await.map_err(|error| told(error.into()))
}

/// The reader, which has to wait, is on a thread of its own; it ends when nobody gives it more.
async fn read(body: Incoming) -> io::Result<Vec<Listed>> {
    let (give, take) = mpsc::channel(AHEAD);
    let reader = tokio::task::spawn_blocking(move || kept(Pieces { take, piece: Bytes::new() }));
    let mut pieces = BodyDataStream::new(body);
    while let Some(piece) = pieces.next().await {
        // A reader that has ended has said why.
        if give.send(piece.map_err(io::Error::other)).await.is_err() {
            break;
        }
    }
    drop(give);
    reader.await.map_err(io::Error::other)?
}

fn kept(from: impl Read) -> io::Result<Vec<Listed>> {
    let from = Bounded { from, text: None, escaped: false };
    let mut document = serde_json::Deserializer::from_reader(io::BufReader::new(from));
    let listed = document.deserialize_seq(Containers)?;
    document.end()?;
    Ok(listed)
}

/// The first names of a container; none may be told as null.
fn some_names<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Vec<String>;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a list of names")
        }

        fn visit_unit<E>(self) -> Result<Vec<String>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
            let mut names = Vec::new();
            while names.len() < MOST.0
                && let Some(name) = list.next_element()?
            {
                names.push(name);
            }
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(names)
        }
    }
    from.deserialize_any(Names)
}

/// The list, one container after the other: those that are no session's are not kept.
struct Containers;

impl<'de> Visitor<'de> for Containers {
    type Value = Vec<Listed>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a list of containers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Listed>, A::Error> {
        let mut kept = Vec::new();
        while let Some(one) = list.next_element::<Listed>()? {
            if one.session().is_some() {
                kept.push(one);
            }
            if kept.len() > MOST.1 {
                return Err(serde::de::Error::custom("there are too many"));
            }
        }
        Ok(kept)
    }
}

/// Pieces of a body, as a thread reads them.
struct Pieces {
    take: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.take.blocking_recv() {
                Some(piece) => self.piece = piece?,
                None => return Ok(0),
            }
        }
        let count = self.piece.len().min(into.len());
        self.piece.copy_to_slice(&mut into[..count]);
        Ok(count)
    }
}

/// A document in which no text is longer than it may be: whoever reads it holds the text that is being read.
struct Bounded<R> {
    from: R,
    /// How long the text is that is being read; none outside of texts.
    text: Option<usize>,
    escaped: bool,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into)?;
        for byte in &into[..count] {
            self.text = match (self.text, byte) {
                (None, b'"') => Some(0),
                (None, _) => None,
                (Some(_), b'"') if !self.escaped => None,
                (Some(TEXT..), _) => return Err(io::Error::other("a text in it has no end")),
                (Some(length), _) => Some(length + 1),
            };
            self.escaped = self.text.is_some() && *byte == b'\\' && !self.escaped;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
