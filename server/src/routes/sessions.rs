//! Sessions: start, list, show, params, terminate, purge, extend, history, disconnect.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use wharf_core::actor::Actor;
use wharf_core::{ListFilter, WaitFor};
use wharf_protocol::api::{
    DisconnectRequest, Disconnected, ExtendRequest, Extended, HistoryEntry, OpenStream, Page, ParamsAnswer,
    PurgeRequest, StartRequest, TerminateRequest,
};
use wharf_protocol::{Problem, Session, SessionId, State as SessionState};

use crate::App;
use crate::extract::{Body, Id, Query};
use crate::guard::Caller;
use crate::paging::Paging;
use crate::problem::Refused;

/// Longest wait of one request.
const MOST_WAIT: Duration = Duration::from_secs(3600);

fn wait_for(text: &str) -> Option<WaitFor> {
    match text {
        "submitted" => Some(WaitFor::Submitted),
        "running" => Some(WaitFor::Running),
        "ended" => Some(WaitFor::Ended),
        _ => None,
    }
}

/// What `wait` and `timeout` ask for.
fn waiting(query: &mut Query) -> Result<Option<(WaitFor, Duration)>, Problem> {
    let timeout = query.duration("timeout")?.unwrap_or(Duration::from_secs(30)).min(MOST_WAIT);
    let wrong = || Problem::field("wait", "has to be submitted, running or ended");
    query.one("wait").map(|word| Ok((wait_for(&word).ok_or_else(wrong)?, timeout))).transpose()
}

/// The session when it has come so far, or as it is: at the timeout, and when the launcher stops, which waits for nobody's
/// waiting.
async fn waited(
    app: &App,
    actor: &Actor,
    id: &SessionId,
    what: WaitFor,
    timeout: Duration,
) -> Result<Session, Problem> {
    tokio::select! {
        session = app.launcher.wait(actor, id, what, timeout) => session,
        () = app.stop.cancelled() => app.launcher.get(actor, id).await,
    }
}

fn states(query: &mut Query) -> Result<Vec<SessionState>, Problem> {
    query
        .all("state")
        .iter()
        .flat_map(|text| text.split(','))
        .map(|word| {
            serde_json::from_value(Value::from(word))
                .map_err(|_| Problem::field("state", "has to be pending, running or ended"))
        })
        .collect()
}

/// A page of sessions, newest first
#[utoipa::path(get, path = "/api/v1/sessions", tag = "sessions",
    params(("state" = Option<String>, Query), ("template" = Option<String>, Query), ("owner" = Option<String>, Query),
        ("name" = Option<String>, Query), ("tag" = Option<String>, Query, description = "K=V; repeats as AND"),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<Session>), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    mut query: Query,
) -> Result<Json<Page<Session>>, Refused> {
    let actor = caller.actor()?;
    let tags = query.all("tag").into_iter().map(|tag| {
        let pair = tag.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        pair.ok_or_else(|| Problem::field("tag", "has to be KEY=VALUE"))
    });
    let filter = ListFilter {
        tags: tags.collect::<Result<_, _>>()?,
        states: states(&mut query)?,
        template: query.one("template"),
        owner: query.one("owner"),
        name: query.one("name"),
        limit: query.parse("limit", "a number from 1 to 500")?.unwrap_or(100),
        cursor: query.one("cursor"),
    };
    query.finish()?;
    Ok(Json(app.launcher.list(actor, filter).await?))
}

/// Start a session
#[utoipa::path(post, path = "/api/v1/sessions", tag = "sessions", request_body = StartRequest,
    params(("Idempotency-Key" = Option<String>, Header),
        ("wait" = Option<String>, Query, description = "submitted, running or ended: it is answered then, or at the timeout"),
        ("timeout" = Option<String>, Query)),
    responses((status = 201, body = Session), (status = 200, body = Session, description = "The session of an earlier request with this key"),
        (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn start(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    mut query: Query,
    Body(request): Body<StartRequest>,
) -> Result<Response, Refused> {
    let actor = caller.actor()?;
    let waiting = waiting(&mut query)?;
    query.finish()?;
    let key = match headers.get("idempotency-key") {
        Some(key) => Some(
            key.to_str()
                .map_err(|_| {
                    Problem::field("Idempotency-Key", "has to be 1 to 255 visible ASCII characters")
                })?
                .to_owned(),
        ),
        None => None,
    };
    let started = app.launcher.start(actor, request, key).await?;
    let status = if started.created { StatusCode::CREATED } else { StatusCode::OK };
    let location = [("location", format!("/api/v1/sessions/{}", started.session.id))];
    let session = match waiting {
        // It has been started, whatever becomes of it meanwhile.
        Some((what, timeout)) => {
            waited(&app, actor, &started.session.id, what, timeout).await.unwrap_or(started.session)
        }
        None => started.session,
    };
    Ok((status, location, Json(session)).into_response())
}

/// One session, at a state or at the timeout
#[utoipa::path(get, path = "/api/v1/sessions/{id}", tag = "sessions",
    params(("id" = String, Path), ("wait" = Option<String>, Query, description = "submitted, running or ended"),
        ("timeout" = Option<String>, Query)),
    responses((status = 200, body = Session), (status = "4XX", body = Problem, content_type = "application/problem+json")))]
