use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use serde_json::json;

use super::*;

#[test]
fn an_answer_is_read_with_its_headers_and_problem() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).expect("a request");
        let body = r#"{"type":"t","title":"t","status":503,"code":"cannot_tell","detail":"not yet","hint":"wait","trace_id":"x"}"#;
        let head =
            "HTTP/1.1 503 x\r\ncontent-type: application/problem+json\r\nretry-after: 7\r\ncontent-length: ";
        write!(stream, "{head}{}\r\n\r\n{body}", body.len()).expect("a client");
        String::from_utf8_lossy(&bytes[..read]).into_owned()
    });
    let http = Http::new(Address::Tcp(host.clone())).with("authorization", "Bearer t");
    let answer = http.post("/sessions/x/purge", &json!({}));
    answer.problem(503, "cannot_tell");
    assert_eq!(answer.retry_after(), 7);
    let request = server.join().expect("no panic");
    assert!(request.starts_with("POST /api/v1/sessions/x/purge HTTP/1.1\r\n"), "{request}");
    for line in [
        format!("host: {host}"),
        "authorization: Bearer t".to_owned(),
        "content-type: application/json".to_owned(),
    ] {
        assert!(request.contains(&format!("{line}\r\n")), "{request}");
    }
}
