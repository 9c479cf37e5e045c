use super::*;

#[test]
fn what_a_later_text_has_in_common_with_the_last_is_not_told_again() {
    for (last, text, new) in [
        ("", "a\n", "a\n"),
        ("a\n", "a\n", ""),
        ("a\n", "a\nb\n", "b\n"),
        // A window that moved on.
        ("a\nb\nc\n", "b\nc\nd\n", "d\n"),
        // Something else altogether.
        ("second in line\n", "first in line\n", "first in line\n"),
        ("a\nb\n", "", ""),
        ("abab", "ababab", "ab"),
        ("xaa", "aaa", "a"),
    ] {
        assert_eq!(&text[overlap(last.as_bytes(), text.as_bytes())..], new, "{last:?} then {text:?}");
    }
}

#[tokio::test]
async fn a_file_is_read_on_and_anew_when_it_was_cut_short() {
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("job.log");
    std::fs::write(&path, "first\nsecond\n").expect("our own directory");
    let (mut reading, text) = Reading::open(&path, 7).expect("it is there");
    assert_eq!(text, b"second\n");
    assert_eq!(reading.piece().await, b"");
    let mut file = std::fs::OpenOptions::new().append(true).open(&path).expect("it is there");
    io::Write::write_all(&mut file, b"third\n").expect("it takes more");
    assert_eq!(reading.piece().await, b"third\n");
    std::fs::write(&path, "anew\n").expect("our own directory");
    assert_eq!(reading.piece().await, b"anew\n");
    reading.end = Some(5);
    io::Write::write_all(&mut file, b"later\n").expect("it takes more");
    assert_eq!(reading.piece().await, b"");
}
