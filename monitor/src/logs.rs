//! Handing out what the command printed.

use wharf_link::{Frame, LinkStream};
use wharf_protocol::api::LogStream;
use wharf_protocol::monitor::StreamReply;
use wharf_protocol::stream::ServerControl;

use crate::monitor::Monitor;
use crate::output::last_lines;

/// Serves one reader.
pub(crate) async fn logs(
    monitor: &Monitor,
    stream: LinkStream,
    which: LogStream,
    tail: Option<u64>,
    follow: bool,
) {
    let (mut reader, mut writer) = stream.split();
    if writer.send_json(&StreamReply::Ok(serde_json::Value::Null)).await.is_err() {
        return;
    }
    let mut more = monitor.output.watch();
    let mut exited = monitor.exited.subscribe();
    let (mut pieces, mut next) = monitor.output.since(0, which);
    if let Some(lines) = tail {
        pieces = last_lines(pieces, lines);
    }
    let write = async {
        loop {
            // Seen before what was printed until then is read: nothing printed before the end is missed.
            let over = !follow || exited.borrow_and_update().is_some();
            for (channel, data) in pieces.drain(..) {
                if writer.send(Frame::Data(channel, data)).await.is_err() {
                    return;
                }
            }
            (pieces, next) = monitor.output.since(next, which);
            if !pieces.is_empty() {
                continue;
            }
            if over {
                break;
            }
            tokio::select! {
                _ = more.changed() => {}
                _ = exited.changed() => {}
            }
            (pieces, next) = monitor.output.since(next, which);
        }
        // Without it the reader has to think that the link was lost.
        let _ = writer.send_json(&ServerControl::Eof(true)).await;
        writer.close().await;
    };
    tokio::select! {
        () = write => {}
        // A reader that goes away is noticed also while nothing is printed.
        () = async { while let Ok(Some(_)) = reader.recv().await {} } => {}
    }
}
