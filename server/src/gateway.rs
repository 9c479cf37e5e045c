//! Where monitors link.
//!
//! ```text
//! credential and claim ─ admit ─▶ 401 · 410 · 503, or 101 ─▶ Hello ─ register ─▶ Welcome or Refused ─▶ words both ways
//! one-use secret and claim ─ enrol ─▶ the same, or 101 ─▶ Enrolled, and that is all of that link
//! ```

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::sync::mpsc;
use wharf_core::link::ControlLink as _;
use wharf_core::{Admitted, LinkId, Refusal};
use wharf_link::{FrameError, LinkReader, LinkWriter};
use wharf_protocol::monitor::{
    Enrolled, LINK_HEADER, LINK_PATH, LauncherSays, LinkClaim, MonitorSays, OVER_HEADER, StreamOpen,
};
use wharf_protocol::{Dur, ErrorCode, Problem};

use crate::App;
use crate::links::{Link, Word};
use crate::problem::{Refused, not_found};

/// Until a monitor has to have introduced itself.
const HELLO: Duration = Duration::from_secs(10);
/// Between two pings; three without an answer are the end of a link.
const PING: Duration = Duration::from_secs(10);
/// Words a second that a monitor may say.
const RATE: u32 = 50;

/// The gateway's own route, for the monitors' socket.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route(LINK_PATH, get(link))
        .fallback(async || Refused(not_found()))
        .layer(axum::middleware::map_response(crate::problem::shape))
        .with_state(app)
}

/// The answer to a claim that is not let in.
fn refuse(app: &App, claim: &LinkClaim, refusal: Refusal) -> Response {
    let problem = match refusal {
        Refusal::Unauthorized => unauthorized(),
        Refusal::Over(message) => {
            let problem = Problem::new(ErrorCode::SessionEnded, message).status(410);
            return ([(OVER_HEADER, app.launcher.over(claim))], Refused(problem)).into_response();
        }
        Refusal::Later(after, message) => {
            Problem::new(ErrorCode::Unavailable, message).retry_after(after.as_secs().max(1))
        }
    };
    Refused(problem).into_response()
}

fn unauthorized() -> Problem {
    Problem::new(ErrorCode::Unauthenticated, "this needs a session's own credential")
}

/// What a monitor shows.
enum Paper<'a> {
    Credential(&'a str),
    /// It has nothing else yet.
    Secret(&'a str),
}

fn claim(request: &Request) -> Option<(Paper<'_>, LinkClaim)> {
    let headers = request.headers();
    let paper = match headers.get("authorization")?.to_str().ok()?.split_once(' ')? {
        ("Bearer", credential) => Paper::Credential(credential),
        ("Enrol", secret) => Paper::Secret(secret),
        _ => return None,
    };
    let claim = wharf_protocol::signed::decode(headers.get(LINK_HEADER)?.to_str().ok()?)?;
    Some((paper, serde_json::from_slice(&claim).ok()?))
}

/// `GET /monitor/v1/link`.
pub(crate) async fn link(
    State(app): State<App>,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
    request: Request,
) -> Response {
    let Some((paper, claim)) = claim(&request) else { return Refused(unauthorized()).into_response() };
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade.max_message_size(4 << 20).max_frame_size(4 << 20),
        Err(rejection) => {
            let malformed = Problem::new(ErrorCode::Malformed, rejection.to_string());
            let known = match paper {
                Paper::Credential(credential) => app.launcher.admit(credential, &claim).await.map(drop),
                // Never spent on who could not be answered.
                Paper::Secret(_) => Err(Refusal::Unauthorized),
            };
            return match known {
                Ok(()) => Refused(malformed).into_response(),
                Err(refusal) => refuse(&app, &claim, refusal),
            };
        }
    };
    match paper {
        Paper::Credential(credential) => match app.launcher.admit(credential, &claim).await {
            Ok(admitted) => upgrade.on_upgrade(move |socket| serve(app, admitted, socket)),
            Err(refusal) => refuse(&app, &claim, refusal),
        },
        Paper::Secret(secret) => match app.launcher.enrol(secret, &claim).await {
            Ok(enrolled) => upgrade.on_upgrade(move |socket| enrol(enrolled, socket)),
            Err(refusal) => refuse(&app, &claim, refusal),
        },
    }
}

/// Hands a bootstrap over; the monitor hangs up when it has it, and comes again with a credential.
async fn enrol(enrolled: Enrolled, socket: WebSocket) {
    let (opener, driver) = transport(socket);
    let driving = tokio::spawn(driver);
    let told = async {
        let (_, mut writer) = opener.open(&StreamOpen::Control).await.ok()?.split();
        writer.send_json(&LauncherSays::Enrolled(Box::new(enrolled))).await.ok()?;
        opener.gone().await;
        Some(())
    };
    let _ = tokio::time::timeout(HELLO, told).await;
    opener.close();
    let _ = driving.await;
}

