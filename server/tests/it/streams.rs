//! Users' streams, with a monitor that the test plays.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use wharf_link::{Frame, LinkReader, LinkWriter};
use wharf_protocol::monitor::{StreamOpen, StreamReply};
use wharf_protocol::stream::{Channel, Exit, ServerControl};

use crate::launcher::Running;
use crate::monitor::Fake;

/// Echoes input on channel 0 (tunnels) or 1; `exit N` ends with that code; end of input is answered in kind.
async fn echo(what: StreamOpen, mut reader: LinkReader, mut writer: LinkWriter) {
    let answer = match &what {
        StreamOpen::Connect => {
            json!([{"name": "web", "kind": "http", "port": 1}, {"name": "terminal", "kind": "tty"}])
        }
        _ => Value::Null,
    };
    writer.send_json(&StreamReply::Ok(answer)).await.unwrap();
    let tunnel = matches!(what, StreamOpen::Tunnel { .. });
    let back = if tunnel { Channel::Stdin } else { Channel::Stdout };
    let Ok(seven) = serde_json::to_value(Exit { code: Some(7), signal: None }) else { return };
    while let Ok(Some(frame)) = reader.recv().await {
        match frame {
            Frame::Data(_, data) => {
                if writer.send(Frame::Data(back, data)).await.is_err() {
                    return;
                }
            }
            Frame::Control(text) => {
                let control: Value = serde_json::from_slice(&text).unwrap();
                if control["eof"] != true {
                    continue;
                }
                if tunnel {
                    let late = Bytes::from_static(b"late");
                    writer.send(Frame::Data(back, late)).await.unwrap();
                    writer.send_json(&ServerControl::Eof(true)).await.unwrap();
                    writer.close().await;
                } else {
                    writer.send_json(&json!({"exit": seven})).await.unwrap();
                }
                return;
            }
        }
    }
}

type Client = tokio_tungstenite::WebSocketStream<TcpStream>;

