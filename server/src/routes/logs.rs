//! What a session printed, in one answer or followed.
//!
//! ```text
//! pending ─ the template's hook ─▶ its monitor registers ─▶ what the command printed, from its beginning ─▶ the end
//!                       └ it ends before ─▶ what the hook said last
//! ```
//!
//! A body that ends says that all was said; one that breaks off says that the link or the launcher was lost, or the
//! reader's right to hear more.

use std::io;

use axum::Extension;
use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::Value;
use wharf_core::actor::{Actor, Verb};
use wharf_core::{Entry, HookLog, WaitFor};
use wharf_link::{Frame, LinkStream};
use wharf_protocol::api::LogStream;
use wharf_protocol::monitor::StreamOpen;
use wharf_protocol::{Problem, SessionId, State as SessionState};

use crate::App;
use crate::extract::{Id, Query};
use crate::guard::Caller;
use crate::problem::Refused;

/// What is asked for.
#[derive(Debug, Clone)]
struct Wanted {
    app: App,
    actor: Actor,
    id: SessionId,
    which: LogStream,
}

/// What a session printed
#[utoipa::path(get, path = "/api/v1/sessions/{id}/logs", tag = "streams",
    params(("id" = String, Path), ("stream" = Option<String>, Query), ("tail" = Option<u64>, Query),
        ("follow" = Option<bool>, Query)),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn logs(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    mut query: Query,
) -> Result<Response, Refused> {
    let actor = caller.actor()?;
    let which: LogStream = match query.one("stream") {
        None => LogStream::All,
        Some(word) => serde_json::from_value(Value::from(word))
            .map_err(|_| Problem::field("stream", "has to be all, stdout, stderr or hook"))?,
    };
    let tail: Option<u64> = query.parse("tail", "a number of lines")?;
    let follow = query.flag("follow")?;
    query.finish()?;
    let session = app.launcher.get(actor, &id).await?;
    let wanted = Wanted { app: app.clone(), actor: actor.clone(), id: id.clone(), which };
    let pending = session.state == SessionState::Pending;
    if follow && (pending || which == LogStream::Hook && session.state == SessionState::Running) {
        return wanted.follow_hook(tail).await;
    }
    if pending || which == LogStream::Hook {
        return Ok(text(app.launcher.hook_logs(actor, &id, tail).await?.into()));
    }
    if session.state == SessionState::Ended {
        return Ok(text(app.launcher.kept_logs(actor, &id, which, tail).await?.into()));
    }
    match wanted.open(tail, follow).await {
        Ok(live) => Ok(text(body(Telling::Command(Box::new(live)), wanted))),
        Err(problem) => {
            // Ended while it was asked, or out of reach: then what the template's hook says, if it has one.
            if app.launcher.get(actor, &id).await?.state == SessionState::Ended {
                return Ok(text(app.launcher.kept_logs(actor, &id, which, tail).await?.into()));
            }
            let told = app.launcher.hook_logs(actor, &id, tail).await?;
            if told.is_empty() { Err(problem.into()) } else { Ok(text(told.into())) }
        }
    }
}

/// What the command prints, by its monitor.
struct Live {
    stream: LinkStream,
    entry: Entry,
}

/// Who tells now.
enum Telling {
    /// What was told before anybody is asked for more.
    First(Bytes, Box<Hook>),
    Hook(Box<Hook>),
    Command(Box<Live>),
    Nobody,
}

/// The template's hook, and the right to hear it.
struct Hook {
    log: HookLog,
    entry: Entry,
}

impl Wanted {
    /// Asks the session's monitor.
    async fn open(&self, tail: Option<u64>, follow: bool) -> Result<Live, Problem> {
        let open = StreamOpen::Logs { stream: self.which, tail, follow };
        let (stream, _) = self.app.links.get(&self.id).await?.open(&open).await?;
        let entry = self.app.launcher.enter(&self.actor, &self.id, Verb::See).await?;
        Ok(Live { stream, entry })
    }

