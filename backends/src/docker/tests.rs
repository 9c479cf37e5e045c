//! What a container may be, without an engine.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use wharf_core::backend::{Backend as _, HostContext, HostModule as _, NoCall};
use wharf_core::hook::HookErrorKind;

use super::arguments::{Create, read};
use super::policy::Policy;
use super::{Address, Docker, spec};

fn context(config: Value) -> HostContext {
    HostContext {
        session: None,
        base: Vec::new(),
        programs: Vec::new(),
        env: Vec::new(),
        config,
        progress: None,
        mark: "test".to_owned(),
        processes: Arc::new(NoCall),
        left: Duration::from_secs(5),
        cancel: CancellationToken::new(),
    }
}

/// A session directory as the launcher leaves it.
fn session_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("mount")).unwrap();
    let addresses = format!("unix:{}\nunix:/d/run/monitor/sock\nhttp://127.0.0.1:1\n", spec::SOCKET);
    std::fs::write(dir.path().join("mount/addresses"), addresses).unwrap();
    dir
}

fn body(config: Value, more: Value) -> Result<Value, (HookErrorKind, String)> {
    let dir = session_dir();
    let mut arguments = json!({
        "id": "k3v9x2m7q4t8w1z6b5n0",
        "image": "busybox",
        "monitor": {"argv": ["/d/monitor/0a/wharf-monitor", "run"], "env": {}, "dir": dir.path()},
    });
    arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let create: Create = read(arguments).map_err(|error| (error.kind, error.message))?;
    Policy::of(&context(config))
        .and_then(|policy| spec::body(&create, &policy, false))
        .map(|body| serde_json::to_value(body).unwrap())
        .map_err(|error| (error.kind, error.message))
}

