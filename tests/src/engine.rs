//! An engine as tests see it that run on each of them: its address, its client, and what is there.

use std::fmt::Debug;

use crate::{Dockerd, Output, Podman};

/// Docker, or what speaks its API.
pub trait Engine: Debug + Sync {
    /// What a client's `DOCKER_HOST` is.
    fn host(&self) -> String;
    /// Runs Docker's client on it.
    fn run(&self, args: &[&str]) -> Output;

    /// All containers, one line each: name, image, state, in Docker's words.
    #[track_caller]
    fn containers(&self) -> Vec<String> {
        let output = self.run(&["ps", "-a", "--format", "{{.Names}} {{.Image}} {{.State}}"]);
        let short = |line: &str| {
            let mut words = line.split(' ');
            let (name, image, state) = (words.next()?, words.next()?, words.next()?);
            // Podman shows images by their whole names, and has more words.
            let image = image.rsplit('/').next()?.trim_end_matches(":latest");
            let state = match state {
                "configured" | "initialized" => "created",
                state => state,
            };
            Some(format!("{name} {image} {state}"))
        };
        output.ok().lines().filter_map(short).collect()
    }

    /// One property of a container.
    #[track_caller]
    fn property(&self, container: &str, format: &str) -> String {
        self.run(&["inspect", "--type", "container", "--format", format, container]).ok().to_owned()
    }
}

impl Engine for Dockerd {
    fn host(&self) -> String {
        self.host()
    }

    fn run(&self, args: &[&str]) -> Output {
        self.run(args)
    }
}

impl Engine for Podman {
    fn host(&self) -> String {
        self.host()
    }

    fn run(&self, args: &[&str]) -> Output {
        self.run(args)
    }
}
