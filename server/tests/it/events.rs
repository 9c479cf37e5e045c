//! The stream of events, and resuming it.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::launcher::Running;

/// An event: its name, its id, its data.
type Event = (String, String, Value);

struct Events(BufReader<TcpStream>);

impl Events {
    async fn open(wharf: &Running, token: &str, last: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(wharf.at).await.unwrap();
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let request = format!(
            "GET /api/v1/events HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {token}\r\n{last}\r\n",
            wharf.at
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut events = Self(BufReader::new(stream));
        let mut head = events.line().await.unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        while !head.is_empty() {
            head = events.line().await.unwrap();
        }
        events
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = tokio::time::timeout(Duration::from_secs(10), self.0.read_line(&mut line));
        let read = read.await.expect("in time").unwrap_or_default();
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// The next event; chunk sizes and comments are passed over.
    async fn next(&mut self) -> Option<Event> {
        let (mut name, mut id) = (String::new(), String::new());
        loop {
            let line = self.line().await?;
            if line == "0" {
                // The last chunk.
                return None;
            }
            match line.split_once(": ") {
                Some(("event", text)) => name = text.to_owned(),
                Some(("id", text)) => id = text.to_owned(),
                Some(("data", text)) => {
                    let data = serde_json::from_str(text).unwrap();
                    // The order of the fields is the writer's; the empty line ends an event.
                    loop {
                        let rest = self.line().await?;
                        match rest.split_once(": ") {
                            Some(("event", text)) => name = text.to_owned(),
                            Some(("id", text)) => id = text.to_owned(),
                            _ if rest.is_empty() => return Some((name, id, data)),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn events_are_resumed_where_they_were_left() {
    let wharf = Running::begin().await;
    let mut events = Events::open(&wharf, &wharf.full, None).await;
    let id = wharf.start().await;
    let (name, first, data) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &data["type"]), ("session", &json!("update")));
    assert_eq!(data["session"]["id"], id.as_str());
    let (_, second, _) = events.next().await.unwrap();
    drop(events);
    let mut again = Events::open(&wharf, &wharf.full, Some(&first)).await;
    let (name, id, _) = again.next().await.unwrap();
    assert_eq!((name.as_str(), &id), ("session", &second), "nothing is left out or told twice");
    for unknown in ["?", "nonsense", "99999999"] {
        let mut again = Events::open(&wharf, &wharf.full, Some(unknown)).await;
        assert_eq!(again.next().await.unwrap().0, "reset", "{unknown}");
    }
}

#[tokio::test]
async fn events_end_with_their_token() {
    let wharf = Running::begin().await;
    let made = wharf.ask("POST /api/v1/tokens", Some(json!({"scope": "read"}))).await.expect(201);
    let mut events = Events::open(&wharf, made["token"].as_str().unwrap(), None).await;
    let line = format!("DELETE /api/v1/tokens/{}", made["id"].as_str().unwrap());
    wharf.ask(&line, None).await.expect(204);
    assert!(events.next().await.is_none());
}
