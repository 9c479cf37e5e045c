//! What a session printed: kept at its end, or told by the template's logs hook. How that is followed stands in
//! [`following`](super::following).

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;
use wharf_protocol::api::LogStream;
use wharf_protocol::{ErrorCode, Problem, SessionId};

use super::{Target, from_hook};
use crate::actor::{Actor, Verb};
use crate::hook::{Hook, HookAnswer, Logs};
use crate::inner::Inner;
use crate::last_words;
use crate::launcher::Launcher;
use crate::link::ControlLink;
use crate::record::Record;
use crate::requests;

/// How long a monitor may take to hand its output over at the end.
const FETCH: Duration = Duration::from_secs(5);

/// The last lines of a text.
pub(super) fn tail_of(text: Vec<u8>, lines: Option<u64>) -> Vec<u8> {
    let Some(lines) = lines.and_then(|lines| usize::try_from(lines).ok()) else { return text };
    if lines == 0 {
        return Vec::new();
    }
    let end = text.strip_suffix(b"\n").map_or(text.len(), <[u8]>::len);
    let breaks = text[..end].iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    match breaks.map(|(at, _)| at).nth(lines - 1) {
        Some(at) => text[at + 1..].to_vec(),
        None => text,
    }
}

impl Launcher {
    /// What the template's logs hook says; empty without one. Of a session that ended before its monitor came: what the
    /// hook said last.
    ///
    /// # Errors
    /// The hook's failure.
    pub async fn hook_logs(&self, by: &Actor, id: &SessionId, tail: Option<u64>) -> Result<Vec<u8>, Problem> {
        let (target, _) = self.find(by, id, Verb::See).await?;
        let record = match target {
            Target::Live(handle) => Arc::clone(&handle.view.borrow().record),
            Target::Ended(record) => {
                last_words::kept(&self.inner, id).await;
                let kept = self.read_kept(id, LogStream::Hook).await?;
                if !kept.is_empty() {
                    return Ok(tail_of(kept, tail));
                }
                Arc::new(*record)
            }
        };
        let Some(told) = ask(&self.inner, &record, tail, None).await? else { return Ok(Vec::new()) };
        Ok(tail_of(whole(&self.inner, told).await, tail))
    }

    /// What an ended session had printed; of one that never ran, what the template's hook says, if it does.
    ///
    /// # Errors
    /// `unknown_session`.
    pub async fn kept_logs(
        &self,
        by: &Actor,
        id: &SessionId,
        stream: LogStream,
        tail: Option<u64>,
    ) -> Result<Vec<u8>, Problem> {
        let (target, _) = self.find(by, id, Verb::See).await?;
        if self.show(&target).started_at.is_none() {
            return Ok(self.hook_logs(by, id, tail).await.unwrap_or_default());
        }
        Ok(tail_of(self.read_kept(id, stream).await?, tail))
    }

    pub(super) async fn read_kept(&self, id: &SessionId, stream: LogStream) -> Result<Vec<u8>, Problem> {
        let (data, id) = (self.inner.data.clone(), id.clone());
        let text = tokio::task::spawn_blocking(move || data.read_log(&id, stream)).await;
        match text {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(error)) => {
                Err(Problem::new(ErrorCode::Unavailable, format!("the log cannot be read: {error}")))
            }
            Err(_) => Err(Problem::new(ErrorCode::Internal, "the log cannot be read")),
        }
    }
}

/// Asks the template's logs hook; `None` without one, and while there is no job. With `after` only for what came since.
pub(super) async fn ask(
    inner: &Inner,
    record: &Record,
    tail: Option<u64>,
    after: Option<&str>,
) -> Result<Option<Logs>, Problem> {
    let has = inner.template(&record.template).is_some_and(|template| template.hooks.contains(&Hook::Logs));
    if !has || record.job.is_none() {
        return Ok(None);
    }
    let dir = inner.data.session(&record.id);
    let more = [("tail", json!(tail)), ("after", json!(after)), ("dir", json!(dir))];
    let request = requests::about(record, &inner.owner, &more);
    let id = Some(record.id.clone());
    let run = inner.run_hook(Hook::Logs, record, id, request, None, CancellationToken::new()).await;
    let trace = run.trace.id.clone();
    inner.keep_trace(run.trace);
    match run.outcome {
        Ok(HookAnswer::Logs(told)) => Ok(Some(told)),
        Ok(_) => Ok(None),
        Err(error) => Err(from_hook(Hook::Logs, &error, Some(&trace))),
    }
}

/// All that the hook told, at most as much as is kept of logs.
async fn whole(inner: &Inner, told: Logs) -> Vec<u8> {
    let path = match told {
        Logs::Text(text) | Logs::Piece { text, .. } => return text.into_bytes(),
        Logs::Path(path) => path,
    };
    let limit = inner.settings().log_bytes;
    let text = tokio::task::spawn_blocking(move || end_of(&path, limit)).await;
    text.ok().and_then(Result::ok).unwrap_or_default()
}

/// Keeps what the hook says of a job that ends before its monitor came: the job may be gone in a moment.
pub(crate) async fn keep_hook_logs(inner: &Inner, record: &Record) {
    let told = match ask(inner, record, None, None).await {
        Ok(Some(told)) => whole(inner, told).await,
        Ok(None) => return,
        Err(error) => return tracing::debug!(error = error.detail, "what its job had printed is not known"),
    };
    if told.is_empty() {
        return;
    }
    let (data, id) = (inner.data.clone(), record.id.clone());
    let kept = tokio::task::spawn_blocking(move || data.write_log(&id, LogStream::Hook, &told)).await;
    if let Ok(Err(error)) = kept {
        tracing::warn!(%error, "what its job had printed cannot be kept");
    }
}

/// The end of a file, at most so many bytes.
fn end_of(path: &std::path::Path, limit: usize) -> std::io::Result<Vec<u8>> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limit as u64)))?;
    let mut text = Vec::new();
    file.take(limit as u64).read_to_end(&mut text)?;
    Ok(text)
}

/// Fetches what a session printed from its monitor and keeps it, before its end is written down.
pub(crate) async fn keep_logs(inner: &Inner, id: &SessionId, link: &dyn ControlLink) {
    let limit = inner.settings().log_bytes;
    for stream in [LogStream::All, LogStream::Stdout, LogStream::Stderr] {
        let Some(text) = link.logs(stream, limit, FETCH).await else { return };
        let (data, id) = (inner.data.clone(), id.clone());
        let kept = tokio::task::spawn_blocking(move || data.write_log(&id, stream, &text)).await;
        if let Ok(Err(error)) = kept {
            tracing::warn!(%error, "what the session printed cannot be kept");
            return;
        }
    }
}