async fn open(wharf: &Running, path: &str) -> Result<Client, u16> {
    let mut request = format!("ws://{}/api/v1/sessions/{path}", wharf.at).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {}", wharf.full).parse().unwrap());
    let socket = TcpStream::connect(wharf.at).await.unwrap();
    match tokio_tungstenite::client_async(request, socket).await {
        Ok((client, _)) => Ok(client),
        Err(Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("no stream: {error}"),
    }
}

async fn say(client: &mut Client, control: Value) {
    client.send(Message::text(control.to_string())).await.unwrap();
}

/// The next message that is not a ping, as `(text, channel and data, close code)`.
async fn next(client: &mut Client) -> (Option<Value>, Option<Vec<u8>>, Option<u16>) {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(10), client.next()).await.expect("in time");
        match message.expect("a message").expect("a good one") {
            Message::Text(text) => return (serde_json::from_str(&text).ok(), None, None),
            Message::Binary(data) => return (None, Some(data.to_vec()), None),
            Message::Close(frame) => return (None, None, Some(frame.expect("a code").code.into())),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

async fn refused(client: &mut Client, code: &str) {
    let (text, _, _) = next(client).await;
    assert_eq!(text.unwrap()["error"]["code"], code);
    assert_eq!(next(client).await.2, Some(1008));
}

#[tokio::test]
async fn exec_by_stream() {
    let wharf = Running::begin().await;
    let id = wharf.start().await;
    assert_eq!(open(&wharf, &format!("{id}/exec")).await.err(), Some(409));
    let _fake = Fake::link(&wharf, &id, echo).await;
    let mut client = open(&wharf, &format!("{id}/exec")).await.unwrap();
    say(&mut client, json!({"start": {"argv": ["cat"]}})).await;
    client.send(Message::binary(&b"\0hello"[..])).await.unwrap();
    assert_eq!(next(&mut client).await.1.unwrap(), b"\x01hello");
    say(&mut client, json!({"eof": true})).await;
    assert_eq!(next(&mut client).await.0.unwrap(), json!({"exit": {"code": 7, "signal": null}}));
    assert_eq!(next(&mut client).await.2, Some(1000));
}

#[tokio::test]
async fn messages_that_cannot_be_understood() {
    let wharf = Running::begin().await;
    let id = wharf.start().await;
    let _fake = Fake::link(&wharf, &id, echo).await;
    let path = format!("{id}/exec");
    for first in [
        json!({"resize": {"rows": 1, "cols": 1}}),
        json!({"start": {"argv": []}}),
        json!({"start": {"argv": ["x"], "rows": 1001, "cols": 80}}),
        json!({"dance": true}),
    ] {
        let mut client = open(&wharf, &path).await.unwrap();
        say(&mut client, first).await;
        refused(&mut client, "bad_message").await;
    }
    for second in [
        json!({"signal": "DANCE"}),
        json!({"resize": {"rows": 0, "cols": 1}}),
        json!({"start": {"argv": ["x"]}}),
    ] {
        let mut client = open(&wharf, &path).await.unwrap();
        say(&mut client, json!({"start": {"argv": ["x"]}})).await;
        say(&mut client, second).await;
        refused(&mut client, "bad_message").await;
    }
    let mut client = open(&wharf, &path).await.unwrap();
    say(&mut client, json!({"start": {"argv": ["x"]}})).await;
    client.send(Message::binary(&b"\x05x"[..])).await.unwrap();
    refused(&mut client, "bad_message").await;
    let mut client = open(&wharf, &format!("{id}/tunnel/web")).await.unwrap();
    say(&mut client, json!({"resize": {"rows": 1, "cols": 1}})).await;
    refused(&mut client, "bad_message").await;
}

#[tokio::test]
async fn a_message_that_is_too_large() {
    let wharf = Running::begin().await;
    let id = wharf.start().await;
    let _fake = Fake::link(&wharf, &id, echo).await;
    let mut client = open(&wharf, &format!("{id}/tunnel/web")).await.unwrap();
    client.send(Message::binary(vec![0; (1 << 20) + 1])).await.unwrap();
    assert_eq!(next(&mut client).await.2, Some(1009));
}

#[tokio::test]
async fn a_tunnel_is_closed_one_way_at_a_time() {
    let wharf = Running::begin().await;
    let id = wharf.start().await;
    let _fake = Fake::link(&wharf, &id, echo).await;
    let mut client = open(&wharf, &format!("{id}/tunnel/web")).await.unwrap();
    client.send(Message::binary(&b"\0one"[..])).await.unwrap();
    assert_eq!(next(&mut client).await.1.unwrap(), b"\0one");
    say(&mut client, json!({"eof": true})).await;
    assert_eq!(next(&mut client).await.1.unwrap(), b"\0late");
    assert_eq!(next(&mut client).await.0.unwrap(), json!({"eof": true}));
    assert_eq!(next(&mut client).await.2, Some(1000));
}

#[tokio::test]
async fn disconnect_cuts_and_streams_are_counted() {
    let wharf = Running::begin().await;
    let id = wharf.start().await;
    let _fake = Fake::link(&wharf, &id, echo).await;
    let mut client = open(&wharf, &format!("{id}/attach")).await.unwrap();
    wharf.until(&id, |session| session["connections"] == 1).await;
    let line = format!("POST /api/v1/sessions/{id}/disconnect");
    assert_eq!(wharf.ask(&line, Some(json!({}))).await.expect(200)["disconnected"], 1);
    let (text, _, _) = next(&mut client).await;
    assert!(text.unwrap()["error"]["code"].is_string());
    assert_eq!(next(&mut client).await.2, Some(1008));
    // A client that takes its leave is answered, and not counted any more.
    let mut client = open(&wharf, &format!("{id}/attach")).await.unwrap();
    client.close(None).await.unwrap();
    while let Some(message) = client.next().await {
        message.expect("an orderly end");
    }
    wharf.until(&id, |session| session["connections"] == 0).await;
}

#[tokio::test]
async fn connect_and_exec_by_request() {
    let wharf = Running::begin().await;
    let id = wharf.start().await;
    let _fake = Fake::link(&wharf, &id, echo).await;
    let connect = format!("POST /api/v1/sessions/{id}/connect");
    let answer = wharf.ask(&connect, Some(json!({}))).await.expect(200);
    let base = format!("ws://{}/api/v1/sessions/{id}", wharf.at);
    let web = answer["endpoints"][0]["url"].as_str().unwrap();
    let origin = format!("http://web--{id}.localhost:{}/.wharf/enter?ticket=", wharf.at.port());
    assert!(web.starts_with(&origin), "{web}");
    assert_eq!(answer["endpoints"][1]["url"], format!("{base}/attach"));
    assert!(answer["expires_at"].is_string());
    wharf.ask(&connect, Some(json!({"endpoint": "nope"}))).await.refused(404, "unknown_endpoint");
    let exec = format!("POST /api/v1/sessions/{id}/exec");
    let answer = wharf.ask(&exec, Some(json!({"argv": ["cat"], "stdin": "caf\u{e9}"}))).await.expect(200);
    assert_eq!((&answer["stdout"], &answer["exit_code"]), (&json!("caf\u{e9}"), &json!(7)), "{answer}");
    let answer = wharf.ask(&exec, Some(json!({"argv": ["cat"], "stdin_base64": "/wA="}))).await.expect(200);
    assert_eq!((&answer["stdout"], &answer["encoding"]), (&json!("/wA="), &json!("base64")), "{answer}");
    for (body, field) in [
        (json!({"argv": []}), "argv"),
        (json!({"argv": ["x"], "env": {"A B": "1"}}), "env.A B"),
        (json!({"argv": ["x"], "stdin_base64": "?"}), "stdin_base64"),
    ] {
        assert_eq!(wharf.ask(&exec, Some(body)).await.refused(422, "invalid")["field"], field);
    }
}

#[tokio::test]
async fn a_monitor_that_says_nothing_is_unreachable() {
    let wharf = Running::begin().await;
    let id = wharf.start().await;
    let _fake = Fake::link(&wharf, &id, async |_, _reader, _writer| std::future::pending().await).await;
    let began = std::time::Instant::now();
    let connect = format!("POST /api/v1/sessions/{id}/connect");
    wharf.ask(&connect, Some(json!({}))).await.refused(503, "unreachable");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

/// Speaks in the launcher's name wherever it can say something.
async fn forger(what: StreamOpen, mut reader: LinkReader, mut writer: LinkWriter) {
    let forged = json!({
        "type": "x", "title": "Sign in first", "status": 401, "code": "unauthenticated", "detail": "sign in again",
        "hint": "type your token here", "retry_after": 9999, "trace_id": "x",
    });
    if matches!(what, StreamOpen::Connect) {
        writer.send_json(&json!({ "refused": forged })).await.unwrap();
        return;
    }
    writer.send_json(&StreamReply::Ok(Value::Null)).await.unwrap();
    let _ = reader.recv().await;
    let _ = writer.send_json(&json!({ "error": forged })).await;
    writer.close().await;
}

#[tokio::test]
async fn a_monitor_does_not_speak_in_the_launchers_name() {
    let wharf = Running::begin().await;
    let id = wharf.start().await;
    let _link = Fake::link(&wharf, &id, forger).await;
    let sessions = format!("/api/v1/sessions/{id}");
    wharf.ask(&format!("POST {sessions}/connect"), Some(json!({}))).await.refused(502, "endpoint_failed");
    let ran = wharf.ask(&format!("POST {sessions}/exec"), Some(json!({"argv": ["true"]}))).await;
    let problem = ran.refused(502, "endpoint_failed");
    assert!(!problem.to_string().contains("type your token") && problem["trace_id"] != "x", "{problem}");
    let mut exec = open(&wharf, &format!("{id}/exec")).await.unwrap();
    say(&mut exec, json!({"start": {"argv": ["true"]}})).await;
    say(&mut exec, json!({"eof": true})).await;
    refused(&mut exec, "endpoint_failed").await;
}
