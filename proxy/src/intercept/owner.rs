//! Who serves a cgroup, and the directories where links are pinned.
//!
//! A process pins its links in a directory of its own, `<bpffs>/nodeway/<inode of the cgroup>/v<ABI>-<n>`,
//! and holds a lock on that, which the kernel gives back with the process, however it ends. A directory
//! that nobody has locked is what a crash has left. A process that has its first full state and does not
//! drain has a mark in there: connects are in good hands with it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nodeway_ebpf::ABI_VERSION;
use rustix::fs::{FlockOperation, flock};

use super::InterceptError;
use super::bpf::{detach, is_detached, pin_again};
use super::cgroup::{cgroup_id, ensure_bpffs};

/// Whoever else is starting on the cgroup needs a moment only.
const TURN: Duration = Duration::from_secs(5);
/// A directory among the pins: the mark.
const SERVES: &str = "serves";
/// A map among the pins: the notes of connections that go on when their process has gone.
pub(super) const CARRIED: &str = "CARRIED";

/// This process's directory of pins, and the right to serve the cgroup.
#[derive(Debug)]
pub(super) struct Owner {
    /// `<bpffs>/nodeway/<inode of the cgroup>`.
    directory: PathBuf,
    /// Ours, in there.
    pins: PathBuf,
    lock: File,
}

// === impl Owner ===

impl Owner {
    /// Takes ownership. If another process serves the cgroup, it is an error, or with `takeover` that
    /// one's directory of pins is given beside.
    pub(super) fn take(
        cgroup: &Path,
        bpffs: &Path,
        takeover: bool,
    ) -> Result<(Self, Option<PathBuf>), InterceptError> {
        let id = cgroup_id(cgroup)?;
        ensure_bpffs(bpffs)?;
        let directory = bpffs.join("nodeway").join(id.to_string());
        let failed = |error| InterceptError::Bpffs { path: directory.clone(), error };
        // One at a time looks around and makes its directory.
        let _turn = turn(&directory, TURN).map_err(failed)?;
        let mut serving: Vec<PathBuf> =
            entries(&directory).filter(|pins| lock(pins).is_none()).collect();
        let cgroup = cgroup.to_owned();
        let predecessor = match serving.pop() {
            Some(pins) if !takeover => return Err(InterceptError::Owned { cgroup, pins }),
            Some(_) if !serving.is_empty() => return Err(InterceptError::TakenOver { cgroup }),
            other => other,
        };
        let pins = free_name(&directory);
        fs::create_dir(&pins).map_err(failed)?;
        let Some(lock) = lock(&pins) else {
            return Err(InterceptError::Owned { cgroup, pins });
        };
        let owner = Self { directory, pins, lock };
        owner.take_notes();
        Ok((owner, predecessor))
    }

    /// Where this process's links are pinned.
    pub(super) fn pins(&self) -> &Path {
        &self.pins
    }

