//! What is asked of slurmrestd, and what is made of whatever it answers. It is played by a small server here: a real one
//! is asked in `tests/it/slurm_rest.rs`.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wharf_core::backend::NoCall;

use super::*;

const ID: &str = "k3v9x2m7q4t8w1z6b5n0";

fn job(more: &Value) -> Sbatch {
    let mut job = json!({ "script": "#!/bin/sh\n", "tag": ID, "output": "/s/50%/job.log", "chdir": "/s" });
    if let (Some(job), Some(more)) = (job.as_object_mut(), more.as_object()) {
        job.extend(more.clone());
    }
    serde_json::from_value(job).unwrap()
}

fn document(version: u32, more: &Value) -> Value {
    serde_json::from_slice(&document::of(version, &job(more)).unwrap()).unwrap()
}

#[test]
fn addresses_are_sockets_or_this_hosts_ports() {
    for good in
        ["unix:/run/slurmrestd.sock", "http://127.0.0.1:6820", "http://localhost:6820", "http://[::1]:6820"]
    {
        let address: RestAddress = good.parse().unwrap();
        assert_eq!(address.to_string(), good);
    }
    let written: RestAddress = "unix:///run/slurmrestd.sock".parse().unwrap();
    assert_eq!(written.to_string(), "unix:/run/slurmrestd.sock");
    for (bad, words) in [
        ("http://login1:6820", "show tokens to the network"),
        ("https://127.0.0.1:6820", "write unix:PATH or http://127.0.0.1:6820"),
        ("unix:slurmrestd.sock", "no whole path"),
        ("http://", "http://"),
        ("6820", "write unix:PATH"),
    ] {
        let told = bad.parse::<RestAddress>().unwrap_err();
        assert!(told.contains(words), "{bad}: {told}");
    }
}

#[test]
fn a_job_is_told_in_the_words_of_each_version() {
    let all = json!({
        "partition": "gpu", "account": "physics", "qos": "high", "reservation": "class", "constraint": "a100",
        "time": "90s", "memory": "1GiB", "cpus": 4, "nodes": 2, "gpus": 3, "options": ["--hold", "--licenses=x:2"],
    });
    let old = document(38, &all);
    assert_eq!(old["script"], "#!/bin/sh\n");
    let told = &old["job"];
    for (member, value) in [
        ("name", json!(ID)),
        ("comment", json!(ID)),
        ("partition", json!("gpu")),
        ("account", json!("physics")),
        ("qos", json!("high")),
        ("reservation", json!("class")),
        ("constraints", json!("a100")),
        ("time_limit", json!(2)),
        ("memory_per_node", json!("1024M")),
        ("cpus_per_task", json!(4)),
        ("nodes", json!(2)),
        ("gpus", json!("3")),
        ("hold", json!(true)),
        ("licenses", json!("x:2")),
        ("no_requeue", json!(true)),
        ("requeue", Value::Null),
        ("open_mode", json!("append")),
        ("standard_output", json!("/s/50%%/job.log")),
        ("current_working_directory", json!("/s")),
    ] {
        assert_eq!(told[member], value, "{member}: {told}");
    }
    assert_eq!(told["environment"]["SLURM_GET_USER_ENV"], "1", "{told}");
    let new = &document(44, &all)["job"];
    for (member, value) in [
        ("script", json!("#!/bin/sh\n")),
        ("time_limit", json!({ "set": true, "number": 2 })),
        ("memory_per_node", json!({ "set": true, "number": 1024 })),
        ("minimum_nodes", json!(2)),
        ("maximum_nodes", json!(2)),
        ("tres_per_job", json!("gres/gpu:3")),
        ("tasks", json!(2)),
        ("minimum_cpus", json!(8)),
        ("requeue", json!(false)),
        ("no_requeue", Value::Null),
        ("open_mode", json!(["APPEND"])),
        ("hold", json!(true)),
    ] {
        assert_eq!(new[member], value, "{member}: {new}");
    }
    assert!(new["environment"].as_array().unwrap().contains(&json!("SLURM_UMASK=0077")), "{new}");
    let again = json!({ "requeue": true });
    assert_eq!(document(38, &again)["job"]["requeue"], true);
    assert_eq!(document(38, &again)["job"]["no_requeue"], Value::Null);
    assert_eq!(document(40, &again)["job"]["requeue"], true);
    for version in [38, 44] {
        let none = &document(version, &json!({ "gpus": 0 }))["job"];
        assert_eq!((&none["gpus"], &none["tres_per_job"]), (&Value::Null, &Value::Null), "{none}");
    }
}

