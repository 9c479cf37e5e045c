//! Builds the static monitor with a cargo of its own and hands its bytes to the program.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let get = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let root = PathBuf::from(get("CARGO_MANIFEST_DIR")).join("..");
    for input in ["monitor", "link", "protocol", "Cargo.lock", "Cargo.toml"] {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }
    let out = PathBuf::from(get("OUT_DIR"));
    let target = get("HOST");
    let built = build(&root, &out.join("monitor"), &target, &get("CARGO"));
    let copy = out.join("wharf-monitor");
    std::fs::copy(&built, &copy).expect("the built monitor can be copied");
    println!("cargo:rustc-env=WHARF_MONITOR_BYTES={}", copy.display());
}

fn build(root: &Path, dir: &Path, target: &str, cargo: &str) -> PathBuf {
    let mut command = Command::new(cargo);
    command
        .current_dir(root)
        .args(["build", "--locked", "--package", "wharf-monitor", "--profile", "monitor", "--target", target])
        .arg("--target-dir")
        .arg(dir);
    // What this build was told is not meant for that one: another crate, another target, other flags.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let kept = matches!(&*text, "CARGO_HOME" | "CARGO_NET_OFFLINE")
            || text.starts_with("CARGO_REGISTRIES_")
            || text.starts_with("CARGO_REGISTRY_")
            || text.starts_with("CARGO_SOURCE_")
            || text.starts_with("CARGO_HTTP_");
        let ours = text.starts_with("CARGO") || text.starts_with("RUSTC") || text.starts_with("DEP_");
        let flags = matches!(
            &*text,
            "RUSTFLAGS"
                | "OUT_DIR"
                | "TARGET"
                | "HOST"
                | "PROFILE"
                | "OPT_LEVEL"
                | "DEBUG"
                | "NUM_JOBS"
                | "MAKEFLAGS"
        );
        if (ours && !kept) || flags {
            command.env_remove(&name);
        }
    }
    command.env("RUSTFLAGS", "-C target-feature=+crt-static");
    let status = command.status().expect("cargo can be executed");
    assert!(status.success(), "the monitor could not be built; see the lines above");
    dir.join(target).join("monitor/wharf-monitor")
}
