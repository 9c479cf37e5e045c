//! Lists the shipped templates of `../templates` for [`builtin`](../src/builtin.rs): path, bytes, whether executable.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

fn main() {
    let root =
        PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../templates");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    walk(&root, &root, &mut files);
    files.sort();
    let mut code = String::from("&[\n");
    for (name, path, executable) in files {
        writeln!(code, "    ({name:?}, include_bytes!({path:?}), {executable}),")
            .expect("a string takes all");
    }
    code.push(']');
    let out = PathBuf::from(std::env::var("OUT_DIR").expect("cargo sets it")).join("builtin.rs");
    std::fs::write(out, code).expect("OUT_DIR is ours");
}

fn walk(root: &Path, dir: &Path, files: &mut Vec<(String, PathBuf, bool)>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            walk(root, &path, files);
        } else if let Ok(name) = path.strip_prefix(root)
            && let Some(name) = name.to_str()
            && name.contains('/')
        {
            files.push((name.to_owned(), path.clone(), meta.permissions().mode() & 0o100 != 0));
        }
    }
}