#[test]
fn what_sbatch_would_not_be_handed_is_handed_to_nobody() {
    for bad in
        [json!({ "partition": "--wrap=id" }), json!({ "account": "a\nb" }), json!({ "memory": "much" })]
    {
        assert_eq!(document::of(44, &job(&bad)).unwrap_err().kind, HookErrorKind::Invalid, "{bad}");
    }
}

#[test]
fn what_cannot_be_told_in_the_same_words_is_sbatchs() {
    for more in
        [json!({}), json!({ "gpus": 1, "cluster": "" }), json!({ "options": ["--hold", "--wckey=w"] })]
    {
        assert!(document::can_tell(&job(&more)), "{more}");
    }
    for more in [
        json!({ "cluster": "other" }),
        json!({ "options": ["--exclusive"] }),
        json!({ "options": ["--holdx"] }),
        json!({ "options": ["--hold=x"] }),
        json!({ "options": ["--wckey="] }),
        json!({ "options": ["--hold", "--gres-flags=enforce-binding"] }),
    ] {
        assert!(!document::can_tell(&job(&more)), "{more}");
    }
}

#[test]
fn the_newest_version_that_both_know_is_spoken() {
    let path = |version: u32| {
        format!("\"\\/slurm\\/v0.0.{version}\\/job\\/submit\": {{}}, \"/slurm/v0.0.{version}/job/submit\"")
    };
    let told = |versions: &[u32]| versions.iter().map(|version| path(*version)).collect::<String>();
    for (versions, newest) in [
        (&[36, 37, 38][..], Some(38)),
        (&[38, 39], Some(38)),
        (&[39, 40, 41], Some(41)),
        (&[42, 43, 44], Some(44)),
        (&[44, 45, 46], Some(44)),
        (&[36, 37], None),
        (&[45, 46], None),
        (&[], None),
    ] {
        assert_eq!(document::newest(&told(versions)), newest, "{versions:?}");
    }
    assert_eq!(document::newest("/slurm/v0.0.41/jobs/ /slurmdb/v0.0.41/job/submit"), None);
}