    /// Takes the notes of connections that go on over from another process of this version that keeps them, or has
    /// left them. For whoever has the turn: nobody removes them meanwhile.
    fn take_notes(&self) {
        let ours = |pins: &PathBuf| {
            let name = pins.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with(&format!("v{ABI_VERSION}-")))
        };
        // Who lives has newer ones.
        let mut others: Vec<PathBuf> = self.others().filter(ours).collect();
        others.sort_by_key(|pins| lock(pins).is_some());
        let own = self.pins.join(CARRIED);
        let kept = others.iter().map(|pins| pins.join(CARRIED)).find(|notes| notes.exists());
        if let Some(notes) = kept
            && let Err(error) = pin_again(&notes, &own)
        {
            tracing::warn!(path = %notes.display(), %error, "notes of connections are lost");
        }
    }

    /// Marks that connects are in good hands here, or not any more.
    pub(super) fn serves(&self, serves: bool) {
        let mark = self.pins.join(SERVES);
        let done = if serves { fs::create_dir(&mark) } else { fs::remove_dir(&mark) };
        if let Err(error) = done {
            tracing::debug!(path = %mark.display(), %error, "a mark");
        }
    }

    /// Whether connects are in good hands with another process. None if that cannot be told now.
    pub(super) fn is_succeeded(&self) -> Option<bool> {
        // Somebody else's turn: another time.
        let _turn = turn(&self.directory, Duration::ZERO).ok()?;
        Some(self.others().any(|pins| pins.join(SERVES).exists() && lock(&pins).is_none()))
    }

    /// Makes the directory of pins anew if somebody has removed it.
    pub(super) fn mend(&mut self) -> Result<(), InterceptError> {
        let failed = |error| InterceptError::Bpffs { path: self.pins.clone(), error };
        let there = fs::metadata(&self.pins).is_ok_and(|found| is(&self.lock, &found));
        if !there {
            fs::create_dir_all(&self.pins).map_err(failed)?;
            let held = || io::Error::other("somebody else has locked it");
            self.lock = lock(&self.pins).ok_or_else(held).map_err(failed)?;
        }
        Ok(())
    }

    /// Removes what crashed owners have left, of any version. Their programs are detached by that.
    /// Whether no other process has pins then.
    pub(super) fn remove_stale(&self) -> bool {
        // Somebody else's turn: another time.
        let Ok(_turn) = turn(&self.directory, Duration::ZERO) else { return false };
        let mut alone = true;
        for pins in self.others() {
            let Some(_lock) = lock(&pins) else {
                alone = false;
                continue;
            };
            tracing::info!(path = %pins.display(), "removing what a crash has left");
            remove_pins(&pins);
        }
        alone
    }

    /// Removes the pins of crashed owners whose cgroups are gone: their programs were detached with the
    /// cgroup, and nobody else will ever come by. The links say so, not the cgroups: from within a
    /// cgroup namespace not all of those can be seen.
    pub(super) fn remove_orphans(&self) {
        let Some(all) = self.directory.parent() else { return };
        for other in entries(all).filter(|path| *path != self.directory) {
            let mut pins = entries(&other).flat_map(|pins| links(&pins)).peekable();
            // Without any pin it may be an owner who is just starting.
            if pins.peek().is_none() || !pins.all(|pin| is_detached(&pin).unwrap_or(false)) {
                continue;
            }
            let Ok(_turn) = turn(&other, Duration::ZERO) else { continue };
            let locks: Vec<_> = entries(&other).map(|pins| (lock(&pins), pins)).collect();
            if locks.iter().all(|(lock, _)| lock.is_some()) {
                tracing::info!(path = %other.display(), "removing the pins of a cgroup that is gone");
                locks.iter().for_each(|(_, pins)| remove_pins(pins));
                let _ = fs::remove_dir(&other);
            }
        }
    }

    fn others(&self) -> impl Iterator<Item = PathBuf> {
        entries(&self.directory).filter(|pins| *pins != self.pins)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        remove_pins(&self.pins);
        let _ = fs::remove_dir(&self.directory);
        // Shared with the owners of other cgroups: goes with the last.
        if let Some(parent) = self.directory.parent() {
            let _ = fs::remove_dir(parent);
        }
    }
}

/// The right to look around in `directory`, until the file is closed.
fn turn(directory: &Path, patience: Duration) -> io::Result<File> {
    let deadline = Instant::now() + patience;
    loop {
        fs::create_dir_all(directory)?;
        let turn = match File::open(directory) {
            Ok(turn) => turn,
            // A former owner has just tidied up behind itself.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        match flock(&turn, FlockOperation::NonBlockingLockExclusive) {
            // What was locked may have been removed before the lock was had.
            Ok(()) if fs::metadata(directory).is_ok_and(|now| is(&turn, &now)) => return Ok(turn),
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn is(file: &File, found: &fs::Metadata) -> bool {
    file.metadata().is_ok_and(|locked| locked.ino() == found.ino())
}

/// A lock on a directory of pins; none if its process lives.
fn lock(pins: &Path) -> Option<File> {
    let file = File::open(pins).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(file)
}

/// A crashed owner of the same version may have left links under the first name.
fn free_name(directory: &Path) -> PathBuf {
    let name = |n: u32| directory.join(format!("v{ABI_VERSION}-{n}"));
    name((1..u32::MAX).find(|n| !name(*n).exists()).unwrap_or(u32::MAX))
}

/// Detaches what is pinned in a directory and removes it; file by file, because the BPF file system
/// cannot do more.
fn remove_pins(directory: &Path) {
    let _ = fs::remove_dir(directory.join(SERVES));
    let _ = fs::remove_file(directory.join(CARRIED));
    for pin in links(directory) {
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

/// The pinned links in a directory of pins.
fn links(pins: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    entries(pins).filter(|pin| !pin.ends_with(SERVES) && !pin.ends_with(CARRIED))
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}
