//! API tokens.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::StatusCode;
use wharf_protocol::api::{Page, Token, TokenRequest};
use wharf_protocol::{ErrorCode, Problem};

use crate::App;
use crate::extract::{Body, Last, Query, id};
use crate::guard::Caller;
use crate::paging::Paging;
use crate::problem::Refused;

/// All tokens
#[utoipa::path(get, path = "/api/v1/tokens", tag = "tokens",
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = Page<Token>)))]
pub(super) async fn list(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    query: Query,
) -> Result<Json<Page<Token>>, Refused> {
    let paging = Paging::only(query)?;
    let items = app.launcher.tokens(caller.actor()?).await?;
    Ok(Json(paging.cut(items, |token| token.id.to_string())?))
}

/// Make a token
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", request_body = TokenRequest,
    responses((status = 201, body = Token)))]
pub(super) async fn create(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    query: Query,
    Body(request): Body<TokenRequest>,
) -> Result<Response, Refused> {
    query.finish()?;
    let token = app.launcher.create_token(caller.actor()?, request).await?;
    Ok((StatusCode::CREATED, Json(token)).into_response())
}

/// Revoke a token
#[utoipa::path(delete, path = "/api/v1/tokens/{id}", tag = "tokens", params(("id" = String, Path)),
    responses((status = 204), (status = 404, body = Problem)))]
pub(super) async fn revoke(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Last(token): Last,
    query: Query,
) -> Result<StatusCode, Refused> {
    query.finish()?;
    let actor = caller.actor()?;
    let token = id(&token, ErrorCode::UnknownToken)?;
    app.launcher.revoke_token(actor, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}
