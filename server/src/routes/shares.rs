//! Who else may see or enter a session.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use wharf_protocol::api::{Access, Page, Share, ShareRequest};
use wharf_protocol::{ErrorCode, Problem};

use crate::App;
use crate::extract::{Body, Id, Last, Query, id};
use crate::guard::{Caller, base, page_base};
use crate::listen::Peer;
use crate::paging::Paging;
use crate::problem::Refused;

/// A session's shares
#[utoipa::path(get, path = "/api/v1/sessions/{id}/shares", tag = "shares",
    params(("id" = String, Path), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<Share>)))]
pub(super) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Id(session): Id,
    query: Query,
) -> Result<Json<Page<Share>>, Refused> {
    let paging = Paging::only(query)?;
    let items = app.launcher.shares(caller.actor()?, &session).await?;
    Ok(Json(paging.cut(items, |share| share.id.to_string())?))
}

/// Share a session
#[utoipa::path(post, path = "/api/v1/sessions/{id}/shares", tag = "shares", request_body = ShareRequest,
    params(("id" = String, Path)), responses((status = 201, body = Share), (status = 409, body = Problem)))]
pub(super) async fn share(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<Peer>,
    Id(session): Id,
    headers: HeaderMap,
    query: Query,
    Body(request): Body<ShareRequest>,
) -> Result<Response, Refused> {
    query.finish()?;
    // Only of a link the address is told.
    let base = match request.grantee.as_str() {
        "link" => page_base(&app, peer, &headers)?,
        _ => base(&app, peer, &headers),
    };
    let share = app.launcher.share(caller.actor()?, &session, request, &base).await?;
    Ok((StatusCode::CREATED, Json(share)).into_response())
}

/// Withdraw a share
#[utoipa::path(delete, path = "/api/v1/sessions/{id}/shares/{share}", tag = "shares",
    params(("id" = String, Path), ("share" = String, Path)), responses((status = 204), (status = 404, body = Problem)))]
pub(super) async fn unshare(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Id(session): Id,
    Last(share): Last,
    query: Query,
) -> Result<StatusCode, Refused> {
    query.finish()?;
    let share = id(&share, ErrorCode::UnknownShare)?;
    app.launcher.unshare(caller.actor()?, &session, &share).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the caller may do with a session
#[utoipa::path(get, path = "/api/v1/sessions/{id}/access", tag = "shares", params(("id" = String, Path)),
    responses((status = 200, body = Access), (status = 404, body = Problem)))]
pub(super) async fn access(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Id(session): Id,
    query: Query,
) -> Result<Json<Access>, Refused> {
    query.finish()?;
    Ok(Json(app.launcher.access(caller.actor()?, &session).await?))
}
