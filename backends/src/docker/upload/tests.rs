use std::io::Read as _;

use super::*;

fn session(addresses: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("mount")).unwrap();
    std::fs::write(dir.path().join("mount/addresses"), addresses).unwrap();
    std::fs::write(dir.path().join("mount/bootstrap.json"), "{}").unwrap();
    dir
}

#[test]
fn the_archive_holds_monitor_and_session_for_every_user_of_an_image() {
    let dir = session("unix:/d/run/monitor/sock\nhttps://login1:8443\nhttp://127.0.0.1:4000\n");
    let monitor = dir.path().join("monitor");
    std::fs::write(&monitor, "program").unwrap();
    let bytes = archive(&monitor, dir.path()).unwrap();
    let mut found = BTreeMap::new();
    let mut archive = tar::Archive::new(bytes.as_slice());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        let path = entry.path().unwrap().to_string_lossy().trim_end_matches('/').to_owned();
        found.insert(path, (entry.header().mode().unwrap(), text));
    }
    let expected = [
        ("run/wharf", 0o1777, ""),
        ("run/wharf/bin", 0o755, ""),
        ("run/wharf/bin/wharf-monitor", 0o755, "program"),
        ("run/wharf/session", 0o755, ""),
        ("run/wharf/session/addresses", 0o644, "https://login1:8443\n"),
        ("run/wharf/session/bootstrap.json", 0o644, "{}"),
    ];
    let expected: BTreeMap<String, (u32, String)> =
        expected.map(|(path, mode, text)| (path.to_owned(), (mode, text.to_owned()))).into();
    assert_eq!(found, expected);
}

#[test]
fn an_address_of_this_host_alone_is_no_good_on_another() {
    for nowhere in
        ["unix:/x", "http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "http://0.0.0.0:1", ""]
    {
        assert!(!is_reachable(nowhere), "{nowhere}");
    }
    for good in ["https://login1:8443", "http://10.0.0.1:80/", "https://[fd00::1]:8443"] {
        assert!(is_reachable(good), "{good}");
    }
    let error = check_addresses(session("http://127.0.0.1:1\n").path()).unwrap_err();
    assert!(error.message.contains("advertise"), "{error}");
}

#[test]
fn a_host_gets_the_monitor_of_its_architecture_or_a_word_on_where_to_name_one() {
    let others = BTreeMap::from([
        ("aarch64".to_owned(), PathBuf::from("/m/arm")),
        ("x86_64".to_owned(), PathBuf::from("/m/intel")),
    ]);
    let source = Source { monitor: PathBuf::from("/m/own"), others, sessions: PathBuf::new() };
    let own = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let (other, path) = if own == "arm64" { ("amd64", "/m/intel") } else { ("arm64", "/m/arm") };
    assert_eq!(source.for_host(None).expect("ours"), Path::new("/m/own"));
    assert_eq!(source.for_host(Some(own)).expect("ours"), Path::new("/m/own"));
    assert_eq!(source.for_host(Some(other)).expect("that"), Path::new(path));
    let error = source.for_host(Some("riscv64")).expect_err("there is none");
    assert!(error.message.contains("[monitor] path.riscv64"), "{error}");
    assert_eq!(error.kind, HookErrorKind::Misconfigured);
}
