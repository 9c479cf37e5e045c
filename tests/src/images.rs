//! Images of the shipped Dockerfiles, built by a real engine without any registry.
//!
//! ```text
//! debootstrap (this host's own mirror) ─▶ wharf-base ─ docker build templates/NAME ─▶ the template's default image
//! ```
//!
//! Building takes minutes. So the engine that has them keeps its data for the next tests of this machine, and builds
//! again only what has changed; one test at a time uses it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::fs::FlockOperation;

use crate::{Dockerd, Registry, cli, site};

/// How long each step may take on a busy machine with a slow mirror.
const BUILD: Duration = Duration::from_secs(900);

/// What is built without a bridge of the engine's own reaches mirrors by the host's network.
const BUILD_ARGS: [&str; 6] = ["build", "--quiet", "--network", "host", "--build-arg", "BASE=wharf-base"];

/// The engine that has them, while a test uses it.
#[derive(Debug)]
pub struct Images {
    /// The engine.
    pub engine: Dockerd,
    _alone: File,
}

impl Images {
    /// Waits for the engine, and makes the image of a shipped template there, under the template's default name.
    ///
    /// # Panics
    /// When it cannot be built: the package debootstrap is needed, root, and a mirror of Debian's packages.
    #[track_caller]
    pub fn of(template: &str, image: &str) -> Self {
        let place = std::env::temp_dir().join("wharf-images");
        fs::create_dir_all(&place).expect("the system's temporary directory takes directories");
        let alone = site::hold(&place.join("alone"), FlockOperation::LockExclusive);
        let engine = Dockerd::kept(&place.join("data"));
        if engine.run(&["image", "inspect", "wharf-base"]).status != 0 {
            base(&engine, &place);
        }
        let images = Self { engine, _alone: alone };
        images.also(template, image);
        images
    }

    /// Makes that of another template.
    ///
    /// # Panics
    /// When it cannot be built.
    #[track_caller]
    pub fn also(&self, template: &str, image: &str) {
        let context = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates").join(template);
        let context = context.to_string_lossy();
        self.engine
            .run_within(&[&BUILD_ARGS, ["--tag", image, &context].as_slice()].concat(), BUILD)
            .exits(0);
    }

    /// Puts an image of so many bytes into a registry alone; its name there.
    ///
    /// # Panics
    /// When it cannot be made.
    #[track_caller]
    pub fn published(&self, registry: &Registry, bytes: u64) -> String {
        let name = format!("{}/big:1", registry.host());
        self.engine.big_image("big", bytes);
        self.engine.run(&["tag", "big", &name]).exits(0);
        self.engine.run(&["push", "--quiet", &name]).exits(0);
        self.engine.run(&["rmi", "--force", &name, "big"]).exits(0);
        name
    }
}

/// A small Debian as the Dockerfiles begin with, with the authorities and the package index that this host's administrator has set.
#[track_caller]
fn base(engine: &Dockerd, place: &Path) {
    let (root, archive) = (place.join("base"), place.join("base.tar"));
    _ = fs::remove_dir_all(&root);
    run(Command::new("debootstrap").arg("--variant=minbase").arg("bookworm").arg(&root).args(mirror()));
    for path in ["usr/local/share/ca-certificates", "etc/pip.conf"] {
        let host = Path::new("/").join(path);
        if host.exists() {
            run(Command::new("cp").arg("-aT").arg(host).arg(root.join(path)));
        }
    }
    run(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg("."));
    _ = fs::remove_dir_all(&root);
    engine.run_within(&["import", &archive.to_string_lossy(), "wharf-base"], BUILD).exits(0);
    _ = fs::remove_file(&archive);
}

/// Where this host gets its own packages.
fn mirror() -> Option<PathBuf> {
    let mut command = Command::new("apt-get");
    command.args(["indextargets", "--format", "$(REPO_URI) $(COMPONENT)", "Created-By: Packages"]);
    let output = cli::run(command, b"", BUILD);
    let is_main = |line: &&str| line.ends_with("/debian/ main");
    let line = output.stdout.lines().find(is_main)?;
    Some(PathBuf::from(line.split(' ').next()?))
}

#[track_caller]
fn run(command: &mut Command) {
    let command = std::mem::replace(command, Command::new("true"));
    cli::run(command, b"", BUILD).exits(0);
}
