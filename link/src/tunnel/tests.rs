//! Both ends of a tunnel over a link in memory.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use wharf_protocol::monitor::StreamOpen;

use super::*;

/// What arrives of a tunnel that says `words` and closes; whether it says first that this is all.
async fn told(words: &'static [u8], ends: bool) -> (Vec<u8>, io::Result<usize>) {
    let (here, there) = tokio::io::duplex(64 << 10);
    let (opener, driver) = crate::mux::launcher(here);
    tokio::spawn(driver);
    let mut acceptor = crate::mux::monitor(there);
    tokio::spawn(async move {
        while let Some(mut stream) = acceptor.accept().await {
            let _ = stream.reader.recv_json::<StreamOpen>().await;
            let _ = stream.writer.send(Frame::Data(Channel::Stdin, Bytes::from_static(words))).await;
            if ends {
                let _ = stream.writer.send_json(&ServerControl::Eof(true)).await;
            }
            stream.writer.close().await;
        }
    });
    let mut tunnel = TunnelIo::new(opener.open(&StreamOpen::Connect).await.unwrap());
    tunnel.write_all(b"hello").await.unwrap();
    let mut seen = Vec::new();
    let outcome = tunnel.read_to_end(&mut seen).await;
    (seen, outcome)
}

#[tokio::test]
async fn what_was_ended_is_told_from_what_broke_off() {
    let (seen, outcome) = told(b"all of it", true).await;
    assert_eq!((seen.as_slice(), outcome.unwrap()), (&b"all of it"[..], 9));
    let (seen, outcome) = told(b"half of", false).await;
    assert_eq!(
        (seen.as_slice(), outcome.unwrap_err().kind()),
        (&b"half of"[..], io::ErrorKind::UnexpectedEof)
    );
}
