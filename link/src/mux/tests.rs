//! Both sides of a link over a pipe in memory.

use std::time::Duration;

use bytes::Bytes;
use wharf_protocol::monitor::StreamOpen;
use wharf_protocol::stream::Channel;

use super::*;

fn pair() -> (Opener, Acceptor) {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let (opener, driver) = launcher(here);
    tokio::spawn(driver);
    (opener, monitor(there))
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), work).await.expect("in time")
}

#[tokio::test]
async fn a_stream_carries_frames_both_ways_and_half_closes() {
    let (opener, mut acceptor) = pair();
    let served = tokio::spawn(async move {
        let mut stream = acceptor.accept().await.unwrap();
        assert_eq!(stream.reader.recv_json::<StreamOpen>().await.unwrap(), StreamOpen::Connect);
        while let Some(frame) = stream.reader.recv().await.unwrap() {
            stream.writer.send(frame).await.unwrap();
        }
        stream.writer.send_json(&"over").await.unwrap();
        stream.writer.close().await;
        acceptor
    });
    within(async {
        let mut stream = opener.open(&StreamOpen::Connect).await.unwrap();
        let frame = Frame::Data(Channel::Stdin, Bytes::from_static(b"hello"));
        stream.writer.send(frame.clone()).await.unwrap();
        assert_eq!(stream.reader.recv().await.unwrap(), Some(frame));
        stream.writer.close().await;
        assert_eq!(stream.reader.recv_json::<String>().await.unwrap(), "over");
        assert_eq!(stream.reader.recv().await.unwrap(), None);
        served.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn one_that_does_not_read_stalls_only_its_own_stream() {
    let (opener, mut acceptor) = pair();
    tokio::spawn(async move {
        while let Some(mut stream) = acceptor.accept().await {
            tokio::spawn(async move {
                let _ = stream.reader.recv_json::<StreamOpen>().await;
                let block = Bytes::from(vec![7; 64 * 1024]);
                for _ in 0..800 {
                    if stream.writer.send(Frame::Data(Channel::Stdout, block.clone())).await.is_err() {
                        return;
                    }
                }
                stream.writer.close().await;
            });
        }
    });
    within(async {
        let _stalled = opener.open(&StreamOpen::Connect).await.unwrap();
        let mut reading = opener.open(&StreamOpen::Connect).await.unwrap();
        let mut bytes = 0;
        while let Some(Frame::Data(_, data)) = reading.reader.recv().await.unwrap() {
            bytes += data.len();
        }
        assert_eq!(bytes, 800 * 64 * 1024);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn halves_of_a_stream_in_tasks_of_their_own_never_take_each_others_turn() {
    const BLOCKS: usize = 1500;
    let block = || Frame::Data(Channel::Stdin, Bytes::from(vec![7; 16 * 1024]));
    for _ in 0..4 {
        let (opener, mut acceptor) = pair();
        tokio::spawn(async move {
            let stream = acceptor.accept().await.unwrap();
            let (mut reader, mut writer) = stream.split();
            let _ = reader.recv_json::<StreamOpen>().await;
            // As a program between two pipes: it takes no more before what it gives is taken.
            let (give, mut take) = tokio::sync::mpsc::channel(1);
            let passes = tokio::spawn(async move {
                while let Some(frame) = take.recv().await {
                    writer.send(frame).await.unwrap();
                }
                writer.close().await;
            });
            while let Some(frame) = reader.recv().await.unwrap() {
                give.send(frame).await.unwrap();
            }
            drop(give);
            passes.await.unwrap();
            acceptor.accept().await
        });
        let (mut reader, mut writer) = within(opener.open(&StreamOpen::Connect)).await.unwrap().split();
        let sends = tokio::spawn(async move {
            for _ in 0..BLOCKS {
                writer.send(block()).await.unwrap();
            }
            writer.close().await;
        });
        let mut count = 0;
        while let Some(frame) = within(reader.recv()).await.unwrap() {
            assert_eq!(frame, block());
            count += 1;
        }
        assert_eq!(count, BLOCKS);
        sends.await.unwrap();
    }
}

#[tokio::test]
async fn streams_are_capped_and_given_back() {
    let (opener, mut acceptor) = pair();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Some(stream) = acceptor.accept().await {
            kept.push(stream);
        }
    });
    within(async {
        let mut open = Vec::new();
        for _ in 0..MAX_STREAMS {
            open.push(opener.open(&StreamOpen::Connect).await.unwrap());
        }
        assert!(matches!(opener.open(&StreamOpen::Connect).await, Err(LinkError::Busy)));
        open.pop();
        opener.open(&StreamOpen::Connect).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_closed_link_is_gone_for_both() {
    let (opener, mut acceptor) = pair();
    opener.close();
    within(async {
        assert!(acceptor.accept().await.is_none());
        assert!(matches!(opener.open(&StreamOpen::Connect).await, Err(LinkError::Gone)));
    })
    .await;
}

/// Nobody waits on a link that was hung up on, whichever side did it and whatever for.
#[tokio::test(start_paused = true)]
async fn who_waits_on_a_stream_hears_that_its_link_is_gone() {
    for by_launcher in [true, false] {
        let (opener, mut acceptor) = pair();
        let mut waiting = Vec::new();
        for reads in [true, false] {
            let launchers = within(opener.open(&StreamOpen::Connect)).await.unwrap();
            let mut monitors = within(acceptor.accept()).await.unwrap();
            let _: StreamOpen = within(monitors.reader.recv_json()).await.unwrap();
            for mut stream in [launchers, monitors] {
                waiting.push(tokio::spawn(async move {
                    let data = Bytes::from(vec![0; 64 << 10]);
                    if reads {
                        // Nobody writes, so that it waits for a word.
                        drop(stream.reader.recv().await);
                    } else {
                        // Nobody reads, so that it waits for credit.
                        while stream.writer.send(Frame::Data(Channel::Stdin, data.clone())).await.is_ok() {}
                    }
                }));
            }
        }
        // tidy: sleeps because the clock is paused: it goes on when all of them wait.
        tokio::time::sleep(Duration::from_millis(100)).await;
        if by_launcher {
            opener.close();
        } else {
            drop(acceptor);
        }
        for waiting in waiting {
            within(waiting).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_stream_that_the_monitor_opens_ends_the_link() {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let (opener, driver) = launcher(here);
    let driving = tokio::spawn(driver);
    let mut hostile = Connection::new(there.compat(), config(), Mode::Server);
    let opening = tokio::spawn(async move {
        let mut stream = std::future::poll_fn(|context| hostile.poll_new_outbound(context)).await.unwrap();
        let write = tokio::spawn(async move {
            let _ = futures_util::AsyncWriteExt::write_all(&mut stream, b"hello").await;
            let _ = futures_util::AsyncWriteExt::flush(&mut stream).await;
            stream
        });
        while let Some(Ok(_)) = std::future::poll_fn(|context| hostile.poll_next_inbound(context)).await {}
        drop(write);
    });
    within(async {
        opener.gone().await;
        driving.await.unwrap();
        assert!(matches!(opener.open(&StreamOpen::Connect).await, Err(LinkError::Gone)));
        opening.await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn what_is_no_link_at_all_ends_it_for_both() {
    for text in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0xff; 4096]] {
        let (here, mut there) = tokio::io::duplex(64 * 1024);
        let (opener, driver) = launcher(here);
        let driving = tokio::spawn(driver);
        let _ = tokio::io::AsyncWriteExt::write_all(&mut there, text).await;
        within(opener.gone()).await;
        within(driving).await.unwrap();
        let (here, mut there) = tokio::io::duplex(64 * 1024);
        let mut acceptor = monitor(here);
        let _ = tokio::io::AsyncWriteExt::write_all(&mut there, text).await;
        assert!(within(acceptor.accept()).await.is_none());
    }
}

#[tokio::test]
async fn a_bad_frame_ends_only_its_own_stream() {
    let (here, there) = tokio::io::duplex(64 * 1024);
    let mut raw = Connection::new(here.compat(), config(), Mode::Client);
    let (wanted, mut want) = mpsc::channel::<oneshot::Sender<yamux::Stream>>(4);
    tokio::spawn(async move {
        let mut reply = None;
        std::future::poll_fn(|context| {
            loop {
                if reply.is_none()
                    && let Poll::Ready(Some(next)) = want.poll_recv(context)
                {
                    reply = Some(next);
                }
                if reply.is_some()
                    && let Poll::Ready(Ok(stream)) = raw.poll_new_outbound(context)
                {
                    let _ = reply.take().map(|reply| reply.send(stream));
                    continue;
                }
                return raw.poll_next_inbound(context).map(|_| ());
            }
        })
        .await;
    });
    let open = || async {
        let (reply, stream) = oneshot::channel();
        wanted.send(reply).await.unwrap();
        stream.await.unwrap()
    };
    let mut acceptor = monitor(there);
    within(async {
        let mut bad = open().await;
        futures_util::AsyncWriteExt::write_all(&mut bad, b"\xff\xff\xff\xff\x10").await.unwrap();
        let mut stream = acceptor.accept().await.unwrap();
        assert!(matches!(stream.reader.recv().await, Err(FrameError::Bad(_))));
        let mut good = open().await;
        futures_util::AsyncWriteExt::write_all(&mut good, b"\x00\x00\x00\x05\x10true").await.unwrap();
        let mut stream = acceptor.accept().await.unwrap();
        assert!(stream.reader.recv_json::<bool>().await.unwrap());
    })
    .await;
}
