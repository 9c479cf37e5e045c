//! Tokens, sign-in, redemption of link shares.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use wharf_protocol::api::{Page, RedeemRequest, Redeemed, Token, TokenRequest};
use wharf_protocol::{ErrorCode, Problem};

use crate::App;
use crate::extract::{Body, Last, Query, id};
use crate::guard::{COOKIE, Caller, base};
use crate::listen::Peer;
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

fn cookie(token: &str, app: &App) -> String {
    let secure = if app.base.starts_with("https") { "; Secure" } else { "" };
    format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict{secure}")
}

/// A sign-in: with a secret it is spent for the page's cookie, without one the owner gets a new one.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginRequest {
    /// The one-time secret.
    #[serde(default)]
    secret: Option<String>,
}

/// Sign in to the page
#[utoipa::path(post, path = "/api/v1/login", tag = "tokens", request_body = LoginRequest, responses((status = 200)))]
pub(super) async fn login(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    query: Query,
    Body(request): Body<LoginRequest>,
) -> Result<Response, Refused> {
    query.finish()?;
    let Some(secret) = request.secret else {
        let (secret, expires_at) = app.launcher.create_login(caller.actor()?)?;
        let url = format!("{}/#/login/{secret}", base(&app, peer, &headers));
        return Ok(Json(json!({ "url": url, "expires_at": expires_at })).into_response());
    };
    app.redeems.check(peer)?;
    let token = app.launcher.login(&secret).await.inspect_err(|_| app.redeems.failed(peer))?;
    let set = [(header::SET_COOKIE, cookie(token.token.as_deref().unwrap_or_default(), &app))];
    Ok((set, Json(json!({ "user": token.user, "expires_at": token.expires_at }))).into_response())
}

/// Turn a link share's secret into a guest token
#[utoipa::path(post, path = "/api/v1/redeem", tag = "tokens", request_body = RedeemRequest,
    responses((status = 200, body = Redeemed), (status = 404, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn redeem(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    query: Query,
    Body(request): Body<RedeemRequest>,
) -> Result<Response, Refused> {
    query.finish()?;
    app.redeems.check(peer)?;
    let redeemed = app.launcher.redeem(&request.secret).await.inspect_err(|_| app.redeems.failed(peer))?;
    let set = [(header::SET_COOKIE, cookie(&redeemed.token, &app))];
    Ok((set, Json(redeemed)).into_response())
}
