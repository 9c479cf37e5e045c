use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use wharf_protocol::api::StartRequest;

use super::*;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Answers each connection in turn with one of these; `None` hangs up without a word.
fn a_launcher(path: &std::path::Path, answers: Vec<Option<String>>) -> Arc<AtomicUsize> {
    let listener = UnixListener::bind(transport::Reachable::new(path).unwrap().path()).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    std::thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            counted.fetch_add(1, Ordering::SeqCst);
            if let Some(answer) = answer {
                let _ = stream.write_all(answer.as_bytes());
            }
        }
    });
    asked
}

fn answer(status: &str, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"))
}

const SESSION: &str = r#"{"id":"k3v9x2m7q4t8w1z6b5n0","name":"n","owner":"a","template":"t","backend":"shell",
    "scheduler":"shell","state":"pending","phase":"recorded","link":"none","terminating":false,"reason":null,"job":null,
    "command":["x"],"params":{},"tags":{},"connections":0,"created_at":"2026-01-01T10:00:00Z","submitted_at":null,
    "started_at":null,"ended_at":null,"end":null,"launcher":"n","rev":1,"params_rev":1,"of_a_later_release":7}"#;

#[test]
fn a_lost_start_is_repeated_until_it_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let asked = a_launcher(&path, vec![None, None, answer("201 Created", SESSION)]);
    let client = Client::at(Address::Unix(path));
    let reply = runtime().block_on(client.start(&StartRequest::default(), "key")).unwrap();
    assert_eq!(reply.raw["of_a_later_release"], 7);
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[test]
fn a_refused_start_is_not_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let problem =
        serde_json::to_string(&Problem::new(ErrorCode::UnknownTemplate, "no such template")).unwrap();
    let asked =
        a_launcher(&path, vec![answer("422 Unprocessable", &problem), answer("201 Created", SESSION)]);
    let client = Client::at(Address::Unix(path));
    let failure = runtime().block_on(client.start(&StartRequest::default(), "key")).unwrap_err();
    assert_eq!(failure.exit_code(), 2);
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[test]
fn nobody_there_is_said_at_once_with_the_way_out() {
    let client = Client::at(Address::Unix("/nonexistent/wharf.sock".into()));
    let failure = runtime().block_on(client.start(&StartRequest::default(), "key")).unwrap_err();
    let Failure::Problem(problem) = failure else { panic!("a problem") };
    assert_eq!((problem.code, problem.exit_code()), (ErrorCode::NoLauncher, 7));
    assert!(problem.hint.is_some_and(|hint| hint.contains("wharf serve")));
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_reached_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("d".repeat(120));
    std::fs::create_dir(&long).unwrap();
    let path = long.join("wharf.sock");
    a_launcher(&path, vec![answer("200 OK", "{\"items\":[]}")]);
    let client = Client::at(Address::Unix(path));
    assert!(runtime().block_on(client.templates()).unwrap().is_empty());
}

#[test]
fn pages_are_followed_to_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let page = |next: &str| answer("200 OK", &format!("{{\"items\":[{SESSION}]{next}}}"));
    a_launcher(&path, vec![page(",\"next_cursor\":\"a\""), page(",\"next_cursor\":\"b\""), page("")]);
    let client = Client::at(Address::Unix(path));
    let all = client.all::<wharf_protocol::Session>("/sessions", calls::Query::default(), None);
    assert_eq!(runtime().block_on(all).unwrap().len(), 3);
}

#[test]
fn a_refusal_that_is_no_problem_document_still_has_its_exit_code() {
    for (status, code) in [(404, 3), (409, 1), (502, 6), (503, 7), (401, 5)] {
        let status = StatusCode::from_u16(status).unwrap();
        let problem = problem(status, b"<html>");
        assert!(code == 1 || problem.exit_code() == code, "{status}: {problem:?}");
    }
    let later = problem(StatusCode::CONFLICT, br#"{"code":"of_a_later_release","detail":"no","status":409}"#);
    assert_eq!((later.detail.as_str(), later.exit_code()), ("no", 4));
}
