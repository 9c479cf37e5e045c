//! Entering a session: connect, exec, attach, tunnel.

use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::response::Response;
use axum::{Extension, Json};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use wharf_core::actor::{Actor, Verb};
use wharf_core::{Entry, WaitFor};
use wharf_link::{Frame, LinkStream};
use wharf_protocol::api::{
    ConnectRequest, Connection, Encoding, Endpoint, EndpointKind, ExecRequest, ExecResult, Role,
};
use wharf_protocol::monitor::{EndpointDeclared, StreamOpen};
use wharf_protocol::stream::{Channel, ClientControl, ExecStart, Exit, ServerControl};
use wharf_protocol::{ErrorCode, Problem, SessionId};

use crate::App;
use crate::extract::{Body, Id, Last, Query};
use crate::guard::{Caller, base};
use crate::listen::Peer;
use crate::problem::Refused;
use crate::relay;
use crate::streams::{self, Kind};

/// Most bytes of each stream of an exec's answer.
const MOST_OUTPUT: usize = 1 << 20;
/// Without a timeout of its own an exec may take so long.
const EXEC: Duration = Duration::from_secs(3600);

/// How to enter a session, as its monitor says now
#[utoipa::path(post, path = "/api/v1/sessions/{id}/connect", tag = "streams", request_body = ConnectRequest,
    params(("id" = String, Path), ("wait" = Option<String>, Query), ("timeout" = Option<String>, Query)),
    responses((status = 200, body = Connection), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn connect(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<Peer>,
    Id(id): Id,
    headers: HeaderMap,
    mut query: Query,
    Body(request): Body<ConnectRequest>,
) -> Result<Json<Connection>, Refused> {
    let actor = caller.actor()?;
    let wait = query.one("wait");
    let timeout = query.duration("timeout")?.unwrap_or(Duration::from_secs(30));
    query.finish()?;
    match wait.as_deref() {
        None => {}
        Some("running") => drop(app.launcher.wait(actor, &id, WaitFor::Running, timeout).await?),
        Some(_) => return Err(Problem::field("wait", "has to be running").into()),
    }
    let _entry = app.launcher.enter(actor, &id, Verb::Connect).await?;
    let (_, declared) = app.links.get(&id).await?.open(&StreamOpen::Connect).await?;
    let declared: Vec<EndpointDeclared> = serde_json::from_value(declared).map_err(|_| {
        Problem::new(ErrorCode::EndpointFailed, "the session's monitor gave no list of endpoints")
    })?;
    let base = base(&app, peer, &headers);
    let streams = base.strip_prefix("http").map_or(base.clone(), |rest| format!("ws{rest}"));
    let mut expires_at = None;
    let role = if request.role == Some(Role::View) { "?role=view" } else { "" };
    let endpoints: Vec<Endpoint> = declared
        .into_iter()
        .take(64)
        // A monitor belongs to its user: a name becomes part of an address only if it can be nothing else.
        .filter(|endpoint| endpoint.is_named_well())
        .filter(|endpoint| request.endpoint.as_ref().is_none_or(|wanted| *wanted == endpoint.name))
        .map(|EndpointDeclared { name, kind, .. }| {
            let origin =
                (kind == EndpointKind::Http).then(|| relay::origin(&app, &base, &name, &id)).flatten();
            let url = match (kind, origin) {
                (EndpointKind::Http, Some(origin)) => {
                    let (ticket, until) = app.launcher.ticket(actor, &id, &name);
                    expires_at = Some(until);
                    relay::entrance(&origin, &ticket)
                }
                (EndpointKind::Http, None) if relay::is_shared(&app, &base) && actor.is_owner() => {
                    let (ticket, until) = app.launcher.ticket(actor, &id, &name);
                    expires_at = Some(until);
                    relay::question(&base, &id, &name, &ticket)
                }
                (EndpointKind::Http, None) if base.starts_with("http") => format!("{base}/s/{id}/{name}/"),
                (EndpointKind::Tty, _) => format!("{streams}/api/v1/sessions/{id}/attach{role}"),
                (EndpointKind::Http | EndpointKind::Tcp | EndpointKind::Vnc, _) => {
                    format!("{streams}/api/v1/sessions/{id}/tunnel/{name}")
                }
            };
            Endpoint { name, kind, url }
        })
        .collect();
    if let Some(wanted) = request.endpoint.filter(|_| endpoints.is_empty()) {
        let detail = format!("the session has no endpoint {:?}", wanted.escape_debug().to_string());
        return Err(Problem::new(ErrorCode::UnknownEndpoint, detail).into());
    }
    Ok(Json(Connection { endpoints, expires_at }))
}

/// Run a program in a session
#[utoipa::path(post, path = "/api/v1/sessions/{id}/exec", tag = "streams", request_body = ExecRequest,
    params(("id" = String, Path)),
    responses((status = 200, body = ExecResult), (status = 409, body = Problem), (status = 504, body = Problem)))]
