//! The routes, one group a file, and the description that is made from the same types.

mod administration;
mod logs;
mod sessions;
mod shares;
mod sign_in;
mod streams;
mod tokens;

use axum::Router;
use axum::middleware;
use axum::routing::{any, get, post};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use wharf_protocol::monitor::LINK_PATH;
use wharf_protocol::{ErrorCode, Problem};

use crate::problem::Refused;
use crate::{App, gateway, guard, page, relay};

#[derive(Debug, OpenApi)]
#[openapi(info(
    title = "Wharf",
    version = "1",
    description = "Interactive sessions on what a site already has."
))]
struct Document;

fn api() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(sessions::list, sessions::start))
        .routes(routes!(sessions::show))
        .routes(routes!(sessions::params, sessions::patch_params))
        .routes(routes!(sessions::terminate))
        .routes(routes!(sessions::purge))
        .routes(routes!(sessions::extend))
        .routes(routes!(sessions::history))
        .routes(routes!(sessions::disconnect))
        .routes(routes!(sessions::connections))
        .routes(routes!(streams::connect))
        .routes(routes!(streams::exec, streams::exec_stream))
        .routes(routes!(streams::attach))
        .routes(routes!(streams::tunnel))
        .routes(routes!(logs::logs))
        .routes(routes!(shares::list, shares::share))
        .routes(routes!(shares::unshare))
        .routes(routes!(shares::access))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(sign_in::login, sign_in::signed_in, sign_in::sign_out))
        .routes(routes!(sign_in::redeem))
        .routes(routes!(administration::templates))
        .routes(routes!(administration::template))
        .routes(routes!(administration::options))
        .routes(routes!(administration::backends))
        .routes(routes!(administration::nodes))
        .routes(routes!(administration::trace))
        .routes(routes!(administration::events))
}

/// The API's description.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    api().split_for_parts().1
}

/// Everything that a listener serves.
pub(crate) fn router(app: App) -> Router {
    let (api, _) = api().split_for_parts();
    let guarded = api
        .route("/api/v1/openapi.json", get(administration::openapi))
        .route("/metrics", get(administration::metrics))
        .route("/healthz", get(administration::healthz))
        .route("/readyz", get(administration::readyz))
        .route("/", get(page::file))
        .route("/favicon.ico", get(page::file))
        .route("/s/{id}/{endpoint}", any(relay::by_path))
        .route("/s/{id}/{endpoint}/", any(relay::by_path))
        .route("/s/{id}/{endpoint}/{*rest}", any(relay::by_path))
        .route("/open/{id}/{endpoint}", get(relay::ask).post(relay::confirm))
        .route("/redeem", post(sign_in::redeem))
        .route("/login", post(sign_in::login))
        .method_not_allowed_fallback(async || {
            Refused(Problem::new(ErrorCode::MethodNotAllowed, "this address does not take that method"))
        })
        .fallback(page::file)
        .layer(middleware::from_fn_with_state(app.clone(), guard::guard))
        .layer(middleware::map_response(page::confine));
    Router::new()
        .route(LINK_PATH, get(gateway::link))
        .merge(guarded)
        .layer(middleware::map_response(crate::problem::shape))
        .layer(middleware::from_fn_with_state(app.clone(), relay::by_host))
        .with_state(app)
}