#[test]
fn only_what_is_sure_is_told_as_sure() {
    let held = r#"{"errors":[{"error_code":2042,"error":"Job is in held state"}],"job_id":7}"#;
    let parsing = r#"{"errors":[{"description":"Unknown key \"x\""},{"error_code":9001,"error":"Failure during parsing"}]}"#;
    let partition = r#"{"errors":[{"error_number":2000,"error":"Invalid partition name specified","description":""}],"job_id":0}"#;
    let submitted = |id: &str| Answer::Submitted(id.to_owned());
    assert_eq!(answer::read(200, held.as_bytes()), submitted("7"));
    assert_eq!(answer::read(500, held.as_bytes()), submitted("7"));
    assert_eq!(answer::read(200, br#"{"result":{"job_id":8},"errors":[]}"#), submitted("8"));
    assert_eq!(
        answer::read(500, partition.as_bytes()),
        Answer::Refused("Invalid partition name specified".to_owned())
    );
    assert!(
        matches!(answer::read(400, parsing.as_bytes()), Answer::NotUnderstood(why) if why.contains("Unknown key"))
    );
    // It may be the answer that could not be written.
    assert!(matches!(answer::read(500, parsing.as_bytes()), Answer::Refused(_)));
    assert!(matches!(answer::read(401, b"Authentication failure"), Answer::NotLetIn(_)));
    assert!(matches!(answer::read(404, b"Unable find requested URL"), Answer::NotUnderstood(_)));
    for (status, text) in [
        (200, &b""[..]),
        (200, b"{"),
        (200, b"[7]"),
        (200, b"{}"),
        (200, br#"{"job_id":-1}"#),
        (200, br#"{"job_id":"7"}"#),
        (302, b""),
        (500, b"<html>"),
        (502, b"Bad Gateway"),
        (504, b"{}"),
    ] {
        let read = answer::read(status, text);
        assert!(matches!(read, Answer::Senseless(_)), "{status} {text:?}: {read:?}");
    }
}

/// What the small server does with a request.
#[derive(Debug, Clone)]
enum Deed {
    Say(u16, String),
    /// Reads it and goes.
    Break,
    /// Reads it and says nothing.
    Hang,
}

/// A server that does one deed after the other, the last one for ever; what it was asked.
async fn serve(deeds: Vec<Deed>) -> (Rest, Arc<std::sync::Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut count = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            let mut piece = [0; 4096];
            while !is_whole(&request) {
                let read = stream.read(&mut piece).await.unwrap_or(0);
                if read == 0 {
                    break;
                }
                request.extend_from_slice(&piece[..read]);
            }
            heard.lock().unwrap().push(String::from_utf8(request).unwrap());
            let deed = deeds[count.min(deeds.len() - 1)].clone();
            count += 1;
            match deed {
                Deed::Break => {}
                Deed::Hang => drop(tokio::spawn(async move {
                    let _ = stream.read(&mut piece).await;
                })),
                Deed::Say(status, text) => {
                    let answer = format!(
                        "HTTP/1.1 {status} So\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}",
                        text.len()
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            }
        }
    });
    (Rest::at(address), asked)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.to_ascii_lowercase();
    let length = length.split_once("content-length: ").map_or("0", |(_, rest)| rest.lines().next().unwrap());
    body.len() >= length.parse().unwrap()
}

/// scontrol as it gives tokens, a new one each time.
fn tokens() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("scontrol");
    let calls = dir.path().join("calls");
    let body = format!("#!/bin/sh\necho x >> {0}\necho SLURM_JWT=token-$(wc -l < {0})\n", calls.display());
    std::fs::write(&path, body).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn context(programs: &tempfile::TempDir, left: Duration) -> HostContext {
    HostContext {
        session: None,
        base: vec![
            ("PATH".to_owned(), format!("{}:/usr/bin:/bin", programs.path().display())),
            ("USER".to_owned(), "alice".to_owned()),
        ],
        programs: Vec::new(),
        env: Vec::new(),
        config: Value::Null,
        progress: None,
        mark: String::new(),
        processes: Arc::new(NoCall),
        left,
        cancel: CancellationToken::new(),
    }
}

const DESCRIPTION_38: &str = "{\"paths\":{\"\\/slurm\\/v0.0.38\\/job\\/submit\":{}}}";

fn described() -> Deed {
    Deed::Say(200, DESCRIPTION_38.to_owned())
}

fn submitted(id: u32) -> Deed {
    Deed::Say(200, format!("{{\"job_id\":{id}}}"))
}

async fn submit(rest: &Rest, left: Duration) -> Result<Option<String>, HookErrorKind> {
    let programs = tokens();
    rest.submit(&Cluster::default(), &context(&programs, left), &job(&json!({})))
        .await
        .map_err(|error| error.kind)
}

const TIME: Duration = Duration::from_secs(10);

#[tokio::test]
async fn the_token_and_the_version_are_asked_for_once() {
    let (rest, asked) = serve(vec![described(), submitted(7), submitted(8)]).await;
    let programs = tokens();
    for id in ["7", "8"] {
        let answer = rest.submit(&Cluster::default(), &context(&programs, TIME), &job(&json!({}))).await;
        assert_eq!(answer.unwrap().as_deref(), Some(id));
    }
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 3, "{asked:?}");
    for request in &*asked {
        assert!(request.contains("x-slurm-user-token: token-1\r\n"), "{request}");
        assert!(request.contains("x-slurm-user-name: alice\r\n"), "{request}");
    }
    assert!(asked[1].starts_with("POST /slurm/v0.0.38/job/submit HTTP/1.1\r\n"), "{}", asked[1]);
}

#[tokio::test]
async fn a_token_that_is_no_longer_believed_is_renewed_once() {
    let refused = Deed::Say(401, "Authentication failure".to_owned());
    let (rest, asked) = serve(vec![described(), refused.clone(), submitted(7)]).await;
    assert_eq!(submit(&rest, TIME).await, Ok(Some("7".to_owned())));
    assert!(asked.lock().unwrap()[2].contains("token-2"));
    let (rest, asked) = serve(vec![described(), refused]).await;
    assert_eq!(submit(&rest, TIME).await, Ok(None), "sbatch has to");
    assert_eq!(submit(&rest, TIME).await, Ok(None));
    assert_eq!(asked.lock().unwrap().len(), 3, "closed for a while");
}

#[tokio::test]
async fn what_was_surely_not_submitted_is_sbatchs_and_the_door_is_left_alone() {
    let parsing = "{\"errors\":[{\"error_code\":9001,\"error\":\"Failure during parsing\"}]}".to_owned();
    for (deeds, requests) in [
        (vec![described(), Deed::Say(400, parsing)], 2),
        (vec![described(), Deed::Say(404, "no such path".to_owned())], 2),
        (vec![Deed::Say(200, "{}".to_owned())], 1),
        (vec![Deed::Say(401, "no".to_owned())], 1),
        (vec![Deed::Break], 1),
    ] {
        let (rest, asked) = serve(deeds.clone()).await;
        assert_eq!(submit(&rest, TIME).await, Ok(None), "{deeds:?}");
        assert_eq!(submit(&rest, TIME).await, Ok(None), "{deeds:?}");
        assert_eq!(asked.lock().unwrap().len(), requests, "{deeds:?}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let rest = Rest::at(format!("http://{nobody}").parse().unwrap());
    assert_eq!(submit(&rest, TIME).await, Ok(None));
}

#[tokio::test]
async fn what_may_have_been_submitted_is_looked_for() {
    for deed in [
        Deed::Break,
        Deed::Say(200, "{}".to_owned()),
        Deed::Say(502, "Bad Gateway".to_owned()),
        Deed::Say(500, "{\"errors\":[{\"error\":\"Unable to contact slurm controller\"}]}".to_owned()),
    ] {
        let (rest, asked) = serve(vec![described(), deed.clone()]).await;
        assert_eq!(submit(&rest, TIME).await, Err(HookErrorKind::CommandFailed), "{deed:?}");
        assert_eq!(asked.lock().unwrap().len(), 2, "asked once: {deed:?}");
    }
    let (rest, asked) = serve(vec![described(), Deed::Hang]).await;
    assert_eq!(submit(&rest, Duration::from_millis(1300)).await, Err(HookErrorKind::Timeout));
    assert_eq!(submit(&rest, TIME).await, Ok(None), "left alone for a while");
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn slurms_refusals_have_their_kinds() {
    for (words, kind) in [
        ("Invalid partition name specified", HookErrorKind::Invalid),
        ("Invalid account or account/partition combination specified", HookErrorKind::Denied),
        ("Unable to contact slurm controller (connect failure)", HookErrorKind::Unavailable),
    ] {
        let text = format!("{{\"errors\":[{{\"error_code\":2000,\"error\":\"{words}\"}}]}}");
        let (rest, _) = serve(vec![described(), Deed::Say(500, text)]).await;
        assert_eq!(submit(&rest, TIME).await, Err(kind), "{words}");
    }
}

#[tokio::test]
async fn a_door_that_says_nothing_does_not_cost_the_submit_its_time() {
    let (rest, _) = serve(vec![Deed::Hang]).await;
    let began = Instant::now();
    assert_eq!(submit(&rest, Duration::from_secs(4)).await, Ok(None));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_template_with_words_of_its_own_for_slurm_is_sbatchs() {
    let (rest, asked) = serve(vec![described(), submitted(7)]).await;
    let programs = tokens();
    let mut own = context(&programs, TIME);
    own.env = vec![("SLURM_CONF".to_owned(), "/site/slurm.conf".to_owned())];
    let mut program = context(&programs, TIME);
    program.programs = vec![("sbatch".to_owned(), "/site/sbatch".to_owned())];
    for context in [own, program] {
        let answer = rest.submit(&Cluster::default(), &context, &job(&json!({}))).await;
        assert_eq!(answer.unwrap(), None);
    }
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_connection_serves_again_and_one_that_has_gone_costs_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rest = Rest::at(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    let served = Arc::new(std::sync::Mutex::new(Vec::new()));
    let counts = Arc::clone(&served);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut request, mut piece, mut count) = (Vec::new(), [0; 4096], 0);
            // Three answers each, then it goes without a word.
            while count < 3 {
                let read = stream.read(&mut piece).await.unwrap_or(0);
                request.extend_from_slice(&piece[..read]);
                if read == 0 {
                    break;
                }
                if is_whole(&request) {
                    request.clear();
                    count += 1;
                    let text = "{\"job_id\":7}";
                    let answer = format!("HTTP/1.1 200 So\r\ncontent-length: {}\r\n\r\n{text}", text.len());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
            counts.lock().unwrap().push(count);
        }
    });
    *rest.known.lock().await = Known { version: Some(38), ..Known::default() };
    for count in 1..=7 {
        assert_eq!(submit(&rest, TIME).await, Ok(Some("7".to_owned())), "number {count}");
        if count % 3 == 0 {
            // Until our side has heard that it is gone.
            let gone = || rest.idle.lock().unwrap().iter().all(|one| one.sender.is_closed());
            while !gone() {
                tokio::task::yield_now().await;
            }
        }
    }
    assert_eq!(*served.lock().unwrap(), [3, 3]);
}
