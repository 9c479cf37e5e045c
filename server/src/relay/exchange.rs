//! One request and its answer, over a tunnel of the session's link.
//!
//! Bodies are never held: each side is read as fast as the other takes it. A request that lasts counts as a
//! connection; a cut ends it wherever it is, also in the middle of a body.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, StatusCode, Version, header};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::task::JoinHandle;
use wharf_core::Entry;
use wharf_link::TunnelIo;
use wharf_protocol::monitor::StreamOpen;
use wharf_protocol::{ErrorCode, Problem};

use super::origin::Place;
use super::{Relayed, headers};
use crate::App;

/// A request that takes longer is a stream, and counts.
const LASTS: Duration = Duration::from_millis(500);

/// What a monitor says of a tunnel that it granted.
#[derive(Debug, Default, Deserialize)]
struct Granted {
    /// The port that it goes to.
    #[serde(default)]
    port: Option<u16>,
    /// The application's own paths begin with [`Place::path`].
    #[serde(default)]
    prefix: bool,
}

/// Ends a task with its owner.
struct Ended(JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What lives as long as the exchange.
struct Exchange {
    entry: Arc<Entry>,
    _driving: Ended,
    _counting: Ended,
}

fn failed(endpoint: &str, error: &dyn std::fmt::Display) -> Problem {
    let detail = format!("the application at {endpoint} did not answer as HTTP: {error}");
    Problem::new(ErrorCode::EndpointFailed, detail)
        .hint("see whether it runs and speaks HTTP there: wharf logs ID")
}

/// Asks the application, and hands its answer on.
pub(super) async fn exchange(
    app: &App,
    place: &Place,
    entry: Entry,
    mut request: Request,
) -> Result<Response, Problem> {
    entry.goes_to(&place.endpoint);
    let open = StreamOpen::Tunnel { endpoint: place.endpoint.clone() };
    let (stream, granted) = app.links.get(&place.session).await?.open(&open).await?;
    let granted: Granted = serde_json::from_value(granted).unwrap_or_default();
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .handshake(TokioIo::new(TunnelIo::new(stream)))
        .await
        .map_err(|error| failed(&place.endpoint, &error))?;
    let driving = Ended(tokio::spawn(async move { drop(connection.with_upgrades().await) }));
    let entry = Arc::new(entry);
    let lasting = Arc::clone(&entry);
    let counting = Ended(tokio::spawn(async move {
        tokio::time::sleep(LASTS).await;
        lasting.count();
    }));
    let exchange = Exchange { entry, _driving: driving, _counting: counting };

    let asked = headers::upgrade(request.headers()).is_some();
    let client = asked.then(|| hyper::upgrade::on(&mut request));
    let (mut parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    parts.uri = if granted.prefix { below(&place.path(), target).parse() } else { target.parse() }
        .unwrap_or_default();
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    headers::request(&mut parts.headers, place, if granted.prefix { "" } else { &place.prefix });
    let answered = tokio::select! {
        answered = sender.send_request(Request::from_parts(parts, body)) => answered,
        problem = exchange.entry.cut() => return Err(problem),
    };
    let mut response = answered.map_err(|error| failed(&place.endpoint, &error))?;
    let upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    headers::response(response.headers_mut(), place, granted.port, upgraded);
    if upgraded {
        let application = hyper::upgrade::on(&mut response);
        let client =
            client.ok_or_else(|| failed(&place.endpoint, &"a change of protocol nobody asked for"))?;
        exchange.entry.count();
        tokio::spawn(join(client, application, exchange, app.stop.clone()));
        let (parts, _) = response.into_parts();
        return Ok(shown(Response::from_parts(parts, Body::empty())));
    }
    let (parts, body) = response.into_parts();
    Ok(shown(Response::from_parts(parts, Body::new(Answer::new(body, exchange)))))
}

/// A request's target below a path; one that is there already stays as it is.
fn below(path: &str, target: &str) -> String {
    match target.strip_prefix(path) {
        Some(rest) if rest.is_empty() || rest.starts_with(['/', '?']) => target.to_owned(),
        _ => format!("{path}{target}"),
    }
}

fn shown(mut response: Response) -> Response {
    *response.version_mut() = Version::HTTP_11;
    response.extensions_mut().clear();
    response.extensions_mut().insert(Relayed);
    // Never guessed to be something else than the application said.
    response
        .headers_mut()
        .entry(header::X_CONTENT_TYPE_OPTIONS)
        .or_insert(HeaderValue::from_static("nosniff"));
    response
}

/// Two that have changed the protocol, as bytes, until one is done or has to go.
async fn join(
    client: OnUpgrade,
    application: OnUpgrade,
    exchange: Exchange,
    stop: tokio_util::sync::CancellationToken,
) {
    let relay = async {
        let Ok((client, application)) = tokio::try_join!(client, application) else { return };
        let (mut client, mut application) = (TokioIo::new(client), TokioIo::new(application));
        let _ = tokio::io::copy_bidirectional(&mut client, &mut application).await;
    };
    tokio::select! {
        () = relay => {}
        _ = exchange.entry.cut() => {}
        () = stop.cancelled() => {}
    }
}

type Cut = Pin<Box<dyn Future<Output = Problem> + Send>>;

/// An answer's body, with all that it needs to go on.
struct Answer {
    body: Incoming,
    cut: Cut,
    _exchange: Exchange,
}

impl Answer {
    fn new(body: Incoming, exchange: Exchange) -> Self {
        let entry = Arc::clone(&exchange.entry);
        Self { body, cut: Box::pin(async move { entry.cut().await }), _exchange: exchange }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.cut.as_mut().poll(context).is_ready() {
            // Not an end: a body that stops short is told from a whole one.
            let cut = io::Error::from(io::ErrorKind::ConnectionAborted);
            return Poll::Ready(Some(Err(axum::Error::new(cut))));
        }
        Pin::new(&mut self.body).poll_frame(context).map_err(axum::Error::new)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
