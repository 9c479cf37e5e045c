//! A template's files: who may have written them, what is in them, and whether they have changed.
//!
//! Everything is checked on opened handles, never on names alone: parents are walked from `/` without following
//! links, files are opened below the template's own handle, and what was checked is what is read.
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else an entry is, it is refused")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use sha2::{Digest, Sha256};
use wharf_protocol::template::{Finding, Severity};

/// Most bytes of one file of a template.
const FILE_MAX: u64 = 32 << 20;
/// Most bytes of all files of a template.
const TOTAL_MAX: u64 = 64 << 20;
/// Most files and directories of a template.
const ENTRIES_MAX: usize = 2000;
/// Deepest directory below a template.
const DEPTH_MAX: usize = 16;

/// One file, in memory.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Its content.
    pub(crate) bytes: Vec<u8>,
    /// Its owner may execute it.
    pub(crate) executable: bool,
    /// What the file system said of it when it was read; none for built-in ones.
    pub(crate) stamp: Option<Stamp>,
}

/// All files of one template.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    /// Where they lie; none for built-in ones.
    pub(crate) dir: Option<PathBuf>,
    /// By path relative to the template.
    pub(crate) files: BTreeMap<String, File>,
}

/// What changes whenever a file does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    mode: u32,
    uid: u32,
    size: i64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl Stamp {
    fn of(stat: &Stat) -> Self {
        Self {
            device: stat.st_dev,
            inode: stat.st_ino,
            mode: stat.st_mode,
            uid: stat.st_uid,
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            changed: (stat.st_ctime, stat.st_ctime_nsec),
        }
    }

    /// The stamp of a file as it is now.
    pub(crate) fn now(path: &Path) -> Option<Self> {
        rustix::fs::stat(path).ok().map(|stat| Self::of(&stat))
    }
}

/// The stamps of a whole template; equal means unchanged.
pub(crate) type Signature = Vec<(String, Stamp)>;

impl Files {
    /// SHA-256 over names, modes and contents, hexadecimal.
    pub(crate) fn hash(&self) -> String {
        let mut hash = Sha256::new();
        for (name, file) in &self.files {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name.as_bytes());
            hash.update([u8::from(file.executable)]);
            hash.update((file.bytes.len() as u64).to_le_bytes());
            hash.update(&file.bytes);
        }
        hex(&hash.finalize())
    }
}

/// Hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn whole(code: &str, file: &str, message: impl Into<String>) -> Finding {
    Finding {
        file: file.to_owned(),
        line: None,
        severity: Severity::Error,
        code: code.to_owned(),
        message: message.into(),
    }
}