/// Streams over a monitor's WebSocket, and what drives them.
fn transport(socket: WebSocket) -> (wharf_link::Opener, impl Future<Output = ()> + Send + 'static) {
    let (sink, stream) = socket.split();
    let messages = stream.map(|message| {
        message.map(|message| match message {
            Message::Binary(data) => Some(data),
            Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Close(_) => None,
        })
    });
    let sink = sink.with(|data: Bytes| async move { Ok::<_, axum::Error>(Message::Binary(data)) });
    wharf_link::mux::launcher(wharf_link::ws::bytes(messages, sink))
}

async fn serve(app: App, admitted: Admitted, socket: WebSocket) {
    let (opener, driver) = transport(socket);
    let driving = tokio::spawn(driver);
    let (link, words) = Link::new(opener.clone());
    if let Ok((id, reader, writer)) = greet(&app, admitted, &link).await {
        app.links.insert(&id.session, id.serial, Arc::clone(&link));
        converse(&app, &id, &link, reader, writer, words).await;
        app.links.remove(&id.session, id.serial);
        app.launcher.link_lost(&id).await;
    }
    opener.close();
    let _ = driving.await;
}

async fn greet(
    app: &App,
    admitted: Admitted,
    link: &Arc<Link>,
) -> Result<(LinkId, LinkReader, LinkWriter), FrameError> {
    let stream = tokio::time::timeout(HELLO, async {
        let mut stream = link.opener.open(&StreamOpen::Control).await.map_err(|_| FrameError::Over)?;
        let says = stream.reader.recv_json::<MonitorSays>().await?;
        Ok::<_, FrameError>((stream, says))
    });
    let (stream, says) = stream.await.map_err(|_| FrameError::Over)??;
    let (reader, mut writer) = stream.split();
    let MonitorSays::Hello(hello) = says else { return Err(FrameError::Bad("not a hello")) };
    let claim = hello.claim.clone();
    match app.launcher.register(admitted, *hello, Arc::clone(link) as _).await {
        Ok((id, welcome)) => {
            let welcome = LauncherSays::Welcome(Box::new(welcome));
            let welcomed = tokio::time::timeout(HELLO, writer.send_json(&welcome)).await;
            if !matches!(welcomed, Ok(Ok(()))) {
                app.launcher.link_lost(&id).await;
                return Err(FrameError::Over);
            }
            Ok((id, reader, writer))
        }
        Err(refusal) => {
            let (message, over, retry_after) = match refusal {
                Refusal::Unauthorized => ("not a good credential".to_owned(), None, Some(Dur::secs(30))),
                Refusal::Over(message) => (message, Some(app.launcher.over(&claim)), None),
                Refusal::Later(after, message) => (message, None, Some(Dur(after))),
            };
            let refused = LauncherSays::Refused { message, end: over.is_some(), over, retry_after };
            let refused = async {
                writer.send_json(&refused).await?;
                writer.close().await;
                Ok::<_, FrameError>(())
            };
            tokio::time::timeout(HELLO, refused).await.map_err(|_| FrameError::Over)??;
            // A moment for the word to arrive before the link goes.
            tokio::time::sleep(Duration::from_millis(200)).await;
            Err(FrameError::Over)
        }
    }
}

async fn converse(
    app: &App,
    id: &LinkId,
    link: &Arc<Link>,
    mut reader: LinkReader,
    mut writer: LinkWriter,
    mut words: mpsc::Receiver<Word>,
) {
    let speak = async {
        while let Some(word) = words.recv().await {
            match word {
                Word::Say(says) => {
                    if writer.send_json(&says).await.is_err() {
                        return;
                    }
                }
                Word::HangUp => {
                    writer.close().await;
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    return;
                }
            }
        }
    };
    let listen = async {
        let mut window = tokio::time::Instant::now();
        let mut said = 0;
        while let Ok(says) = reader.recv_json::<MonitorSays>().await {
            if window.elapsed() > Duration::from_secs(1) {
                (window, said) = (tokio::time::Instant::now(), 0);
            }
            said += 1;
            if said > RATE {
                tracing::warn!(session = %id.session, "a monitor says too much: its link is closed");
                return;
            }
            match says {
                MonitorSays::Pong { nonce } => link.pong(nonce),
                MonitorSays::Exited(report) => {
                    // Fetching what was printed must not keep its pongs waiting.
                    let (launcher, id) = (app.launcher.clone(), id.clone());
                    tokio::spawn(
                        async move { launcher.monitor_says(&id, MonitorSays::Exited(report)).await },
                    );
                }
                other => app.launcher.monitor_says(id, other).await,
            }
        }
    };
    let watch = async {
        let mut missed = 0;
        let mut next = tokio::time::Instant::now();
        while missed < 3 {
            next += PING;
            // One that answers at once is asked again at the beat, one that does not has had its time then.
            missed = if link.ping(PING).await { 0 } else { missed + 1 };
            tokio::time::sleep_until(next).await;
        }
    };
    tokio::select! {
        () = speak => {}
        () = listen => {}
        () = watch => {}
        () = link.opener.gone() => {}
        () = app.stop.cancelled() => {}
    }
}