    /// Follows the hook, then the command unless only the hook is asked for.
    async fn follow_hook(self, tail: Option<u64>) -> Result<Response, Refused> {
        let launcher = &self.app.launcher;
        let until = if self.which == LogStream::Hook { WaitFor::Ended } else { WaitFor::Running };
        let followed = match launcher.enter(&self.actor, &self.id, Verb::See).await {
            Ok(entry) => {
                let log = launcher.follow_hook_logs(&self.actor, &self.id, tail, until).await?;
                log.map(|(first, log)| (first, Hook { log, entry }))
            }
            Err(_) => None,
        };
        // Ended while it was asked.
        let Some((first, hook)) = followed else {
            return Ok(text(launcher.kept_logs(&self.actor, &self.id, self.which, tail).await?.into()));
        };
        Ok(text(body(Telling::First(first.into(), Box::new(hook)), self)))
    }

    /// Who tells after the hook.
    async fn after_hook(&self) -> Result<Telling, Problem> {
        if self.which == LogStream::Hook {
            return Ok(Telling::Nobody);
        }
        let launcher = &self.app.launcher;
        match launcher.get(&self.actor, &self.id).await?.state {
            SessionState::Ended => Ok(Telling::Nobody),
            // From the beginning: what the command printed is all new.
            SessionState::Pending | SessionState::Running => {
                self.open(None, true).await.map(|live| Telling::Command(Box::new(live)))
            }
        }
    }

    /// What a session that ended between its hook's last word and now had printed.
    async fn kept(&self) -> Bytes {
        let launcher = &self.app.launcher;
        match launcher.get(&self.actor, &self.id).await {
            Ok(session) if self.which != LogStream::Hook && session.started_at.is_some() => {
                let kept = launcher.kept_logs(&self.actor, &self.id, self.which, None).await;
                kept.unwrap_or_default().into()
            }
            Ok(_) | Err(_) => Bytes::new(),
        }
    }
}

impl Live {
    /// The next piece; none when all was said.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        let frame = tokio::select! {
            frame = self.stream.reader.recv() => frame,
            _ = self.entry.cut() => return Some(Err(lost())),
        };
        match frame {
            Ok(Some(Frame::Data(_, data))) => Some(Ok(data)),
            // Said by the monitor: everything was.
            Ok(Some(Frame::Control(_))) => None,
            // Not an end: a body that stops short is told from a whole one.
            Ok(None) | Err(_) => Some(Err(lost())),
        }
    }
}

fn lost() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionAborted)
}

fn body(telling: Telling, wanted: Wanted) -> HttpBody {
    HttpBody::from_stream(futures_util::stream::unfold((telling, wanted), next))
}

type Next = Option<(io::Result<Bytes>, (Telling, Wanted))>;

async fn next((mut telling, wanted): (Telling, Wanted)) -> Next {
    loop {
        telling = match telling {
            Telling::First(first, hook) => return Some((Ok(first), (Telling::Hook(hook), wanted))),
            Telling::Hook(mut hook) => {
                let piece = tokio::select! {
                    piece = hook.log.next() => piece,
                    _ = hook.entry.cut() => return Some((Err(lost()), (Telling::Nobody, wanted))),
                };
                if let Some(piece) = piece {
                    return Some((Ok(piece.into()), (Telling::Hook(hook), wanted)));
                }
                drop(hook);
                match wanted.after_hook().await {
                    Ok(Telling::Nobody) => {
                        return Some((Ok(wanted.kept().await), (Telling::Nobody, wanted)));
                    }
                    Ok(telling) => telling,
                    Err(_) => {
                        // Over in this moment, or out of reach.
                        let kept = wanted.kept().await;
                        let ended = wanted.app.launcher.get(&wanted.actor, &wanted.id).await;
                        let whole = ended.is_ok_and(|session| session.state == SessionState::Ended);
                        let piece = if whole { Ok(kept) } else { Err(lost()) };
                        return Some((piece, (Telling::Nobody, wanted)));
                    }
                }
            }
            Telling::Command(mut live) => {
                let piece = live.next().await?;
                let after = if piece.is_ok() { Telling::Command(live) } else { Telling::Nobody };
                return Some((piece, (after, wanted)));
            }
            Telling::Nobody => return None,
        };
    }
}

fn text(body: HttpBody) -> Response {
    ([("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff")], body)
        .into_response()
}
