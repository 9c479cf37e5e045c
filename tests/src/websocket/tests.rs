use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::UnixListener;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::*;
use crate::http::Address;

#[test]
fn it_speaks_with_a_server_of_the_same_words() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("sock");
    let _inside = crate::runtime().enter();
    let listener = UnixListener::bind(&path).expect("a socket");
    crate::runtime().spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        let mut socket = tokio_tungstenite::accept_async(stream).await.expect("an upgrade");
        let first = socket.next().await.expect("a message").expect("a good one");
        assert!(first.is_text());
        let second = socket.next().await.expect("a message").expect("a good one");
        socket.send(Message::binary([&[2], &second.into_data()[1..]].concat())).await.expect("a client");
        socket.send(Message::text(r#"{"exit":{"code":3,"signal":null}}"#)).await.expect("a client");
        let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        socket.close(Some(close)).await.expect("a client");
    });
    let http = Http::new(Address::Unix(path));
    let mut socket = WebSocket::open(&http, "/sessions/x/exec").expect("an upgrade");
    assert!(socket.control(&json!({"start": {"argv": ["x"]}})));
    assert!(socket.input(b"hello"));
    let end = socket.finish(Duration::from_secs(5));
    assert_eq!((end.stderr.as_slice(), end.closed), (&b"hello"[..], Some(1000)));
    assert_eq!(end.last()["exit"]["code"], 3);
}
