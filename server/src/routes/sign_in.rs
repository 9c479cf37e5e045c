//! The page's sign-in, and the redemption of link shares: each sets the page's cookie.
//!
//! Secrets come in bodies only, never in an address: the page has them in its fragment, which no browser sends.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode, header};
use wharf_core::clock::{Clock as _, SystemClock};
use wharf_protocol::api::{LoginAddress, LoginRequest, RedeemRequest, Redeemed, SignedIn};
use wharf_protocol::{Problem, Time};

use crate::App;
use crate::extract::{Body, Query};
use crate::guard::{Caller, base, bearer, cookie, cookie_name, page_base};
use crate::listen::Peer;
use crate::problem::Refused;
use crate::relay::is_shared;

/// Longest life of a cookie, in seconds: 30 days.
const LONGEST: i64 = 30 * 24 * 3600;

/// Keeps `token` in the browser until then; an empty one is forgotten at once.
fn keep(app: &App, peer: Peer, headers: &HeaderMap, token: &str, until: Option<Time>) -> String {
    let left = until.map_or(LONGEST, |until| (until.millis() - SystemClock.now().millis()) / 1000);
    let age = if token.is_empty() { 0 } else { left.clamp(0, LONGEST) };
    let secure = if base(app, peer, headers).starts_with("https") { "; Secure" } else { "" };
    let name = cookie_name(app, headers);
    format!("{name}={token}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
}

/// What the page has to show beside that cookie, where applications share its origin.
async fn page_token(
    app: &App,
    peer: Peer,
    headers: &HeaderMap,
    token: &str,
) -> Result<Option<String>, Problem> {
    if is_shared(app, &base(app, peer, headers)) {
        return app.launcher.page_token(token).await.map(Some);
    }
    Ok(None)
}

/// Sign in to the page, or make an address that does
///
/// With `secret` or `token` it is spent for the page's cookie; with neither the owner gets a one-time address.
#[utoipa::path(post, path = "/api/v1/login", tag = "tokens", request_body = LoginRequest,
    responses((status = 200, body = SignedIn, description = "With neither: LoginAddress"), (status = 401, body = Problem),
        (status = 404, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn login(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    query: Query,
    Body(request): Body<LoginRequest>,
) -> Result<Response, Refused> {
    query.finish()?;
    let token = match (request.secret, request.token) {
        (None, None) => {
            let base = page_base(&app, peer, &headers)?;
            let (secret, expires_at) = app.launcher.create_login(caller.actor()?)?;
            return Ok(
                Json(LoginAddress { url: format!("{base}/#/login/{secret}"), expires_at }).into_response()
            );
        }
        (Some(_), Some(_)) => return Err(Problem::field("token", "give secret or token, not both").into()),
        (Some(secret), None) => {
            let token = app.redeems.attempt(peer, app.launcher.login(&secret)).await?;
            token.token.unwrap_or_default()
        }
        (None, Some(token)) => {
            app.redeems.attempt(peer, app.launcher.signed_in(&token)).await?;
            token
        }
    };
    let mut signed_in = app.launcher.signed_in(&token).await?;
    signed_in.page_token = page_token(&app, peer, &headers, &token).await?;
    let set = [(header::SET_COOKIE, keep(&app, peer, &headers, &token, signed_in.expires_at))];
    Ok((set, Json(signed_in)).into_response())
}

/// Who is signed in
#[utoipa::path(get, path = "/api/v1/login", tag = "tokens", responses((status = 200, body = SignedIn), (status = 401, body = Problem)))]
pub(super) async fn signed_in(
    State(app): State<App>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    query: Query,
) -> Result<Json<SignedIn>, Refused> {
    query.finish()?;
    let actor = caller.actor()?;
    Ok(Json(match bearer(&headers).or_else(|| cookie(&app, &headers)) {
        Some(token) if actor.token.is_some() => app.launcher.signed_in(token).await?,
        _ => app.launcher.signed_in_as(actor),
    }))
}

/// Sign out of the page
#[utoipa::path(delete, path = "/api/v1/login", tag = "tokens", responses((status = 204), (status = 401, body = Problem)))]
pub(super) async fn sign_out(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Refused> {
    query.finish()?;
    if let Some(token) = bearer(&headers).or_else(|| cookie(&app, &headers)) {
        app.launcher.sign_out(token).await?;
    }
    let forget = [(header::SET_COOKIE, keep(&app, peer, &headers, "", None))];
    Ok((StatusCode::NO_CONTENT, forget).into_response())
}

/// Turn a link share's secret into a guest token
#[utoipa::path(post, path = "/api/v1/redeem", tag = "tokens", request_body = RedeemRequest,
    responses((status = 200, body = Redeemed), (status = 404, body = Problem), (status = 429, body = Problem)))]
pub(super) async fn redeem(
    State(app): State<App>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    query: Query,
    Body(request): Body<RedeemRequest>,
) -> Result<Response, Refused> {
    query.finish()?;
    let mut redeemed = app.redeems.attempt(peer, app.launcher.redeem(&request.secret)).await?;
    redeemed.page_token = page_token(&app, peer, &headers, &redeemed.token).await?;
    let set = [(header::SET_COOKIE, keep(&app, peer, &headers, &redeemed.token, redeemed.expires_at))];
    Ok((set, Json(redeemed)).into_response())
}
