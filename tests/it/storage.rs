//! The datastore when its disk is full, when it is read-only, and its backup.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use wharf_tests::launcher::Home;
use wharf_tests::{Launcher, Probe, Template, cli, until};

/// A small file system of its own below a test's home; unmounted when dropped.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(path: &Path) -> Self {
        std::fs::create_dir_all(path).expect("our own directory");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=24m,mode=0700", "wharf-test"]).arg(path);
        cli::run(command, b"", Duration::from_secs(10)).exits(0);
        Self { path: path.to_owned() }
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let file = std::fs::File::create(self.path.join("ballast")).expect("room for a name");
        let block = vec![0_u8; 65536];
        while std::io::Write::write(&mut &file, &block).is_ok_and(|written| written > 0) {}
        let byte = vec![0_u8; 512];
        while std::io::Write::write(&mut &file, &byte).is_ok_and(|written| written > 0) {}
    }

    fn free(&self) {
        std::fs::remove_file(self.path.join("ballast")).expect("our own ballast");
    }

    fn remount(&self, option: &str) {
        let mut command = Command::new("mount");
        command.args(["-o", &format!("remount,{option}")]).arg(&self.path);
        cli::run(command, b"", Duration::from_secs(10)).exits(0);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        wharf_tests::processes::end_all(&self.path.to_string_lossy());
        let mut command = Command::new("umount");
        command.arg("--lazy").arg(&self.path);
        _ = cli::run(command, b"", Duration::from_secs(10)).status;
    }
}

#[test]
fn a_full_disk_refuses_starts_before_any_hook_reads_work_and_it_goes_on_by_itself() {
    let home = Home::new();
    let disk = SmallDisk::mount(&home.path().join("disk"));
    let mut launcher =
        Launcher::at(&home).template(&Template::queueing("queue")).data(&disk.path.join("wharf")).start();
    let id = launcher.start_session(&json!({"template": "queue", "name": "before"}));
    launcher
        .await_session(&id, "submitted", Duration::from_secs(10), |session| session["phase"] == "submitted");
    disk.fill();
    // What is left in the log's own pages may still take a record or two.
    let answer = until("a start is refused", Duration::from_secs(20), || {
        let answer = launcher.http().post("/sessions", &json!({"template": "queue"}));
        match answer.status {
            503 => Probe::Ready(answer),
            201 => Probe::NotYet(answer.to_string()),
            _ => Probe::Never(answer.to_string()),
        }
    });
    let problem = answer.problem(503, "storage_full");
    assert!(problem["hint"].is_string() || problem["detail"].to_string().len() > 20, "{problem}");
    let submits = launcher.calls("submit", None);
    let listed = launcher.listed();
    launcher.http().post("/sessions", &json!({"template": "queue"})).problem(503, "storage_full");
    assert_eq!(launcher.calls("submit", None), submits, "no hook runs for a refused start");
    assert_eq!(launcher.listed(), listed, "reads work, and nothing half done is shown");
    assert_eq!(launcher.session(&id)["name"], "before");
    launcher.http().patch(&format!("/sessions/{id}/params"), &json!({"a": 1})).problem(503, "storage_full");
    launcher.cli(&["start", "queue"]).exits(7);
    disk.free();
    let fresh = until("starts work again", Duration::from_secs(20), || {
        let answer = launcher.http().post("/sessions", &json!({"template": "queue"}));
        Probe::when(answer.status == 201, answer.clone(), || answer.to_string())
    });
    let fresh = fresh.json()["id"].as_str().expect("an id").to_owned();
    launcher.start_queued(&fresh);
    launcher.await_connected(&fresh);
    assert!(launcher.is_running(), "without a restart");
    launcher.kill9();
    launcher.restart();
    assert_eq!(launcher.session(&id)["name"], "before");
    launcher.await_connected(&fresh);
    launcher.terminate(&fresh, "15s");
}

#[test]
fn a_read_only_disk_at_the_start_is_told() {
    let home = Home::new();
    let disk = SmallDisk::mount(&home.path().join("disk"));
    let data = disk.path.join("wharf");
    let mut launcher = Launcher::at(&home).data(&data).start();
    launcher.stop();
    disk.remount("ro");
    let data = data.to_string_lossy().into_owned();
    let output = cli::run(home.command(&["serve", "--data-dir", &data]), b"", Duration::from_secs(20));
    output.exits(1);
    assert!(output.stderr.contains(&data), "{output}");
    let words = output.stderr.to_lowercase();
    assert!(words.contains("read-only") || words.contains("written"), "{output}");
    disk.remount("rw");
    launcher.restart();
}

#[test]
fn a_backup_is_taken_while_it_runs_and_serves() {
    let mut launcher = Launcher::with(&Template::queueing("queue"));
    let id = launcher.start_session(&json!({"template": "queue", "name": "in the backup"}));
    let file = launcher.home().path().join("backup.db");
    let name = file.to_string_lossy().into_owned();
    launcher.cli(&["backup", &name]).exits(0);
    launcher.cli(&["backup", &name]).exits(4);
    launcher.cli(&["backup", &format!("{name}-absent/b.db")]).exits(2);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).expect("a backup").permissions());
    assert_eq!(mode & 0o077, 0, "a backup is private");
    assert_eq!(launcher.http().post(&format!("/sessions/{id}/purge"), &json!({})).status, 204);
    launcher.kill9();
    for suffix in ["", "-wal", "-shm"] {
        _ = std::fs::remove_file(launcher.data().join(format!("wharf.db{suffix}")));
    }
    std::fs::copy(&file, launcher.data().join("wharf.db")).expect("our own directory");
    launcher.restart();
    assert_eq!(launcher.session(&id)["name"], "in the backup");
}

#[test]
fn what_the_launcher_writes_is_private() {
    let launcher = Launcher::with(&Template::working("plain"));
    launcher.run_session("plain", &[]);
    let mode = |name: &str| {
        let metadata =
            std::fs::metadata(launcher.data().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777
    };
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("wharf.db"), 0o600);
    let keys: Vec<_> = std::fs::read_dir(launcher.data().join("keys")).expect("keys").flatten().collect();
    assert!(!keys.is_empty());
    for key in keys {
        assert_eq!(mode(&format!("keys/{}", key.file_name().to_string_lossy())), 0o600);
    }
}
