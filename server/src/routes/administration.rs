//! Templates, backends, nodes, traces, events, health and figures.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use futures_util::{Stream, StreamExt as _};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio_stream::wrappers::ReceiverStream;
use wharf_core::FeedItem;
use wharf_protocol::Problem;
use wharf_protocol::api::{BackendStatus, Health, Node, Page, Trace};
use wharf_protocol::session::Params;
use wharf_protocol::template::{TemplateDetail, TemplateSummary};

use crate::App;
use crate::extract::{Body, Last, Query};
use crate::guard::Caller;
use crate::paging::Paging;
use crate::problem::Refused;

/// All templates
#[utoipa::path(get, path = "/api/v1/templates", tag = "templates", 
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<TemplateSummary>)))]
pub(super) async fn templates(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    query: Query,
) -> Result<Json<Page<TemplateSummary>>, Refused> {
    let paging = Paging::only(query)?;
    let items = app.launcher.templates(caller.actor()?).await?;
    Ok(Json(paging.cut(items, |template| template.name.clone())?))
}

/// One template: its parameters, its findings
#[utoipa::path(get, path = "/api/v1/templates/{name}", tag = "templates", params(("name" = String, Path)),
    responses((status = 200, body = TemplateDetail), (status = 404, body = Problem)))]
pub(super) async fn template(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Last(name): Last,
    query: Query,
) -> Result<Json<TemplateDetail>, Refused> {
    query.finish()?;
    Ok(Json(app.launcher.template(caller.actor()?, &name).await?))
}

/// Parameters so far.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OptionsRequest {
    /// By name.
    #[serde(default)]
    #[schema(value_type = Object)]
    params: Params,
}

/// Choices for a template's parameters
#[utoipa::path(post, path = "/api/v1/templates/{name}/options", tag = "templates", request_body = OptionsRequest,
    params(("name" = String, Path)), responses((status = 200, body = Object)))]
pub(super) async fn options(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
    query: Query,
    Body(request): Body<OptionsRequest>,
) -> Result<Json<Value>, Refused> {
    query.finish()?;
    Ok(Json(app.launcher.options(caller.actor()?, &name, request.params).await?))
}

/// The backends' health
#[utoipa::path(get, path = "/api/v1/backends", tag = "administration", 
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<BackendStatus>)))]
pub(super) async fn backends(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    query: Query,
) -> Result<Json<Page<BackendStatus>>, Refused> {
    let paging = Paging::only(query)?;
    let items = app.launcher.backends(caller.actor()?).await?;
    Ok(Json(paging.cut(items, |backend| backend.name.clone())?))
}

/// The launchers
#[utoipa::path(get, path = "/api/v1/nodes", tag = "administration", 
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<Node>)))]
pub(super) async fn nodes(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    query: Query,
) -> Result<Json<Page<Node>>, Refused> {
    let paging = Paging::only(query)?;
    let items = app.launcher.nodes(caller.actor()?)?;
    Ok(Json(paging.cut(items, |node| node.name.clone())?))
}

/// One hook run in full
#[utoipa::path(get, path = "/api/v1/traces/{id}", tag = "administration", params(("id" = String, Path)),
    responses((status = 200, body = Trace), (status = 404, body = Problem)))]
pub(super) async fn trace(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Last(id): Last,
    query: Query,
) -> Result<Json<Trace>, Refused> {
    query.finish()?;
    Ok(Json(app.launcher.trace(caller.actor()?, &id).await?))
}

/// Changes of sessions as they happen (server-sent events)
#[utoipa::path(get, path = "/api/v1/events", tag = "events", params(("Last-Event-ID" = Option<String>, Header)),
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub(super) async fn events(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    query: Query,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refused> {
    query.finish()?;
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap_or("?"));
    let items = ReceiverStream::new(app.launcher.events(caller.actor()?, last)).map(|item| {
        let event = match item {
            FeedItem::Event { id, event } => Event::default().id(id).event("session").data(event),
            FeedItem::Reset { id } => Event::default().id(id).event("reset").data("{}"),
        };
        Ok(event)
    });
    let items = items.take_until(app.stop.cancelled_owned());
    Ok(Sse::new(items).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

pub(super) async fn openapi() -> Response {
    ([("content-type", "application/json")], crate::openapi()).into_response()
}

pub(super) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok".to_owned() })
}

pub(super) async fn readyz(State(app): State<App>) -> Response {
    if app.launcher.is_ready() {
        Json(Health { status: "ok".to_owned() }).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status: "stopping".to_owned() })).into_response()
    }
}

/// Figures in Prometheus's text form.
pub(super) async fn metrics(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Refused> {
    let figures = app.launcher.figures(caller.actor()?)?;
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, rows: Vec<(String, String)>| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in rows {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let sessions = figures.sessions.iter().map(|(template, state, count)| {
        let state = serde_json::to_value(state).unwrap_or_default();
        (format!("{{template=\"{template}\",state={state}}}"), count.to_string())
    });
    family("wharf_sessions", "gauge", "Live sessions.", sessions.collect());
    family("wharf_links", "gauge", "Monitors linked now.", vec![(String::new(), figures.links.to_string())]);
    family(
        "wharf_streams",
        "gauge",
        "Users' streams open now.",
        vec![(String::new(), figures.streams.to_string())],
    );
    let hooks = |value: fn(&(String, &'static str, String, u64, f64)) -> String| {
        let rows = figures.hooks.iter().map(move |row| {
            let (template, hook, outcome, _, _) = row;
            (format!("{{template=\"{template}\",hook=\"{hook}\",outcome=\"{outcome}\"}}"), value(row))
        });
        rows.collect::<Vec<_>>()
    };
    family("wharf_hook_runs_total", "counter", "Hook runs.", hooks(|row| row.3.to_string()));
    family("wharf_hook_seconds_total", "counter", "Seconds spent in hooks.", hooks(|row| row.4.to_string()));
    let starts =
        figures.starts.iter().map(|(name, count)| (format!("{{template=\"{name}\"}}"), count.to_string()));
    family("wharf_starts_total", "counter", "Sessions started.", starts.collect());
    let ends =
        figures.ends.iter().map(|(cause, count)| (format!("{{cause=\"{cause}\"}}"), count.to_string()));
    family("wharf_ends_total", "counter", "Sessions ended.", ends.collect());
    Ok(([("content-type", "text/plain; version=0.0.4")], text).into_response())
}
