//! One owner per cgroup, and the directory where its links are pinned.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nodeway_ebpf::ABI_VERSION;
use rustix::fs::{FlockOperation, flock};

use super::InterceptError;
use super::bpf::{detach, is_detached};
use super::cgroup::{cgroup_id, ensure_bpffs};

/// Ownership of a cgroup: a lock on its directory of pins, which the kernel gives back with the
/// process, however that ends.
#[derive(Debug)]
pub(super) struct Owner {
    _lock: File,
    /// `<bpffs>/nodeway/<inode of the cgroup>`.
    directory: PathBuf,
}

impl Owner {
    /// Takes ownership.
    pub(super) fn take(cgroup: &Path, bpffs: &Path) -> Result<Self, InterceptError> {
        let id = cgroup_id(cgroup)?;
        ensure_bpffs(bpffs)?;
        let directory = bpffs.join("nodeway").join(id.to_string());
        let failed = |error| InterceptError::Bpffs { path: directory.clone(), error };
        loop {
            fs::create_dir_all(&directory).map_err(failed)?;
            let lock = match File::open(&directory) {
                Ok(lock) => lock,
                // A former owner has just tidied up behind itself.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let (cgroup, pins) = (cgroup.to_owned(), directory);
                    return Err(InterceptError::Owned { cgroup, pins });
                }
                Err(errno) => return Err(failed(errno.into())),
            }
            // What was locked may have been removed before the lock was had.
            let locked = lock.metadata().map_err(failed)?.ino();
            if fs::metadata(&directory).is_ok_and(|now| now.ino() == locked) {
                return Ok(Self { _lock: lock, directory });
            }
        }
    }

    /// Where this version's links are pinned until the new ones of a start are all in place.
    pub(super) fn pins(&self) -> Result<PathBuf, InterceptError> {
        // A crashed owner of the same version may have left links under the name that is wanted.
        let base = format!("v{ABI_VERSION}");
        let taken = |n: &u32| self.directory.join(format!("{base}-{n}")).exists();
        let n = (1..u32::MAX).find(|n| !taken(n)).unwrap_or(u32::MAX);
        let pins = self.directory.join(format!("{base}-{n}"));
        fs::create_dir(&pins)
            .map_err(|error| InterceptError::Bpffs { path: pins.clone(), error })?;
        Ok(pins)
    }

    /// Removes the pins of crashed owners whose cgroups are gone: their programs were detached with the
    /// cgroup, and nobody else will ever come by. The links say so, not the cgroups: from within a
    /// cgroup namespace not all of those can be seen.
    pub(super) fn remove_orphans(&self) {
        let Some(all) = self.directory.parent() else { return };
        for other in entries(all).filter(|path| *path != self.directory) {
            let mut pins = entries(&other).flat_map(|pins| entries(&pins)).peekable();
            // Without any pin it may be an owner who is just starting.
            if pins.peek().is_none() || !pins.all(|pin| is_detached(&pin).unwrap_or(false)) {
                continue;
            }
            let free = File::open(&other)
                .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok());
            if free {
                tracing::info!(path = %other.display(), "removing the pins of a cgroup that is gone");
                entries(&other).for_each(|pins| remove_pins(&pins));
                let _ = fs::remove_dir(&other);
            }
        }
    }

    /// Removes the pins of crashed owners, of any version: all but `keep`. Their programs are
    /// detached by that.
    pub(super) fn remove_stale(&self, keep: &Path) {
        for path in entries(&self.directory).filter(|path| path != keep) {
            tracing::info!(path = %path.display(), "removing what a crash has left");
            remove_pins(&path);
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        entries(&self.directory).for_each(|path| remove_pins(&path));
        let _ = fs::remove_dir(&self.directory);
        // Shared with the owners of other cgroups: goes with the last.
        if let Some(parent) = self.directory.parent() {
            let _ = fs::remove_dir(parent);
        }
    }
}

/// Detaches what is pinned in a directory and removes it; file by file, because the BPF file system
/// cannot do more.
fn remove_pins(directory: &Path) {
    for pin in entries(directory) {
        if let Err(error) = detach(&pin) {
            tracing::warn!(path = %pin.display(), %error, "cannot detach a pinned link");
        }
        if let Err(error) = fs::remove_file(&pin) {
            tracing::warn!(path = %pin.display(), %error, "cannot remove a pin");
        }
    }
    if let Err(error) = fs::remove_dir(directory) {
        tracing::warn!(path = %directory.display(), %error, "cannot remove a directory of pins");
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}
