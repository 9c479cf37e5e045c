//! Where a process stands among the cgroups, mostly those of version 2, read from what `/proc` says of it.
//!
//! Text in, paths out: whoever makes, joins or kills one does so itself. A session's own cgroup is named after it, so
//! that it is found again by its name alone, whoever made it.

use std::path::{Path, PathBuf};

use crate::SessionId;

/// The name of a session's own cgroup.
pub fn name_of(session: &SessionId) -> String {
    format!("wharf-{session}")
}

/// Where the cgroups of version 2 are mounted, and which of them is the mount's root: from `/proc/PID/mountinfo`.
fn mount(mountinfo: &str) -> Option<(PathBuf, &str)> {
    mountinfo.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ');
        let (root, at) = (place.nth(3)?, place.next()?);
        // Blanks and their like stand as octal numbers; nobody mounts cgroups at such a place.
        (kind.starts_with("cgroup2 ") && !at.contains('\\')).then(|| (PathBuf::from(at), root))
    })
}

/// Where the cgroups of version 2 are mounted: from `/proc/PID/mountinfo`.
pub fn root(mountinfo: &str) -> Option<PathBuf> {
    mount(mountinfo).map(|(at, _)| at)
}

/// The directory of a process's own cgroup: from `/proc/PID/cgroup` and `/proc/PID/mountinfo`.
pub fn directory(cgroup: &str, mountinfo: &str) -> Option<PathBuf> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    let (at, root) = mount(mountinfo)?;
    inside(own, root, &at)
}

/// The directory of a process's cgroup of one controller of version 1, such as `memory`; hosts may have both versions.
pub fn directory_v1(controller: &str, cgroup: &str, mountinfo: &str) -> Option<PathBuf> {
    let own = cgroup.lines().find_map(|line| {
        let (_, line) = line.split_once(':')?;
        let (controllers, own) = line.split_once(':')?;
        controllers.split(',').any(|one| one == controller).then_some(own)
    })?;
    mountinfo.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut place = place.split(' ');
        let (root, at) = (place.nth(3)?, place.next()?);
        let options = kind.strip_prefix("cgroup ")?.rsplit(' ').next()?;
        let ours = options.split(',').any(|one| one == controller) && !at.contains('\\');
        ours.then(|| inside(own, root, Path::new(at))).flatten()
    })
}

/// A cgroup's directory below the mount that shows `root`.
fn inside(own: &str, root: &str, at: &Path) -> Option<PathBuf> {
    // What lies outside of the mount cannot be reached through it.
    let below = Path::new(own).strip_prefix(root).ok()?;
    let climbs = below.components().any(|part| part == std::path::Component::ParentDir);
    (!climbs).then(|| at.join(below.strip_prefix("/").unwrap_or(below)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "25 1 0:21 / /sys rw - sysfs sysfs rw\n\
        31 30 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        40 30 0:35 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n";

    #[test]
    fn the_directory_is_below_the_mount_of_version_2() {
        let own = "3:memory:/jobs\n0::/user.slice/a.service\n";
        let expected = Some(PathBuf::from("/sys/fs/cgroup/unified/user.slice/a.service"));
        assert_eq!(directory(own, HYBRID), expected);
        assert_eq!(directory("0::/\n", HYBRID), Some(PathBuf::from("/sys/fs/cgroup/unified/")));
    }

    #[test]
    fn a_mount_of_a_part_shows_only_that_part() {
        let bound = "40 30 0:35 /pod/a /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(directory("0::/pod/a/b\n", bound), Some(PathBuf::from("/sys/fs/cgroup/b")));
        assert_eq!(directory("0::/pod/ab\n", bound), None);
        assert_eq!(directory("0::/../x\n", HYBRID), None);
    }

    #[test]
    fn a_controller_of_version_1_has_a_place_of_its_own() {
        let own = "9:memory:/docker/a\n4:cpu,cpuacct:/b\n0::/docker/a\n";
        let inside = "31 30 0:26 /docker/a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        assert_eq!(directory_v1("memory", own, inside), Some(PathBuf::from("/sys/fs/cgroup/memory/")));
        assert_eq!(
            directory_v1("memory", own, HYBRID),
            Some(PathBuf::from("/sys/fs/cgroup/memory/docker/a"))
        );
        assert_eq!(directory_v1("cpuacct", own, HYBRID), None);
        assert_eq!(directory_v1("memory", "0::/a\n", HYBRID), None);
    }

    #[test]
    fn a_host_without_version_2_has_none() {
        assert_eq!(directory("3:memory:/jobs\n", HYBRID), None);
        assert_eq!(directory("0::/a\n", "31 30 0:26 / /cg rw - cgroup cgroup rw\n"), None);
    }
}
