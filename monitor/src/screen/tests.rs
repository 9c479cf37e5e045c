use super::*;

const ROWS: u16 = 5;
const COLUMNS: u16 = 20;

fn screen(text: &str) -> Screen {
    let mut screen = Screen::new(ROWS, COLUMNS);
    screen.process(text.as_bytes());
    screen
}

/// What somebody sees whose terminal was empty.
fn viewer(shown: &[u8]) -> vt100::Parser {
    let mut viewer = vt100::Parser::new(ROWS, COLUMNS, SCROLLBACK);
    viewer.process(shown);
    viewer
}

fn lines(range: std::ops::RangeInclusive<usize>) -> String {
    range.map(|line| format!("line {line}\r\n")).collect()
}

#[test]
fn a_wide_character_at_the_edge_survives_any_resize() {
    let mut screen = Screen::new(24, 80);
    for (rows, cols) in [(24, 79), (1, 1), (1, 2), (3, 1), (1000, 1000), (24, 80)] {
        screen.process("\x1b[H\x1b[999C中x\r\nab中中中".as_bytes());
        screen.resize(Size { rows, cols });
        screen.process("\x1b[H\x1b[78Cyz中".as_bytes());
    }
}

#[test]
fn a_viewer_gets_the_screen_and_as_much_above_it_as_it_wants() {
    let screen = screen(&(lines(1..=20) + "\x1b[1mlast"));
    let mut seen = viewer(&screen.present(0));
    assert_eq!(seen.screen().contents(), "line 17\nline 18\nline 19\nline 20\nlast");
    seen.screen_mut().set_scrollback(usize::MAX);
    assert_eq!(seen.screen().scrollback(), 0, "a screen, not a log");
    for (wanted, first, above) in [(3, "line 14", 3), (1000, "line 1", 16)] {
        let mut seen = viewer(&screen.present(wanted));
        assert_eq!(seen.screen().contents(), "line 17\nline 18\nline 19\nline 20\nlast");
        seen.screen_mut().set_scrollback(usize::MAX);
        assert_eq!(seen.screen().scrollback(), above);
        assert_eq!(seen.screen().contents().lines().next(), Some(first));
    }
}

#[test]
fn leaving_a_full_screen_program_shows_what_was_below_also_after_a_resize() {
    for size in [None, Some(Size { rows: ROWS + 1, cols: COLUMNS + 3 })] {
        let mut screen = screen("shell $ vi\r\n\x1b[?1049h\x1b[H\x1b[2Jfull screen");
        if let Some(size) = size {
            screen.resize(size);
        }
        let mut seen = viewer(&screen.present(0));
        assert!(seen.screen().alternate_screen());
        assert_eq!(seen.screen().contents().trim_end(), "full screen");
        for parser in [&mut seen, &mut screen.parser] {
            parser.process(b"\x1b[?1049l");
            assert!(parser.screen().contents().starts_with("shell $ vi"), "{:?}", parser.screen().contents());
        }
    }
}

#[test]
fn a_resize_in_the_middle_of_a_sequence_breaks_nothing() {
    let mut screen = screen("a\x1b[3");
    screen.resize(Size { rows: 10, cols: 40 });
    let _ = screen.present(10);
    screen.process(b"1mred");
    assert_eq!(screen.parser.screen().contents(), "ared");
}

#[test]
fn who_comes_back_in_time_gets_exactly_what_was_missed() {
    let mut screen = screen("first");
    let left = screen.written();
    assert_eq!(screen.since(left).as_deref(), Some(&b""[..]));
    screen.process(b"second");
    assert_eq!(screen.since(left).as_deref(), Some(&b"second"[..]));
    assert_eq!(screen.since(u64::MAX), None, "not yet written");
    screen.process(&vec![b'x'; KEPT]);
    assert_eq!(screen.since(left), None, "no longer there");
    assert_eq!(screen.since(screen.written() - KEPT as u64).map(|kept| kept.len()), Some(KEPT));
    screen.process(&vec![b'y'; 3 * KEPT]);
    assert_eq!(screen.kept.len(), KEPT);
}