pub(super) async fn show(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    mut query: Query,
) -> Result<Json<Session>, Refused> {
    let actor = caller.actor()?;
    let waiting = waiting(&mut query)?;
    query.finish()?;
    Ok(Json(match waiting {
        None => app.launcher.get(actor, &id).await?,
        Some((what, timeout)) => waited(&app, actor, &id, what, timeout).await?,
    }))
}

/// A session's parameters
#[utoipa::path(get, path = "/api/v1/sessions/{id}/params", tag = "sessions", params(("id" = String, Path)),
    responses((status = 200, body = ParamsAnswer)))]
pub(super) async fn params(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    query: Query,
) -> Result<Json<ParamsAnswer>, Refused> {
    query.finish()?;
    Ok(Json(app.launcher.params(caller.actor()?, &id).await?))
}

/// Change a session's parameters by a JSON merge patch
#[utoipa::path(patch, path = "/api/v1/sessions/{id}/params", tag = "sessions",
    params(("id" = String, Path), ("If-Match" = Option<String>, Header, description = "params_rev")),
    request_body = Object, responses((status = 200, body = ParamsAnswer)))]
pub(super) async fn patch_params(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    headers: HeaderMap,
    query: Query,
    Body(patch): Body<Value>,
) -> Result<Json<ParamsAnswer>, Refused> {
    let actor = caller.actor()?;
    query.finish()?;
    let if_match = match headers.get("if-match").map(|value| value.to_str().unwrap_or_default().trim()) {
        None | Some("*") => None,
        Some(text) => Some(
            text.trim_matches('"')
                .parse()
                .map_err(|_| Problem::field("If-Match", "has to be the params_rev"))?,
        ),
    };
    Ok(Json(app.launcher.patch_params(actor, &id, patch, if_match).await?))
}

/// End a session
#[utoipa::path(post, path = "/api/v1/sessions/{id}/terminate", tag = "sessions", request_body = TerminateRequest,
    params(("id" = String, Path), ("wait" = Option<String>, Query, description = "How long to wait for the end")),
    responses((status = 200, body = Session), (status = 202, body = Session), (status = 502, body = Problem)))]
pub(super) async fn terminate(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    mut query: Query,
    Body(request): Body<TerminateRequest>,
) -> Result<Response, Refused> {
    let actor = caller.actor()?;
    let wait = query.duration("wait")?.unwrap_or_default().min(MOST_WAIT);
    query.finish()?;
    let terminated = app.launcher.terminate(actor, &id, request, wait).await?;
    let status = if terminated.over { StatusCode::OK } else { StatusCode::ACCEPTED };
    Ok((status, Json(terminated.session)).into_response())
}

/// Forget a session that cannot be reached
#[utoipa::path(post, path = "/api/v1/sessions/{id}/purge", tag = "sessions", request_body = PurgeRequest,
    params(("id" = String, Path)), responses((status = 204), (status = 409, body = Problem), (status = 503, body = Problem)))]
pub(super) async fn purge(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    query: Query,
    Body(PurgeRequest {}): Body<PurgeRequest>,
) -> Result<StatusCode, Refused> {
    query.finish()?;
    app.launcher.purge(caller.actor()?, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give a session's job more time
#[utoipa::path(post, path = "/api/v1/sessions/{id}/extend", tag = "sessions", request_body = ExtendRequest,
    params(("id" = String, Path)), responses((status = 200, body = Extended), (status = 409, body = Problem)))]
pub(super) async fn extend(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    query: Query,
    Body(request): Body<ExtendRequest>,
) -> Result<Json<Extended>, Refused> {
    query.finish()?;
    let ends_at = app.launcher.extend(caller.actor()?, &id, request.by.0).await?;
    Ok(Json(Extended { ends_at }))
}

/// What happened to a session
#[utoipa::path(get, path = "/api/v1/sessions/{id}/history", tag = "sessions",
    params(("id" = String, Path), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<HistoryEntry>)))]
pub(super) async fn history(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    query: Query,
) -> Result<Json<Page<HistoryEntry>>, Refused> {
    let paging = Paging::only(query)?;
    Ok(Json(paging.cut_grown(app.launcher.history(caller.actor()?, &id).await?)?))
}

/// Who is in a session, for its owner and read tokens
#[utoipa::path(get, path = "/api/v1/sessions/{id}/connections", tag = "sessions",
    params(("id" = String, Path), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<OpenStream>)))]
pub(super) async fn connections(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    query: Query,
) -> Result<Json<Page<OpenStream>>, Refused> {
    let paging = Paging::only(query)?;
    Ok(Json(paging.cut_grown(app.launcher.open_streams(caller.actor()?, &id).await?)?))
}

/// Drop all users, or one
#[utoipa::path(post, path = "/api/v1/sessions/{id}/disconnect", tag = "sessions", request_body = DisconnectRequest,
    params(("id" = String, Path)), responses((status = 200, body = Disconnected)))]
pub(super) async fn disconnect(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Id(id): Id,
    query: Query,
    Body(request): Body<DisconnectRequest>,
) -> Result<Json<Disconnected>, Refused> {
    query.finish()?;
    let disconnected = app.launcher.disconnect(caller.actor()?, &id, request.user.as_deref()).await?;
    Ok(Json(Disconnected { disconnected }))
}