pub(super) async fn exec(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    query: Query,
    Body(request): Body<ExecRequest>,
) -> Result<Json<ExecResult>, Refused> {
    let actor = caller.actor()?;
    query.finish()?;
    let input = match (request.stdin, request.stdin_base64) {
        (Some(_), Some(_)) => {
            return Err(Problem::field("stdin", "give stdin or stdin_base64, not both").into());
        }
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => {
            STANDARD.decode(text).map_err(|_| Problem::field("stdin_base64", "is not base64"))?
        }
        (None, None) => Vec::new(),
    };
    let start = ExecStart {
        argv: request.argv,
        tty: false,
        rows: None,
        cols: None,
        env: request.env,
        cwd: request.cwd,
    };
    streams::check(&start)?;
    let entry = app.launcher.enter(actor, &id, Verb::Exec).await?;
    let (stream, _) = app.links.get(&id).await?.open(&StreamOpen::Exec(start)).await?;
    let timeout = request.timeout.map_or(EXEC, |timeout| timeout.0);
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(timeout, run(stream, input)) => outcome,
        problem = entry.cut() => return Err(problem.into()),
    };
    // Dropping the stream is what ends the program's tree.
    match outcome {
        Ok(result) => Ok(Json(result?)),
        Err(_) => {
            Err(Problem::new(ErrorCode::Deadline, "the program was not done in time and was ended").into())
        }
    }
}

#[derive(Default)]
struct Collected {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    truncated: bool,
}

impl Collected {
    fn add(&mut self, channel: Channel, data: &[u8]) {
        let to = if channel == Channel::Stderr { &mut self.stderr } else { &mut self.stdout };
        let room = MOST_OUTPUT - to.len();
        to.extend_from_slice(&data[..data.len().min(room)]);
        self.truncated |= data.len() > room;
    }

    fn result(self, exit: Exit) -> ExecResult {
        let text = (std::str::from_utf8(&self.stdout).is_ok()
            || self.truncated && utf8_but_cut(&self.stdout))
            && (std::str::from_utf8(&self.stderr).is_ok() || self.truncated && utf8_but_cut(&self.stderr));
        let (encoding, stdout, stderr) = if text {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            (Encoding::Utf8, text(&self.stdout), text(&self.stderr))
        } else {
            (Encoding::Base64, STANDARD.encode(&self.stdout), STANDARD.encode(&self.stderr))
        };
        ExecResult {
            exit_code: exit.code,
            signal: exit.signal,
            stdout,
            stderr,
            encoding,
            truncated: self.truncated,
        }
    }
}

