//! Input of one client that its program has not taken yet: what the client says behind it is heard all the same, and that
//! it has gone.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf as _, Bytes};

/// More than so many bytes are left to the client.
const MOST: usize = 1 << 20;
/// While some of it waits, it is looked so often whether its client is still there.
pub(crate) const LOOK: Duration = Duration::from_millis(500);

/// What waits, in order.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    pieces: VecDeque<Bytes>,
    length: usize,
}

impl Backlog {
    pub(crate) fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        if !piece.is_empty() {
            self.pieces.push_back(piece);
        }
    }

    /// What comes next.
    pub(crate) fn first(&self) -> Option<Bytes> {
        self.pieces.front().cloned()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether more may be taken from the client.
    pub(crate) fn has_room(&self) -> bool {
        self.length < MOST
    }

    /// The program took so many bytes of the first.
    pub(crate) fn took(&mut self, count: usize) {
        self.length -= count;
        if let Some(first) = self.pieces.front_mut() {
            first.advance(count);
            if first.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}
