//! What the command printed: its beginning and its end are kept, what is between is counted.
//!
//! Keeping never waits for a reader. Offsets number the bytes of both streams together, so that a reader who goes on
//! later neither loses nor repeats any, or is told how many are gone.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use wharf_protocol::api::LogStream;
use wharf_protocol::stream::Channel;

const HEAD: usize = 64 * 1024;
const TAIL: usize = 1 << 20;
/// Small writes are joined up to that: a program that prints byte by byte must not cost many times what it prints.
const JOINED: usize = 4096;
/// Pieces of the tail, at most: a program that alternates between its streams cannot be joined.
const PIECES: usize = 16 * 1024;

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

impl Chunk {
    fn end(&self) -> u64 {
        self.offset + self.data.len() as u64
    }

    fn joins(&self, next: &Self) -> bool {
        self.channel == next.channel && self.data.len() + next.data.len() <= JOINED
    }

    fn join(&mut self, next: &Self) {
        let mut data = match std::mem::take(&mut self.data).try_into_mut() {
            Ok(data) => data,
            Err(shared) => BytesMut::from(&shared[..]),
        };
        data.extend_from_slice(&next.data);
        self.data = data.freeze();
    }
}

impl Kept {
    /// Lets the oldest of the tail go.
    fn trim(&mut self) {
        while self.tail_bytes > TAIL || self.tail.len() > PIECES {
            let Some(old) = self.tail.front_mut() else { break };
            let excess = self.tail_bytes.saturating_sub(TAIL);
            if excess > 0 && excess < old.data.len() {
                let _ = old.data.split_to(excess);
                old.offset += excess as u64;
                self.tail_bytes -= excess;
            } else {
                self.tail_bytes -= old.data.len();
                self.tail.pop_front();
            }
        }
    }

    /// What ends behind that offset.
    fn behind(&self, from: u64) -> impl Iterator<Item = &Chunk> {
        let head = self.head.partition_point(|chunk| chunk.end() <= from);
        let tail = self.tail.partition_point(|chunk| chunk.end() <= from);
        self.head[head..].iter().chain(self.tail.range(tail..))
    }
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
        let mut chunk = Chunk { offset: kept.total, channel, data };
        kept.total += chunk.data.len() as u64;
        let room = HEAD - kept.head_bytes;
        if kept.tail.is_empty() && room > 0 {
            let data = chunk.data.split_to(room.min(chunk.data.len()));
            let length = data.len();
            kept.head_bytes += length;
            let rest = Chunk { offset: chunk.offset + length as u64, ..chunk };
            let first = Chunk { offset: chunk.offset, channel, data };
            match kept.head.last_mut() {
                Some(last) if last.joins(&first) => last.join(&first),
                _ => kept.head.push(first),
            }
            chunk = rest;
        }
        if !chunk.data.is_empty() {
            kept.tail_bytes += chunk.data.len();
            match kept.tail.back_mut() {
                Some(last) if last.joins(&chunk) => last.join(&chunk),
                _ => kept.tail.push_back(chunk),
            }
            kept.trim();
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
        for chunk in kept.behind(from) {
            if chunk.offset > next {
                let mark = format!("\n[… {} bytes dropped …]\n", chunk.offset - next);
                let channel = if stream == LogStream::Stderr { Channel::Stderr } else { Channel::Stdout };
                pieces.push((channel, Bytes::from(mark)));
                next = chunk.offset;
            }
            let skip = usize::try_from(next - chunk.offset).unwrap_or(0);
            if wanted(stream, chunk.channel) {
                pieces.push((chunk.channel, chunk.data.slice(skip..)));
            }
            next = chunk.end();
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
    fn small_writes_cost_little() {
        let output = Output::new();
        for number in 0..2_000_000_u32 {
            output.push(Channel::Stdout, Bytes::from(vec![b'a' + u8::try_from(number % 26).unwrap()]));
        }
        let kept = output.kept();
        assert!(kept.head.len() + kept.tail.len() < 400);
        drop(kept);
        let (pieces, next) = output.since(0, LogStream::All);
        assert_eq!(next, 2_000_000);
        let all = text(&pieces);
        let (head, tail) = all.split_once("\n[").unwrap();
        let (mark, tail) = tail.split_once("]\n").unwrap();
        assert_eq!((head.len(), tail.len()), (HEAD, TAIL));
        assert_eq!(mark, format!("… {} bytes dropped …", 2_000_000 - HEAD - TAIL));
        for (at, letter) in tail.bytes().enumerate() {
            assert_eq!(letter, b'a' + u8::try_from((2_000_000 - TAIL + at) % 26).unwrap());
        }
        for number in 0..2 * PIECES {
            let channel = if number % 2 == 0 { Channel::Stdout } else { Channel::Stderr };
            output.push(channel, Bytes::from_static(b"."));
        }
        assert!(output.kept().tail.len() <= PIECES);
        let (errors, _) = output.since(0, LogStream::Stderr);
        assert!(errors.iter().all(|(channel, _)| *channel == Channel::Stderr));
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
