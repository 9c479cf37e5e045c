//! What a session printed: kept at its end, or told by the template's logs hook.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use wharf_protocol::api::LogStream;
use wharf_protocol::{ErrorCode, Problem, SessionId};

use super::{Target, from_hook};
use crate::actor::{Actor, Verb};
use crate::hook::{Hook, HookAnswer, Logs};
use crate::inner::Inner;
use crate::launcher::Launcher;
use crate::link::ControlLink;
use crate::requests;

/// How long a monitor may take to hand its output over at the end.
const FETCH: Duration = Duration::from_secs(5);

/// The last lines of a text.
fn tail_of(text: Vec<u8>, lines: Option<u64>) -> Vec<u8> {
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
    /// What the template's logs hook says; empty without one.
    ///
    /// # Errors
    /// The hook's failure.
    pub async fn hook_logs(&self, by: &Actor, id: &SessionId, tail: Option<u64>) -> Result<Vec<u8>, Problem> {
        let (target, _) = self.find(by, id, Verb::See).await?;
        let record = match &target {
            Target::Live(handle) => Arc::clone(&handle.view.borrow().record),
            Target::Ended(record) => Arc::new((**record).clone()),
        };
        let inner = &self.inner;
        let has =
            inner.template(&record.template).is_some_and(|template| template.hooks.contains(&Hook::Logs));
        if !has || record.job.is_none() {
            return Ok(Vec::new());
        }
        let dir = inner.data.session(id);
        let more = [("tail", serde_json::json!(tail)), ("dir", serde_json::json!(dir))];
        let request = requests::about(&record, &inner.owner, &more);
        let run = inner
            .run_hook(Hook::Logs, &record, Some(id.clone()), request, None, CancellationToken::new())
            .await;
        let trace = run.trace.id.clone();
        inner.keep_trace(run.trace);
        let limit = inner.settings().log_bytes;
        match run.outcome {
            Ok(HookAnswer::Logs(Logs::Text(text))) => Ok(tail_of(text.into_bytes(), tail)),
            Ok(HookAnswer::Logs(Logs::Path(path))) => {
                let text = tokio::task::spawn_blocking(move || end_of(&path, limit)).await;
                match text {
                    Ok(Ok(text)) => Ok(tail_of(text, tail)),
                    Ok(Err(_)) | Err(_) => Ok(Vec::new()),
                }
            }
            Ok(_) => Ok(Vec::new()),
            Err(error) => Err(from_hook(Hook::Logs, &error, Some(&trace))),
        }
    }

    /// What an ended session had printed.
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
        self.find(by, id, Verb::See).await?;
        let (data, id) = (self.inner.data.clone(), id.clone());
        let text = tokio::task::spawn_blocking(move || data.read_log(&id, stream)).await;
        match text {
            Ok(Ok(text)) => Ok(tail_of(text, tail)),
            Ok(Err(error)) => {
                Err(Problem::new(ErrorCode::Unavailable, format!("the log cannot be read: {error}")))
            }
            Err(_) => Err(Problem::new(ErrorCode::Internal, "the log cannot be read")),
        }
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
