//! What the command printed: its beginning and its end are kept, what is between is counted.
//!
//! Keeping never waits for a reader. Offsets number the bytes of both streams together, so that a reader who goes on
//! later neither loses nor repeats any, or is told how many are gone.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;
use wharf_protocol::api::LogStream;
use wharf_protocol::stream::Channel;

const HEAD: usize = 64 * 1024;
const TAIL: usize = 1 << 20;

/// A run of bytes of one stream.
#[derive(Debug, Clone)]
struct Chunk {
    offset: u64,
    channel: Channel,
    data: Bytes,
}

#[derive(Debug, Default)]
struct Kept {
    head: Vec<Chunk>,
    head_bytes: usize,
    tail: VecDeque<Chunk>,
    tail_bytes: usize,
    total: u64,
}

/// What the command printed.
#[derive(Debug)]
pub(crate) struct Output {
    kept: Mutex<Kept>,
    /// Bytes so far.
    total: watch::Sender<u64>,
}

/// A piece for a reader.
pub(crate) type Piece = (Channel, Bytes);

impl Output {
    pub(crate) fn new() -> Self {
        Self { kept: Mutex::default(), total: watch::channel(0).0 }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps what was printed.
    pub(crate) fn push(&self, channel: Channel, data: Bytes) {
        if data.is_empty() {
            return;
        }
        let mut kept = self.kept();
        let chunk = Chunk { offset: kept.total, channel, data };
        kept.total += chunk.data.len() as u64;
        if kept.tail.is_empty() && kept.head_bytes + chunk.data.len() <= HEAD {
            kept.head_bytes += chunk.data.len();
            kept.head.push(chunk);
        } else {
            kept.tail_bytes += chunk.data.len();
            kept.tail.push_back(chunk);
            while kept.tail_bytes > TAIL {
                let Some(old) = kept.tail.pop_front() else { break };
                kept.tail_bytes -= old.data.len();
            }
        }
        let total = kept.total;
        drop(kept);
        self.total.send_replace(total);
    }

    /// Learns of more.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.total.subscribe()
    }

    /// What is kept from that offset on, of those streams, and the offset to go on from.
    pub(crate) fn since(&self, from: u64, stream: LogStream) -> (Vec<Piece>, u64) {
        let kept = self.kept();
        let mut next = from;
        let mut pieces = Vec::new();
        for chunk in kept.head.iter().chain(&kept.tail) {
            let end = chunk.offset + chunk.data.len() as u64;
            if end <= next {
                continue;
            }
            if chunk.offset > next {
                let mark = format!("\n[… {} bytes dropped …]\n", chunk.offset - next);
                pieces.push((Channel::Stdout, Bytes::from(mark)));
                next = chunk.offset;
            }
            let skip = usize::try_from(next - chunk.offset).unwrap_or(0);
            if wanted(stream, chunk.channel) {
                pieces.push((chunk.channel, chunk.data.slice(skip..)));
            }
            next = end;
        }
        (pieces, next.max(from))
    }
}

fn wanted(stream: LogStream, channel: Channel) -> bool {
    match stream {
        LogStream::All | LogStream::Hook => true,
        LogStream::Stdout => channel == Channel::Stdout,
        LogStream::Stderr => channel == Channel::Stderr,
    }
}

/// Only the last lines of those pieces.
pub(crate) fn last_lines(pieces: Vec<Piece>, lines: u64) -> Vec<Piece> {
    let mut left = lines;
    let mut kept = VecDeque::new();
    let mut at_end = true;
    if lines == 0 {
        return Vec::new();
    }
    for (channel, data) in pieces.into_iter().rev() {
        let mut begin = 0;
        for (at, byte) in data.iter().enumerate().rev() {
            if *byte == b'\n' && !at_end {
                left -= 1;
                if left == 0 {
                    begin = at + 1;
                    break;
                }
            }
            at_end = false;
        }
        kept.push_front((channel, data.slice(begin..)));
        if left == 0 {
            break;
        }
    }
    kept.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pieces: &[Piece]) -> String {
        pieces.iter().map(|(_, data)| String::from_utf8_lossy(data).into_owned()).collect()
    }

    #[test]
    fn head_and_tail_are_kept_and_the_gap_is_marked() {
        let output = Output::new();
        output.push(Channel::Stdout, Bytes::from_static(b"first\n"));
        for _ in 0..64 {
            output.push(Channel::Stdout, Bytes::from(vec![b'x'; 64 * 1024]));
        }
        output.push(Channel::Stderr, Bytes::from_static(b"last\n"));
        let (pieces, next) = output.since(0, LogStream::All);
        let all = text(&pieces);
        assert!(all.starts_with("first\n") && all.ends_with("last\n"));
        assert!(all.contains("bytes dropped"), "the gap is marked");
        assert!(all.len() < HEAD + TAIL + 1000);
        assert_eq!(next, 11 + 64 * 64 * 1024);
        assert!(output.since(next, LogStream::All).0.is_empty());
        assert_eq!(text(&output.since(next - 3, LogStream::All).0), "st\n");
    }

    #[test]
    fn the_last_lines_span_pieces() {
        let piece = |text: &'static str| (Channel::Stdout, Bytes::from_static(text.as_bytes()));
        let pieces = || vec![piece("one\ntw"), piece("o\nthr"), piece("ee\n")];
        assert_eq!(text(&last_lines(pieces(), 1)), "three\n");
        assert_eq!(text(&last_lines(pieces(), 2)), "two\nthree\n");
        assert_eq!(text(&last_lines(pieces(), 9)), "one\ntwo\nthree\n");
        assert_eq!(text(&last_lines(pieces(), 0)), "");
    }
}
