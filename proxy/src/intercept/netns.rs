//! Network namespaces of pods, and the way in and out of them.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::InterceptError;

/// `SO_NETNS_COOKIE` (asm-generic/socket.h, kernel 5.14).
const SO_NETNS_COOKIE: libc::c_int = 71;
/// `NSFS_MAGIC` (linux/magic.h).
const NSFS_MAGIC: u64 = 0x6e73_6673;

/// The init process's namespace: the host's, where the host's processes can be seen.
const INIT: &str = "/proc/1/ns/net";
/// This process's own.
const OWN: &str = "/proc/self/ns/net";

/// A pod's network namespace. It lives as long as this does.
#[derive(Debug)]
pub struct PodNetns {
    file: File,
    identity: Identity,
    cookie: u64,
}

/// Which namespace it is, as long as it lives: an inode of nsfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// This thread is in a pod's namespace until this is dropped. Never held across an `await`: the
/// thread would serve others in there.
#[derive(Debug)]
struct Inside {
    home: BorrowedFd<'static>,
    /// Namespaces belong to threads.
    _not_send: PhantomData<*const ()>,
}

// === impl PodNetns ===

impl PodNetns {
    /// Opens the namespace at `path` (a bind mount as `ip netns` makes it, or `/proc/PID/ns/net`).
    ///
    /// # Errors
    /// There is none, it is something else, it is the host's own, or the kernel denies the way in.
    pub fn open(path: &Path) -> Result<Self, InterceptError> {
        let failed = |error| InterceptError::Netns { path: path.to_owned(), error };
        let file = File::open(path).map_err(failed)?;
        let kind = rustix::fs::fstatfs(&file).map_err(|errno| failed(errno.into()))?.f_type;
        if !u64::try_from(kind).is_ok_and(|kind| kind == NSFS_MAGIC) {
            return Err(failed(io::Error::other("not a namespace")));
        }
        let identity = Identity::from(file.metadata().map_err(failed)?);
        if hosts().contains(&identity) {
            return Err(failed(io::Error::other("it is the host's own; that is never enrolled")));
        }
        let mut netns = Self { file, identity, cookie: 0 };
        netns.cookie = netns.run(cookie_here).and_then(|cookie| cookie).map_err(failed)?;
        Ok(netns)
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    /// The kernel's number for it, never used twice.
    pub fn cookie(&self) -> u64 {
        self.cookie
    }

    /// Whether `path` still leads to this namespace. A pod that is made anew under its old name gets
    /// another one; this one's inode is not used again as long as it is open here.
    pub fn is_at(&self, path: &Path) -> bool {
        Identity::of(path).is_ok_and(|there| there == self.identity)
    }

    /// Runs `f` in the namespace, on this thread, and comes back, also from a panic. For making
    /// sockets only: they stay in the namespace that they were made in.
    ///
    /// # Errors
    /// The kernel denies the way in.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> io::Result<T> {
        let inside = Inside::enter(self.file.as_fd())?;
        let result = f();
        drop(inside);
        Ok(result)
    }
}

// === impl Identity ===

impl Identity {
    /// Of what this path leads to.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(Self::from)
    }
}

impl From<std::fs::Metadata> for Identity {
    fn from(found: std::fs::Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino() }
    }
}

// === impl Inside ===

impl Inside {
    fn enter(namespace: BorrowedFd<'_>) -> io::Result<Self> {
        let home = home()?;
        enter(namespace)?;
        Ok(Self { home, _not_send: PhantomData })
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if enter(self.home).is_err() {
            // A thread that is lost in a pod would serve other pods from there: better no thread.
            std::process::abort();
        }
    }
}

fn enter(namespace: BorrowedFd<'_>) -> io::Result<()> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))?;
    Ok(())
}

/// The namespace that this process started in; the same for all its threads.
fn home() -> io::Result<BorrowedFd<'static>> {
    static HOME: OnceLock<File> = OnceLock::new();
    if let Some(home) = HOME.get() {
        return Ok(home.as_fd());
    }
    // The main thread never stays anywhere else, so another thread asking now sees the same.
    let file = File::open(OWN)?;
    Ok(HOME.get_or_init(|| file).as_fd())
}

/// The namespaces that are never a pod's: the host's, and this process's own, which is another one where
/// the proxy runs as a pod.
pub(super) fn hosts() -> Vec<Identity> {
    [INIT, OWN].iter().filter_map(|path| Identity::of(Path::new(path)).ok()).collect()
}

/// Of this thread's namespace.
pub(super) fn cookie_here() -> io::Result<u64> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).map_err(io::Error::other)?;
    // SAFETY: getsockopt(2): value and length live through the call and fit each other.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}