fn mine(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Opens a template's directory after checking it and every parent.
pub(crate) fn open(dir: &Path, out: &mut Vec<Finding>) -> Option<(PathBuf, OwnedFd)> {
    let refuse = |message: String| whole("unreadable", ".", message);
    let real = match std::fs::canonicalize(dir) {
        Ok(real) => real,
        Err(error) => {
            out.push(refuse(format!("{}: {error}", dir.display())));
            return None;
        }
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut path = PathBuf::from("/");
    let mut handle = rustix::fs::open("/", flags, Mode::empty()).ok()?;
    let mut stats = vec![(path.clone(), rustix::fs::fstat(&handle).ok()?)];
    for part in real.components().skip(1) {
        path.push(part);
        let next = rustix::fs::openat(&handle, Path::new(part.as_os_str()), flags, Mode::empty());
        let stat = next.as_ref().map_err(|error| *error).and_then(rustix::fs::fstat);
        match (next, stat) {
            (Ok(next), Ok(stat)) => {
                stats.push((path.clone(), stat));
                handle = next;
            }
            (Err(error), _) | (_, Err(error)) => {
                out.push(refuse(format!("{}: {error}", path.display())));
                return None;
            }
        }
    }
    let before = out.len();
    for (index, (path, stat)) in stats.iter().enumerate() {
        let shown = path.display();
        if !mine(stat.st_uid) {
            out.push(whole(
                "unsafe_owner",
                ".",
                format!(
                    "{shown} belongs to user {}; owners have to be root or the launcher's user",
                    stat.st_uid
                ),
            ));
        }
        if stat.st_mode & 0o022 != 0 {
            let below = stats.get(index + 1);
            let sticky = stat.st_mode & 0o1000 != 0 && stat.st_uid == 0;
            let guarded = below.is_some_and(|(_, next)| mine(next.st_uid) && next.st_mode & 0o077 == 0);
            if !(sticky && guarded) {
                let advice = if below.is_some() && sticky {
                    "make the first directory below it 0700".to_owned()
                } else {
                    format!("chmod go-w {shown}")
                };
                out.push(whole("unsafe_mode", ".", format!("others may write to {shown}: {advice}")));
            }
        }
    }
    (out.len() == before).then_some((real, handle))
}

/// The stamps of everything in an opened template, without reading it.
pub(crate) fn signature(handle: &OwnedFd) -> Signature {
    let mut entries = Vec::new();
    // What cannot be listed shows up when it is read.
    let _ = list(handle.as_fd(), "", 0, &mut entries);
    entries.into_iter().map(|(name, stat)| (name, Stamp::of(&stat))).collect()
}

fn list(
    root: BorrowedFd<'_>,
    below: &str,
    depth: usize,
    entries: &mut Vec<(String, Stat)>,
) -> rustix::io::Result<()> {
    let here = if below.is_empty() { "." } else { below };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat2(
        root,
        here,
        flags,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
    )?;
    let mut names = Vec::new();
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for name in names {
        if name == "." || name == ".." || name == ".git" || entries.len() > ENTRIES_MAX {
            continue;
        }
        let Ok(stat) = rustix::fs::statat(&dir, &*name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        entries.push((path.clone(), stat));
        if is_dir && depth < DEPTH_MAX {
            list(root, &path, depth + 1, entries)?;
        }
    }
    Ok(())
}

/// Reads an opened template into memory, checking each file on its own handle.
pub(crate) fn read(dir: &Path, handle: &OwnedFd, out: &mut Vec<Finding>) -> Files {
    let mut files = Files { dir: Some(dir.to_owned()), files: BTreeMap::new() };
    let mut entries = Vec::new();
    if let Err(error) = list(handle.as_fd(), "", 0, &mut entries) {
        out.push(whole("unreadable", ".", format!("cannot be listed: {error}")));
    }
    if entries.len() > ENTRIES_MAX {
        out.push(whole("too_large", ".", format!("more than {ENTRIES_MAX} files")));
        return files;
    }
    let mut total = 0;
    for (name, listed) in entries {
        let kind = FileType::from_raw_mode(listed.st_mode);
        if kind == FileType::Directory {
            check_entry(&name, &listed, out);
        } else if kind == FileType::RegularFile || kind == FileType::Symlink {
            if let Some(file) = read_file(handle.as_fd(), &name, &mut total, out) {
                files.files.insert(name, file);
            }
        } else {
            out.push(whole("not_a_file", &name, "neither a file nor a directory"));
        }
    }
    files
}

fn check_entry(name: &str, stat: &Stat, out: &mut Vec<Finding>) {
    if !mine(stat.st_uid) {
        let message =
            format!("belongs to user {}; owners have to be root or the launcher's user", stat.st_uid);
        out.push(whole("unsafe_owner", name, message));
    }
    if stat.st_mode & 0o022 != 0 {
        out.push(whole("unsafe_mode", name, "others may write to it: chmod go-w it"));
    }
}

fn read_file(root: BorrowedFd<'_>, name: &str, total: &mut u64, out: &mut Vec<Finding>) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let handle = match rustix::fs::openat2(root, name, flags, Mode::empty(), resolve) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::XDEV) => {
            out.push(whole("symlink", name, "a link that leaves the template"));
            return None;
        }
        Err(error) => {
            out.push(whole("unreadable", name, format!("cannot be opened: {error}")));
            return None;
        }
    };
    let stat = rustix::fs::fstat(&handle).ok()?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        // A link to a directory of the template: its files are read where they are.
        FileType::Directory => return None,
        _ => {
            out.push(whole("not_a_file", name, "neither a file nor a directory"));
            return None;
        }
    }
    check_entry(name, &stat, out);
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    *total += size;
    if size > FILE_MAX || *total > TOTAL_MAX {
        let message =
            format!("a template takes files up to {} MiB, {} MiB in all", FILE_MAX >> 20, TOTAL_MAX >> 20);
        out.push(whole("too_large", name, message));
        return None;
    }
    let mut bytes = Vec::new();
    let mut limited = std::io::Read::take(std::fs::File::from(handle), FILE_MAX);
    if let Err(error) = std::io::Read::read_to_end(&mut limited, &mut bytes) {
        out.push(whole("unreadable", name, format!("cannot be read: {error}")));
        return None;
    }
    Some(File { bytes, executable: stat.st_mode & 0o100 != 0, stamp: Some(Stamp::of(&stat)) })
}

/// Opens a file below `root` without following any link and tells whether it is a regular one.
pub(crate) fn regular_beneath(root: &Path, path: &Path) -> bool {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(real) = std::fs::canonicalize(root) else { return false };
    let Some(below) = path.strip_prefix(root).ok().or_else(|| path.strip_prefix(&real).ok()) else {
        return false;
    };
    let Ok(handle) = rustix::fs::open(&real, flags, Mode::empty()) else { return false };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(&handle, below, flags, Mode::empty(), resolve)
        .and_then(|file| rustix::fs::fstat(&file))
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
}