/// Whether only the last character is in pieces, by our own cut.
fn utf8_but_cut(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

async fn run(stream: LinkStream, input: Vec<u8>) -> Result<ExecResult, Problem> {
    let (mut reader, mut writer) = stream.split();
    let write = async {
        for piece in input.chunks(32 * 1024) {
            if writer.send(Frame::Data(Channel::Stdin, Bytes::copy_from_slice(piece))).await.is_err() {
                break;
            }
        }
        let _ = writer.send_json(&ClientControl::Eof(true)).await;
        std::future::pending::<()>().await;
    };
    let read = async {
        let mut collected = Collected::default();
        loop {
            match reader.recv().await {
                Ok(Some(Frame::Data(channel, data))) => collected.add(channel, &data),
                Ok(Some(Frame::Control(text))) => match serde_json::from_slice(&text) {
                    Ok(ServerControl::Exit(exit)) => return Ok(collected.result(exit)),
                    Ok(ServerControl::Error(problem)) => return Err(crate::links::confined(problem)),
                    Ok(ServerControl::Eof(_) | ServerControl::Offset(_) | ServerControl::Notice(_))
                    | Err(_) => {}
                },
                Ok(None) | Err(_) => return Err(crate::links::unreachable()),
            }
        }
    };
    tokio::select! {
        result = read => result,
        () = write => Err(crate::links::unreachable()),
    }
}

/// Subprotocols: bytes alone, chosen by clients that speak a protocol of their own over a tunnel, such as viewers of
/// desktops; and what the page offers beside its token.
const PROTOCOLS: [&str; 2] = ["binary", "wharf"];

type Upgrade = Result<WebSocketUpgrade, WebSocketUpgradeRejection>;

/// Lets a client in and serves its stream.
async fn stream(
    app: App,
    actor: &Actor,
    id: &SessionId,
    verb: Verb,
    kind: Kind,
    upgrade: Upgrade,
) -> Result<Response, Refused> {
    let entry: Entry = app.launcher.enter(actor, id, verb).await?;
    let upgrade = upgrade
        .map_err(|_| {
            Problem::new(ErrorCode::Malformed, "this address is for WebSockets")
                .hint("send an upgrade request")
        })?
        .protocols(PROTOCOLS);
    let link = app.links.get(id).await?;
    if let Kind::Tunnel { endpoint, .. } = &kind {
        entry.goes_to(endpoint);
    }
    let opened = streams::open(&link, &kind, entry.role).await?;
    let limit = wharf_protocol::stream::MAX_MESSAGE;
    Ok(upgrade
        .max_message_size(limit)
        .max_frame_size(limit)
        .on_upgrade(move |socket| streams::serve(socket, entry, link, opened, kind)))
}

/// Run a program in a session, as a stream (WebSocket)
#[utoipa::path(get, path = "/api/v1/sessions/{id}/exec", tag = "streams", params(("id" = String, Path)),
    responses((status = 101), (status = 409, body = Problem)))]
pub(super) async fn exec_stream(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    query: Query,
    upgrade: Upgrade,
) -> Result<Response, Refused> {
    query.finish()?;
    stream(app, caller.actor()?, &id, Verb::Exec, Kind::Exec, upgrade).await
}

/// Enter a session's terminal (WebSocket)
#[utoipa::path(get, path = "/api/v1/sessions/{id}/attach", tag = "streams",
    params(("id" = String, Path), ("role" = Option<String>, Query), ("offset" = Option<String>, Query),
        ("scrollback" = Option<u32>, Query)),
    responses((status = 101), (status = 409, body = Problem)))]
pub(super) async fn attach(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    mut query: Query,
    upgrade: Upgrade,
) -> Result<Response, Refused> {
    let role = match query.one("role").as_deref() {
        None | Some("control") => Role::Control,
        Some("view") => Role::View,
        Some(_) => return Err(Problem::field("role", "has to be view or control").into()),
    };
    let offset = match query.one("offset") {
        None => None,
        // No byte has that number: the screen comes first.
        Some(word) if word == "now" => Some(u64::MAX),
        Some(word) => Some(word.parse().map_err(|_| Problem::field("offset", "has to be now, or a number"))?),
    };
    let scrollback = query.parse("scrollback", "a number of lines")?.unwrap_or(0);
    query.finish()?;
    let kind = Kind::Attach { offset, scrollback };
    stream(app, caller.actor()?, &id, Verb::Attach(role), kind, upgrade).await
}

/// A byte stream to an endpoint of a session (WebSocket)
#[utoipa::path(get, path = "/api/v1/sessions/{id}/tunnel/{endpoint}", tag = "streams",
    params(("id" = String, Path), ("endpoint" = String, Path)), responses((status = 101), (status = 409, body = Problem)))]
pub(super) async fn tunnel(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    Last(endpoint): Last,
    query: Query,
    upgrade: Upgrade,
) -> Result<Response, Refused> {
    query.finish()?;
    let upgrade = upgrade.map(|upgrade| upgrade.protocols(PROTOCOLS));
    let plain = upgrade
        .as_ref()
        .is_ok_and(|upgrade| upgrade.selected_protocol().is_some_and(|chosen| chosen == PROTOCOLS[0]));
    stream(app, caller.actor()?, &id, Verb::Tunnel, Kind::Tunnel { endpoint, plain }, upgrade).await
}
