//! Bodies too large, or without an end, to be held.

use std::time::{Duration, Instant};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;

use super::{Answer, Http};
use crate::application::{Large, checksum};

/// An answer that is read piece by piece.
#[derive(Debug)]
pub struct Streaming {
    body: Incoming,
    line: String,
}

impl Streaming {
    fn next(&mut self, within: Duration) -> Option<Result<Vec<u8>, hyper::Error>> {
        let frame =
            crate::runtime().block_on(async { tokio::time::timeout(within, self.body.frame()).await });
        let frame = frame.unwrap_or_else(|_| panic!("{}: nothing within {within:?}", self.line));
        frame.map(|frame| frame.map(|frame| frame.into_data().map(|data| data.to_vec()).unwrap_or_default()))
    }

    /// The next piece.
    ///
    /// # Panics
    /// When none comes within that long.
    #[track_caller]
    pub fn read_some(&mut self, within: Duration) -> Vec<u8> {
        self.next(within).expect("more of the body").expect("an unbroken body")
    }

    /// Reads on until it breaks off.
    ///
    /// # Panics
    /// When it does not within that long, or ends as if it were whole.
    #[track_caller]
    pub fn ends_broken(mut self, within: Duration) {
        let began = Instant::now();
        while self.next(within.saturating_sub(began.elapsed())).expect("not a whole body").is_ok() {}
    }

    /// Reads to the end: how many bytes, and their checksum.
    ///
    /// # Panics
    /// When it breaks off.
    #[track_caller]
    pub fn rest(mut self) -> (usize, u64) {
        let (mut length, mut sum) = (0, 0);
        while let Some(piece) = self.next(Duration::from_secs(60)) {
            let piece = piece.expect("an unbroken body");
            length += piece.len();
            sum = checksum(sum, &piece);
        }
        (length, sum)
    }
}

impl Http {
    /// Asks for a path as it stands, and leaves the body to be read.
    ///
    /// # Panics
    /// When nobody answers, or not with 200.
    #[track_caller]
    pub fn stream(&self, method: &str, path: &str) -> Streaming {
        let answer = crate::runtime().block_on(self.open(method, path, Vec::new())).expect("an answer");
        assert_eq!(answer.status(), 200, "{method} {path}");
        Streaming { body: answer.into_body(), line: format!("{method} {path}") }
    }

    /// Sends a body of that length, made as it goes.
    ///
    /// # Panics
    /// When nobody answers.
    #[track_caller]
    pub fn upload(&self, path: &str, length: usize) -> Answer {
        let began = Instant::now();
        crate::runtime().block_on(async {
            let wire = self.dial().await.expect("the launcher listens");
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(wire)).await.expect("a connection");
            tokio::spawn(connection);
            let mut request = http::Request::post(path);
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
            let request = request.body(Large::new(length)).expect("a well-formed request");
            let (head, body) = sender.send_request(request).await.expect("an answer").into_parts();
            let body = body.collect().await.expect("a whole answer").to_bytes().to_vec();
            let line = format!("POST {path}");
            Answer { status: head.status.as_u16(), headers: head.headers, body, line, took: began.elapsed() }
        })
    }
}
