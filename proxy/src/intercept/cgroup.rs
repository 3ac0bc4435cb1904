//! Where cgroup v2 and the BPF file system are mounted.

use std::io;
use std::path::{Path, PathBuf};

use super::{InterceptError, find_kubepods};

/// `CGROUP2_SUPER_MAGIC` (linux/magic.h).
const CGROUP2_MAGIC: u64 = 0x6367_7270;
/// `BPF_FS_MAGIC` (linux/magic.h).
const BPF_MAGIC: u64 = 0xcafe_4a11;

/// The cgroup v2 mount, also beside v1 hierarchies (hybrid: /sys/fs/cgroup/unified).
///
/// # Errors
/// There is none.
pub fn find_cgroup2() -> Result<PathBuf, InterceptError> {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    mount_of_type(&mounts, "cgroup2").ok_or(InterceptError::NoCgroup2)
}

/// The cgroup v2 directory that `path` means: itself, or on a hybrid host, where it is the mount of the
/// version 1 hierarchies, the `unified` one in it.
pub fn cgroup2_at(path: PathBuf) -> PathBuf {
    let is_cgroup2 = |path: &Path| is_of_type(path, CGROUP2_MAGIC).unwrap_or(false);
    let unified = path.join("unified");
    if !is_cgroup2(&path) && is_cgroup2(&unified) { unified } else { path }
}

/// Whether `path` is on a BPF file system.
pub fn kernel_has_bpffs(path: &Path) -> bool {
    is_of_type(path, BPF_MAGIC).unwrap_or(false)
}

/// The inode of the cgroup at `path`: its id, as the kernel knows it.
pub(super) fn cgroup_id(path: &Path) -> Result<u64, InterceptError> {
    let failed = |error| InterceptError::Cgroup { path: path.to_owned(), error };
    if !is_of_type(path, CGROUP2_MAGIC).map_err(failed)? {
        return Err(InterceptError::NotCgroup2 { path: path.to_owned() });
    }
    let stat = rustix::fs::stat(path).map_err(|errno| failed(errno.into()))?;
    Ok(stat.st_ino)
}

/// Says so if `path` is what a cgroup namespace of our own shows as the root and no pods are below it:
/// they are elsewhere, and nothing would ever be caught. (A node of kind is a container with its pods
/// below its root.)
pub(super) fn warn_if_private(path: &Path) {
    // The true root is the first inode of its file system.
    let private = cgroup_id(path).is_ok_and(|id| id != 1);
    let root = find_cgroup2().is_ok_and(|root| root == path);
    if private && root && find_kubepods(path).is_none() {
        tracing::warn!(
            path = %path.display(),
            "the cgroup v2 mount shows only this container's cgroups: pods are not below it; mount \
             the host's (hostPath) and name it with --cgroup"
        );
    }
}

/// Mounts a BPF file system at `path` if there is none.
pub(super) fn ensure_bpffs(path: &Path) -> Result<(), InterceptError> {
    let failed = |error| InterceptError::Bpffs { path: path.to_owned(), error };
    if kernel_has_bpffs(path) {
        return Ok(());
    }
    std::fs::create_dir_all(path).map_err(failed)?;
    rustix::mount::mount("bpf", path, "bpf", rustix::mount::MountFlags::empty(), None)
        .map_err(|errno| failed(errno.into()))?;
    tracing::info!(path = %path.display(), "mounted a BPF file system");
    Ok(())
}

fn is_of_type(path: &Path, magic: u64) -> io::Result<bool> {
    let stat = rustix::fs::statfs(path)?;
    Ok(u64::try_from(stat.f_type).is_ok_and(|kind| kind & 0xffff_ffff == magic))
}

fn mount_of_type(mounts: &str, kind: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (path, found) = (fields.next()?, fields.next()?);
        // proc(5): blanks in a path are octal.
        (found == kind).then(|| PathBuf::from(path.replace("\\040", " ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup2_mount_is_found_beside_v1_ones() {
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/uni\\040fied cgroup2 rw 0 0\n";
        let found = mount_of_type(mounts, "cgroup2");
        assert_eq!(found.as_deref(), Some(Path::new("/sys/fs/cgroup/uni fied")));
        assert_eq!(mount_of_type("tmpfs /tmp tmpfs rw 0 0\n", "cgroup2"), None);
    }

    #[test]
    fn the_mount_of_a_hybrid_host_means_the_unified_one_in_it() {
        let Ok(mount) = find_cgroup2() else { return };
        assert_eq!(cgroup2_at(mount.clone()), mount);
        let other = PathBuf::from("/nonexistent");
        assert_eq!(cgroup2_at(other.clone()), other, "what is wrong is told where it is used");
        if let Some(v1) = mount.parent().filter(|_| mount.ends_with("unified")) {
            assert_eq!(cgroup2_at(v1.to_owned()), mount);
        }
    }
}
