//! What a terminal shows: the screen as it is, what has scrolled off it, and the last bytes of the stream that made it.
//!
//! The emulation is the library's. A program may be in the middle of an escape sequence at any moment, so nothing of
//! ours is ever fed into its parser: what has to be tried out is tried out on a copy.

use std::collections::VecDeque;

use bytes::Bytes;
use wharf_protocol::stream::Size;

/// Lines that are kept after they have scrolled off.
pub(crate) const SCROLLBACK: usize = 1000;
/// Bytes that a viewer who comes back within them gets as they were.
const KEPT: usize = 256 << 10;

/// A terminal's screen.
pub(crate) struct Screen {
    parser: vt100::Parser,
    kept: VecDeque<u8>,
    /// How many bytes the program has written in all.
    written: u64,
}

impl Screen {
    pub(crate) fn new(rows: u16, columns: u16) -> Self {
        let parser = vt100::Parser::new(rows, columns, SCROLLBACK);
        Self { parser, kept: VecDeque::new(), written: 0 }
    }

    /// Takes what the program wrote.
    pub(crate) fn process(&mut self, data: &[u8]) {
        self.parser.process(data);
        self.written += data.len() as u64;
        let tail = &data[data.len().saturating_sub(KEPT)..];
        let over = (self.kept.len() + tail.len()).saturating_sub(KEPT);
        self.kept.drain(..over.min(self.kept.len()));
        self.kept.extend(tail);
    }

    /// How many bytes the program has written in all.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// What came after that offset, when all of it is still there.
    pub(crate) fn since(&self, offset: u64) -> Option<Bytes> {
        let missing = usize::try_from(self.written.checked_sub(offset)?).ok()?;
        let from = self.kept.len().checked_sub(missing)?;
        Some(self.kept.range(from..).copied().collect::<Vec<u8>>().into())
    }

    /// What makes an empty terminal show the same: the last `lines` that scrolled off, the screen, and below a program's
    /// own full screen the one that comes back when it leaves.
    pub(crate) fn present(&self, lines: usize) -> Vec<u8> {
        let screen = self.parser.screen();
        let mut main = of(screen.clone());
        if screen.alternate_screen() {
            main.process(b"\x1b[?47l");
        }
        let mut shown = scrolled_off(&mut main, lines);
        shown.extend(main.screen().state_formatted());
        if screen.alternate_screen() {
            shown.extend(b"\x1b[?1049h");
            shown.extend(screen.state_formatted());
        }
        shown
    }

    /// Draws it anew at another size: shrinking it in place can leave half a wide character behind. It is never narrower
    /// than one of those, whatever the program is told.
    pub(crate) fn resize(&mut self, size: Size) {
        let mut new = vt100::Parser::new(size.rows.max(2), size.cols.max(2), SCROLLBACK);
        new.process(&self.present(SCROLLBACK));
        // The parser stays: it may be in the middle of something.
        *self.parser.screen_mut() = new.screen().clone();
    }
}

/// A parser of its own for that screen.
fn of(screen: vt100::Screen) -> vt100::Parser {
    let (rows, columns) = screen.size();
    let mut parser = vt100::Parser::new(rows, columns, SCROLLBACK);
    *parser.screen_mut() = screen;
    parser
}

/// The last lines above the screen, and so many empty ones that they are above it for the viewer too.
fn scrolled_off(parser: &mut vt100::Parser, lines: usize) -> Vec<u8> {
    let (rows, columns) = parser.screen().size();
    let screen = parser.screen_mut();
    screen.set_scrollback(lines);
    let mut above = screen.scrollback();
    let mut shown = Vec::new();
    if above > 0 {
        shown.extend(b"\x1b[m\x1b[H\x1b[J");
    }
    while above > 0 {
        screen.set_scrollback(above);
        let page = above.min(usize::from(rows));
        for row in screen.rows_formatted(0, columns.saturating_add(1)).take(page) {
            shown.extend(row);
            shown.extend(b"\x1b[m\r\n");
        }
        above -= page;
        if above == 0 {
            shown.extend(b"\n".repeat(usize::from(rows) - 1));
        }
    }
    screen.set_scrollback(0);
    shown
}

#[cfg(test)]
mod tests;
