//! Removes what worlds leave: a world's own things at its end, and those of runs that were killed.
//!
//! Every name carries the owner's pid (`nodeway-test-<pid>-<n>`), so a living run's world is never
//! touched.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::{cgroup, netns};

/// How every name starts.
pub const PREFIX: &str = "nodeway-test-";

/// The scratch folder of the world `name`: manifests, logs, its own bpffs.
#[must_use]
pub fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(name)
}

/// Removes everything that belongs to the world `name` (`nodeway-test-<pid>-<n>`).
pub fn remove(name: &str) {
    if let Some(root) = cgroup::root() {
        cgroup::remove(&root.join(name));
    }
    for namespace in netns::with_prefix(&format!("{name}-")) {
        netns::remove(&namespace);
    }
    let scratch = scratch(name);
    unmount(&scratch.join("bpf"));
    fs::remove_dir_all(scratch).ok();
}

/// Removes every world that the process `pid` made.
pub fn remove_owned_by(pid: u32) {
    worlds().into_iter().filter(|name| owner(name) == Some(pid)).for_each(|name| remove(&name));
}

/// Removes the worlds whose owner is dead.
pub fn remove_leftovers() {
    let dead =
        |name: &String| owner(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
    worlds().into_iter().filter(dead).for_each(|name| remove(&name));
}

/// Every world that left a trace anywhere.
fn worlds() -> Vec<String> {
    let folders = [cgroup::root(), Some(std::env::temp_dir())];
    let mut names: Vec<String> = folders
        .into_iter()
        .flatten()
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(PREFIX))
        .chain(netns::with_prefix(PREFIX).iter().filter_map(|name| world_of(name)))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// `nodeway-test-12-3-client` belongs to `nodeway-test-12-3`.
fn world_of(namespace: &str) -> Option<String> {
    let mut words = namespace.strip_prefix(PREFIX)?.splitn(3, '-');
    Some(format!("{PREFIX}{}-{}", words.next()?, words.next()?))
}

fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

/// Unmounts `path` if something is mounted there.
pub fn unmount(path: &Path) {
    if let Ok(raw) = CString::new(path.as_os_str().as_bytes()) {
        // SAFETY: `raw` is a NUL-terminated path that outlives the call.
        unsafe { libc::umount2(raw.as_ptr(), libc::MNT_DETACH) };
    }
}

#[cfg(test)]
mod tests {
    use super::{owner, world_of};

    #[test]
    fn a_name_says_whose_it_is() {
        assert_eq!(owner("nodeway-test-4711-3"), Some(4711));
        assert_eq!(owner("nodeway-test-x"), None);
        assert_eq!(owner("someone-else-4711"), None);
        assert_eq!(world_of("nodeway-test-12-3-web-1").as_deref(), Some("nodeway-test-12-3"));
    }
}
