//! What can go wrong at the kernel's door.

use std::io;
use std::path::PathBuf;

use aya::maps::MapError;

use crate::errors::chain;

/// Each variant names the thing that failed and, where there is one, the way out.
#[derive(Debug, thiserror::Error)]
pub enum InterceptError {
    /// The binary was built without its eBPF object.
    #[error(
        "this binary carries no eBPF object: build it with `cargo xtask build`, or run it with --no-ebpf"
    )]
    NoObject,
    /// The cgroup is not where it should be.
    #[error("cgroup {path}: {error}")]
    Cgroup {
        /// The path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The path is not on a cgroup v2 mount.
    #[error(
        "{path} is not a cgroup v2 directory; mount cgroup2 and name a directory in it with --cgroup"
    )]
    NotCgroup2 {
        /// The path.
        path: PathBuf,
    },
    /// No cgroup v2 is mounted.
    #[error(
        "no cgroup v2 mount in /proc/mounts; mount it (mount -t cgroup2 none /sys/fs/cgroup/unified) or name one with --cgroup"
    )]
    NoCgroup2,
    /// The BPF file system cannot be used.
    #[error("BPF file system at {path}: {error}")]
    Bpffs {
        /// The path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Another process serves the cgroup.
    #[error(
        "another nodeway already serves cgroup {cgroup} (it holds a lock on {pins}); stop it first, take over from it with --takeover, or name another --cgroup"
    )]
    Owned {
        /// The cgroup.
        cgroup: PathBuf,
        /// The locked directory.
        pins: PathBuf,
    },
    /// Two other processes serve the cgroup.
    #[error(
        "two nodeways serve cgroup {cgroup}: one is taking over from the other already; wait until that one has ended"
    )]
    TakenOver {
        /// The cgroup.
        cgroup: PathBuf,
    },
    /// The kernel did not take the programs or maps.
    #[error("loading the eBPF object: {0}")]
    Load(String),
    /// The kernel did not take a program.
    #[error("eBPF program {program} is not for this kernel: {message}")]
    Verify {
        /// The program.
        program: &'static str,
        /// Why.
        message: String,
    },
    /// A program could not be attached or pinned.
    #[error("attaching eBPF program {program}: {message}")]
    Attach {
        /// The program.
        program: &'static str,
        /// Why.
        message: String,
    },
    /// A map could not be written or read.
    #[error("eBPF map {map}: {message}")]
    Map {
        /// The map.
        map: &'static str,
        /// Why.
        message: String,
    },
    /// A map has as many entries as it may have.
    #[error("eBPF map {map} is full; what does not fit is left alone, as if there were no mesh")]
    MapFull {
        /// The map.
        map: &'static str,
    },
    /// Some frontends are not as they should be; the others are.
    #[error("{count} frontends could not be written; the first: {first}")]
    Frontends {
        /// How many.
        count: usize,
        /// Why the first was not.
        first: Box<InterceptError>,
    },
    /// A pod's namespace cannot be used.
    #[error("network namespace {path}: {error}")]
    Netns {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A listener in a pod could not be made.
    #[error("listening in the pod on {address}: {error}")]
    Listen {
        /// The address.
        address: &'static str,
        /// Why.
        error: io::Error,
    },
}

// === impl InterceptError ===

impl InterceptError {
    /// What aya says of a map, with the one failure told apart that grows with the cluster.
    pub(super) fn map(map: &'static str, error: &MapError) -> Self {
        match error {
            // The kernel's word for a full hash.
            MapError::SyscallError(error) if error.io_error.raw_os_error() == Some(libc::E2BIG) => {
                Self::MapFull { map }
            }
            error => Self::Map { map, message: chain(error) },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use aya::sys::SyscallError;

    use super::*;

    #[test]
    fn a_full_map_is_named() {
        let io_error = io::Error::from_raw_os_error(libc::E2BIG);
        let full = MapError::from(SyscallError { call: "bpf_map_update_elem", io_error });
        let text = InterceptError::map("FRONTENDS", &full).to_string();
        assert!(text.contains("FRONTENDS is full"), "{text}");
    }
}
