//! The launcher's end of a link, as small as it can be.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use wharf_link::{Frame, LinkReader, LinkStream, LinkWriter, Opener};
use wharf_protocol::api::LogStream;
use wharf_protocol::monitor::{
    ExitReport, Hello, Incarnation, LINK_HEADER, LINK_PATH, LauncherSays, LinkClaim, MonitorSays, Resume,
    StreamOpen, StreamReply, Welcome,
};
use wharf_protocol::signed::{self, Purpose};
use wharf_protocol::stream::{Channel, ClientControl, ExecStart, Exit, ServerControl};
use wharf_protocol::time::Dur;
use wharf_protocol::{ErrorCode, Problem};

use crate::place::{Place, within};

/// A link that a monitor has dialled.
pub struct Link {
    pub hello: Hello,
    /// The claim of its header.
    pub claim: LinkClaim,
    /// The credential of its header.
    pub credential: String,
    opener: Opener,
    reader: LinkReader,
    writer: LinkWriter,
}

impl Link {
    /// Takes the next dial, up to the hello.
    pub async fn accept(place: &Place) -> Self {
        let (socket, _) = within("a dial", place.listener.as_ref().unwrap().accept()).await.unwrap();
        Self::over(socket).await
    }

    /// Takes a dial that has been accepted, up to the hello.
    pub async fn over(socket: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let mut head = None;
        let look = |request: &Request, response: Response| {
            assert_eq!(request.uri().path(), LINK_PATH);
            let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
            let claim = signed::decode(&header(LINK_HEADER)).unwrap();
            let claim: LinkClaim = serde_json::from_slice(&claim).unwrap();
            head = Some((claim, header("authorization").strip_prefix("Bearer ").unwrap().to_owned()));
            Ok(response)
        };
        let socket = within("an upgrade", tokio_tungstenite::accept_hdr_async(socket, look)).await.unwrap();
        let (claim, credential) = head.unwrap();
        let (sink, stream) = socket.split();
        let messages = stream.map(|message| {
            message.map(|message| if let Message::Binary(data) = message { Some(data) } else { None })
        });
        let sink = sink.with(|data: Bytes| async move {
            Ok::<_, tokio_tungstenite::tungstenite::Error>(Message::Binary(data))
        });
        let (opener, driver) = wharf_link::mux::launcher(wharf_link::ws::bytes(messages, sink));
        tokio::spawn(driver);
        let (mut reader, writer) = opener.open(&StreamOpen::Control).await.unwrap().split();
        let MonitorSays::Hello(hello) = within("a hello", reader.recv_json()).await.unwrap() else {
            panic!("no hello")
        };
        Self { hello: *hello, claim, credential, opener, reader, writer }
    }

    /// What a good launcher answers to this monitor.
    pub fn greeting(&self, place: &Place) -> Welcome {
        let resume = Resume {
            id: place.bootstrap.session.clone(),
            incarnation: Incarnation { attempt: 2, restarts: self.claim.restarts, number: 5 },
            nonce: self.claim.nonce.clone(),
        };
        Welcome {
            number: 5,
            resume: place.sign(Purpose::Resume, &resume),
            snapshot: place.snapshot(2),
            credential: place.credential(Duration::from_secs(7200)),
            keys: place.bootstrap.keys.clone(),
            proof: place.sign(Purpose::Proof, &self.claim.nonce),
            end: None,
            node: "test".to_owned(),
        }
    }

    pub async fn welcome(&mut self, place: &Place) {
        let welcome = self.greeting(place);
        self.say(LauncherSays::Welcome(Box::new(welcome))).await;
    }

    pub async fn say(&mut self, says: LauncherSays) {
        within(&says, self.writer.send_json(&says)).await.unwrap();
    }

    /// The monitor's next word.
    pub async fn hear(&mut self) -> MonitorSays {
        within("a word", self.reader.recv_json()).await.unwrap()
    }

    /// Whether the monitor hangs up without another word.
    pub async fn is_hung_up(&mut self) -> bool {
        !matches!(within("the end of the link", self.reader.recv()).await, Ok(Some(_)))
    }

    /// Asks whether the monitor is there.
    pub async fn ping(&mut self) {
        self.say(LauncherSays::Ping { nonce: 77 }).await;
        assert_eq!(self.hear().await, MonitorSays::Pong { nonce: 77 });
    }

    /// Orders the end; the monitor has to say at once that it obeys.
    pub async fn end(&mut self, grace: Duration) {
        self.say(LauncherSays::End { grace: Dur(grace) }).await;
        assert_eq!(self.hear().await, MonitorSays::Ending);
    }

    /// The report of the command's end.
    pub async fn exited(&mut self) -> ExitReport {
        loop {
            if let MonitorSays::Exited(report) = self.hear().await {
                return report;
            }
        }
    }

    /// The report, which is then kept.
    pub async fn kept(&mut self) -> ExitReport {
        let report = self.exited().await;
        self.keep().await;
        report
    }

    /// Says that the report is kept.
    pub async fn keep(&mut self) {
        self.say(LauncherSays::ExitKept).await;
    }

    /// Hangs up.
    pub fn cut(self) {
        self.opener.close();
    }

