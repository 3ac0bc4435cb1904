//! The cgroup v2 tree: where it is mounted, making, killing and removing groups in it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::wait::within;

/// Where cgroup v2 is mounted; hybrid hosts have it at `/sys/fs/cgroup/unified`.
#[must_use]
pub fn root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (path, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path))
    })
}

/// The kernel's id of a cgroup: its inode.
///
/// # Panics
/// When there is no such cgroup.
#[must_use]
pub fn id(cgroup: &Path) -> u64 {
    fs::metadata(cgroup).expect("a cgroup").ino()
}

/// Kills every process in `cgroup` and below, and removes it; true if it is gone.
pub fn remove(cgroup: &Path) -> bool {
    if !cgroup.exists() {
        return true;
    }
    fs::write(cgroup.join("cgroup.kill"), "1").ok();
    let empty = || {
        fs::read_to_string(cgroup.join("cgroup.events"))
            .map_or(true, |events| events.contains("populated 0"))
    };
    within(Duration::from_secs(5), empty);
    within(Duration::from_secs(2), || remove_tree(cgroup))
}

/// Removes groups from the leaves up; the files in them go by themselves.
fn remove_tree(cgroup: &Path) -> bool {
    for child in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&child.path());
        }
    }
    fs::remove_dir(cgroup).is_ok() || !cgroup.exists()
}