#[test]
fn a_container_gets_as_little_as_can_be() {
    let body = body(json!({}), json!({"memory": "64MiB", "cpus": 0.5, "pids": 100.0})).unwrap();
    let host = &body["HostConfig"];
    assert_eq!(host["Privileged"], false);
    assert_eq!(host["CapDrop"], json!(["ALL"]));
    assert_eq!(host["CapAdd"], Value::Null);
    assert_eq!(host["SecurityOpt"], json!(["no-new-privileges"]));
    assert_eq!(host["NetworkMode"], "none");
    assert_eq!(
        (&host["PidMode"], &host["IpcMode"], &host["UTSMode"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!((&host["Memory"], &host["MemorySwap"]), (&json!(64 << 20), &json!(64 << 20)));
    assert_eq!((&host["NanoCpus"], &host["PidsLimit"]), (&json!(500_000_000), &json!(100)));
    assert_eq!(body["Labels"]["io.wharf.session"], "k3v9x2m7q4t8w1z6b5n0");
    let mounts = host["Mounts"].as_array().unwrap();
    assert_eq!(body["Env"], json!(["WHARF_JOB_ID=k3v9x2m7q4t8w1z6b5n0"]));
    assert_eq!(mounts.len(), 3);
    assert!(mounts.iter().all(|mount| mount["ReadOnly"] == true), "{mounts:?}");
    assert_eq!(mounts[2]["Source"], "/d/run/monitor");
    // What an image says of its own command is not for the monitor.
    assert_eq!((&body["Healthcheck"]["Test"], &body["StopSignal"]), (&json!(["NONE"]), &json!("SIGTERM")));
}

#[test]
fn what_a_caller_says_is_not_believed_beyond_the_config() {
    let denied = |config: Value, more: Value| body(config, more).unwrap_err().0;
    assert_eq!(denied(json!({}), json!({"network": "host"})), HookErrorKind::Denied);
    assert_eq!(denied(json!({}), json!({"network": "container:x"})), HookErrorKind::Denied);
    assert_eq!(denied(json!({"networks": ["lab"]}), json!({"network": "bridge"})), HookErrorKind::Denied);
    assert_eq!(denied(json!({}), json!({"mounts": ["etc"]})), HookErrorKind::Denied);
    for image in ["busybox.evil/x", "evil/busybox", "busybox\n", "team/"] {
        let config = json!({"images": ["busybox", "team/*:1"]});
        assert!(body(config, json!({"image": image})).is_err(), "{image}");
    }
    assert_eq!(denied(json!({}), json!({"privileged": true})), HookErrorKind::Misconfigured);
    assert_eq!(denied(json!({}), json!({"memory": "1KiB"})), HookErrorKind::Invalid);
    let config = json!({
        "images": ["team/*:1"], "networks": ["lab"], "capabilities": ["CHOWN"], "site": {"of": "its own"},
        "mounts": {"data": {"source": "/srv/data", "target": "/data"}, "home": {"source": "/h", "target": "/h", "always": true}},
    });
    let more = json!({"image": "team/x:1", "network": "lab", "mounts": " data,", "labels": {"io.wharf.session": "other"}});
    let wide = body(config, more).unwrap();
    let sources: Vec<_> = wide["HostConfig"]["Mounts"].as_array().unwrap()[3..]
        .iter()
        .map(|mount| mount["Source"].clone())
        .collect();
    assert_eq!(sources, ["/srv/data", "/h"]);
    let more = json!({"user": "1000:100", "hostname": "node", "shm": "64MiB"});
    let named = body(json!({}), more).unwrap();
    assert_eq!((&named["User"], &named["Hostname"]), (&json!("1000:100"), &json!("node")));
    assert_eq!(named["HostConfig"]["ShmSize"], 64 << 20);
    assert_eq!(wide["HostConfig"]["CapAdd"], json!(["CHOWN"]));
    assert_eq!(wide["Labels"]["io.wharf.session"], "k3v9x2m7q4t8w1z6b5n0", "the label is ours to say");
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_unavailable_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let host = format!("unix://{}/none.sock", dir.path().display());
    let address = Address { host, tls: None, upload: None, node: None };
    let docker = Docker::new("docker", address, None);
    assert!(docker.probe().await.unwrap_err().contains("none.sock"));
    for (function, arguments) in [
        ("inspect", json!({"ids": ["k3v9x2m7q4t8w1z6b5n0"]})),
        ("list", json!({"ids": ["k3v9x2m7q4t8w1z6b5n0"]})),
        ("remove", json!({"id": "k3v9x2m7q4t8w1z6b5n0"})),
        ("pull", json!({"image": "busybox"})),
        ("start", json!({"id": "k3v9x2m7q4t8w1z6b5n0"})),
    ] {
        let error = docker.call(function, arguments, &context(json!({}))).await.unwrap_err();
        assert_eq!(error.kind, HookErrorKind::Unavailable, "{function}: {error}");
    }
}

#[tokio::test]
async fn an_address_that_nobody_can_go_to_is_told_in_words() {
    for (host, words) in [
        ("ssh://alice@far", "ssh:// is no way"),
        ("tcp://", "cannot be reached"),
        ("tcp://a b:1", "cannot be reached"),
        ("unix://", "cannot be reached"),
    ] {
        let address = Address { host: host.to_owned(), tls: None, upload: None, node: None };
        let told = Docker::new("docker", address, None).probe().await.unwrap_err();
        assert!(told.contains(host) && told.contains(words), "{told}");
    }
}

/// What a connection brings is counted, and more than a kind of answer may be long ends it.
#[tokio::test]
async fn an_answer_without_an_end_is_cut_off() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sock");
    let socket = tokio::net::UnixListener::bind(&path).unwrap();
    let engine = async move {
        let mut sent = 0_u64;
        loop {
            let (mut client, _) = socket.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let count = client.read(&mut request).await.unwrap();
            if String::from_utf8_lossy(&request[..count]).contains("/version ") {
                let body = r#"{"ApiVersion": "1.41"}"#;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                client.write_all(head.as_bytes()).await.unwrap();
                continue;
            }
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"Id\": \"").await.unwrap();
            while client.write_all(&[b'x'; 1 << 16]).await.is_ok() {
                sent += 1 << 16;
            }
            return sent;
        }
    };
    let address = Address { host: format!("unix://{}", path.display()), tls: None, upload: None, node: None };
    let docker = Docker::new("docker", address, None);
    let here = context(json!({}));
    let asked = docker.call("remove", json!({"id": "k3v9x2m7q4t8w1z6b5n0"}), &here);
    let (sent, answer) = tokio::join!(engine, asked);
    assert!(answer.unwrap_err().message.contains("longer than 32 MiB"));
    assert!(sent < 40 << 20, "{sent}");
}