    /// Opens a stream that the monitor need not answer.
    pub async fn open_unanswered(&self, what: &StreamOpen) -> LinkStream {
        within(what, self.opener.open(what)).await.unwrap()
    }

    /// Says something that may be no word.
    pub async fn say_raw(&mut self, value: &serde_json::Value) {
        within(value, self.writer.send_json(value)).await.unwrap();
    }

    /// Whether no stream can be had.
    pub async fn is_busy(&self, what: &StreamOpen) -> bool {
        matches!(self.opener.open(what).await, Err(wharf_link::LinkError::Busy))
    }

    /// Opens a stream; the monitor's answer to it.
    pub async fn try_open(&self, what: &StreamOpen) -> Result<(serde_json::Value, Stream), Problem> {
        let mut stream = within(what, self.opener.open(what)).await.unwrap();
        match within(what, stream.reader.recv_json()).await.unwrap() {
            StreamReply::Ok(value) => Ok((value, Stream::new(stream))),
            StreamReply::Refused(problem) => Err(problem),
        }
    }

    /// Opens a stream.
    pub async fn open(&self, what: &StreamOpen) -> Stream {
        self.try_open(what).await.unwrap().1
    }

    /// Why a stream is refused.
    pub async fn refusal(&self, what: &StreamOpen) -> ErrorCode {
        self.try_open(what).await.map(|(value, _)| value).unwrap_err().code
    }

    /// Runs a program.
    pub async fn exec(&self, argv: &[&str]) -> Stream {
        self.open(&StreamOpen::Exec(start(argv))).await
    }

    /// All that the command has printed so far.
    pub async fn logs(&self, stream: LogStream) -> String {
        let mut logs = self.open(&StreamOpen::Logs { stream, tail: None, follow: false }).await;
        logs.rest().await;
        logs.text()
    }

    /// Follows what the command prints until that has come.
    pub async fn prints(&self, text: &str) {
        let mut logs =
            self.open(&StreamOpen::Logs { stream: LogStream::All, tail: None, follow: true }).await;
        logs.until(text).await;
    }
}

/// What to run, without anything else.
pub fn start(argv: &[&str]) -> ExecStart {
    ExecStart { argv: argv.iter().map(ToString::to_string).collect(), ..ExecStart::default() }
}

/// An opened stream, and all that has come on it.
pub struct Stream {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub exit: Option<Exit>,
    pub error: Option<Problem>,
    pub eof: bool,
    /// Where the output that follows begins.
    pub offset: Option<u64>,
    /// What came on channel 0.
    pub tunnelled: Vec<u8>,
    stream: LinkStream,
}

impl Stream {
    fn new(stream: LinkStream) -> Self {
        Self {
            stdout: Vec::new(),
            stderr: Vec::new(),
            exit: None,
            error: None,
            eof: false,
            offset: None,
            tunnelled: Vec::new(),
            stream,
        }
    }

    /// One frame more; `false` when there is none.
    pub async fn more(&mut self) -> bool {
        let Some(frame) = within("a frame", self.stream.reader.recv()).await.unwrap() else { return false };
        match frame {
            Frame::Data(Channel::Stdin, data) => self.tunnelled.extend(data),
            Frame::Data(Channel::Stdout, data) => self.stdout.extend(data),
            Frame::Data(Channel::Stderr, data) => self.stderr.extend(data),
            Frame::Control(text) => match serde_json::from_slice(&text).unwrap() {
                ServerControl::Exit(exit) => self.exit = Some(exit),
                ServerControl::Error(problem) => self.error = Some(problem),
                ServerControl::Eof(_) => self.eof = true,
                ServerControl::Offset(offset) => self.offset = Some(offset),
                ServerControl::Notice(notice) => panic!("a monitor told people {notice:?}"),
            },
        }
        true
    }

    /// All until it is closed.
    pub async fn rest(&mut self) {
        while self.more().await {}
    }

    /// Until that was printed.
    pub async fn until(&mut self, text: &str) {
        while !self.text().contains(text) {
            assert!(self.more().await, "{text:?} has not come: {:?}", self.text());
        }
    }

    /// What was printed so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&[&self.stdout[..], &self.stderr[..]].concat()).into_owned()
    }

    pub async fn send(&mut self, data: &[u8]) {
        let frame = Frame::Data(Channel::Stdin, Bytes::copy_from_slice(data));
        within("data is taken", self.stream.writer.send(frame)).await.unwrap();
    }

    pub async fn control(&mut self, control: &ClientControl) {
        within("a word is taken", self.stream.writer.send_json(control)).await.unwrap();
    }

    /// The exit code, once the program has ended.
    pub async fn code(&mut self) -> Option<i32> {
        self.rest().await;
        self.exit.expect("an exit").code
    }
}

/// Takes the next dial and answers it with these lines in the place of an upgrade.
pub async fn refuse(place: &Place, head: &str) {
    let (mut socket, _) = within("a dial", place.listener.as_ref().unwrap().accept()).await.unwrap();
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        within("a request", socket.read_exact(&mut byte)).await.unwrap();
        asked.push(byte[0]);
    }
    socket.write_all(format!("HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
}
