//! A monitor played by the test: it links as a real one does and answers each stream as it is told.

use std::future::Future;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_util::sync::{CancellationToken, DropGuard};
use wharf_link::{LinkReader, LinkStream, LinkWriter};
use wharf_protocol::monitor::{
    Bootstrap, Hello, LINK_HEADER, LINK_PATH, LauncherSays, LinkClaim, MonitorSays, PROTOCOL, StreamOpen,
};

use crate::launcher::Running;

/// A linked monitor; dropping it cuts its link.
#[derive(Debug)]
pub struct Fake {
    _link: DropGuard,
}

pub fn bootstrap(wharf: &Running, id: &str) -> Bootstrap {
    let path = wharf.dir.path().join("sessions").join(id).join("mount/bootstrap.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn claim(papers: &Bootstrap) -> LinkClaim {
    LinkClaim {
        protocol: PROTOCOL,
        session: papers.session.clone(),
        attempt: 1,
        restarts: 0,
        number: None,
        resume: None,
        nonce: "bm9uY2U".to_owned(),
        job_id: Some("1".to_owned()),
    }
}

type Socket = tokio_tungstenite::WebSocketStream<TcpStream>;

/// Dials; a refusal is its status.
pub async fn dial(wharf: &Running, papers: &Bootstrap) -> Result<Socket, u16> {
    let mut request = format!("ws://{}{LINK_PATH}", wharf.at).into_client_request().unwrap();
    let claim = wharf_protocol::signed::encode(&serde_json::to_vec(&claim(papers)).unwrap());
    let headers = request.headers_mut();
    headers.insert("authorization", format!("Bearer {}", papers.credential).parse().unwrap());
    headers.insert(LINK_HEADER, claim.parse().unwrap());
    let socket = TcpStream::connect(wharf.at).await.unwrap();
    match tokio_tungstenite::client_async(request, socket).await {
        Ok((link, _)) => Ok(link),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("no link: {error}"),
    }
}

impl Fake {
    /// Links and registers; each stream that a user opens is handed to `serve` with what it is for.
    pub async fn link<F, S>(wharf: &Running, id: &str, serve: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(StreamOpen, LinkReader, LinkWriter) -> F + Send + Sync + Copy + 'static,
    {
        let papers = bootstrap(wharf, id);
        let (sink, stream) = dial(wharf, &papers).await.expect("a link").split();
        let messages = stream.map(|message| {
            message.map(|message| if let Message::Binary(data) = message { Some(data) } else { None })
        });
        let sink = sink.with(|data: Bytes| async move { Ok::<_, Error>(Message::Binary(data)) });
        let mut acceptor = wharf_link::mux::monitor(wharf_link::ws::bytes(messages, sink));
        let token: CancellationToken = acceptor.token();
        let mut control = acceptor.accept().await.expect("the control stream");
        assert_eq!(control.reader.recv_json::<StreamOpen>().await.unwrap(), StreamOpen::Control);
        let hello = Hello {
            claim: claim(&papers),
            version: "0".to_owned(),
            snapshot: papers.snapshot,
            host: "there".to_owned(),
            pid: None,
            endpoints: Vec::new(),
            exited: None,
        };
        control.writer.send_json(&MonitorSays::Hello(Box::new(hello))).await.unwrap();
        match control.reader.recv_json::<LauncherSays>().await.unwrap() {
            LauncherSays::Welcome(_) => {}
            other => panic!("not welcome: {other:?}"),
        }
        tokio::spawn(talk(control));
        tokio::spawn(async move {
            while let Some(mut stream) = acceptor.accept().await {
                tokio::spawn(async move {
                    let what = stream.reader.recv_json::<StreamOpen>().await.unwrap();
                    let (reader, writer) = stream.split();
                    serve(what, reader, writer).await;
                });
            }
        });
        wharf.until(id, |session| session["state"] == "running" && session["link"] == "connected").await;
        Self { _link: token.drop_guard() }
    }
}

/// Answers pings.
async fn talk(mut control: LinkStream) {
    while let Ok(says) = control.reader.recv_json::<LauncherSays>().await {
        if let LauncherSays::Ping { nonce } = says
            && control.writer.send_json(&MonitorSays::Pong { nonce }).await.is_err()
        {
            return;
        }
    }
}
