use super::*;

#[test]
fn the_monitor_is_written_once_and_again_when_it_was_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = write_monitor(dir.path()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o755);
    let written = std::fs::metadata(&path).unwrap().modified().unwrap();
    assert_eq!(write_monitor(dir.path()).unwrap(), path);
    assert_eq!(std::fs::metadata(&path).unwrap().modified().unwrap(), written);
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"half").unwrap();
    write_monitor(dir.path()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), MONITOR);
    assert_eq!(check_monitor(&path).unwrap(), path);
}

#[test]
fn what_is_no_monitor_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().join("absent"), PathBuf::from("/bin/true")] {
        let error = check_monitor(&path).unwrap_err().to_string();
        assert!(error.contains(&*path.to_string_lossy()), "{error}");
    }
}

#[test]
fn an_instance_keeps_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let name = instance(dir.path()).unwrap();
    assert!(name.len() >= 8);
    assert_eq!(instance(dir.path()).unwrap(), name);
}

#[test]
fn run_is_a_private_directory_and_a_link_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    run_dir(dir.path(), "i").unwrap();
    let run = dir.path().join("run");
    assert_eq!(std::fs::metadata(&run).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::read_dir(&run).unwrap().count(), 0);
    std::fs::remove_dir(&run).unwrap();
    let target = dir.path().join("elsewhere");
    std::os::unix::fs::symlink(&target, &run).unwrap();
    run_dir(dir.path(), "i").unwrap();
    assert!(target.is_dir());
}
