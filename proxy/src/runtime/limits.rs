//! What the process asks of the system for itself: open files, and memory in small pages.
//!
//! Not what its sockets are: that is `socket`.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard one and returns it.
///
/// A proxied connection takes two descriptors (the pod's and the endpoint's), so the default soft
/// limit of 1 024 would be reached by 500 connections.
pub fn raise_open_files() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let wanted = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, wanted) {
            tracing::warn!(%error, "cannot raise the limit on open files");
        } else {
            limit = getrlimit(Resource::Nofile);
        }
    }
    limit.current.unwrap_or(u64::MAX)
}

/// Has the system back this process's memory with its usual pages only. Early: what is there already stays as it is.
///
/// The allocator keeps each thread's small objects apart and asks for huge pages, so that an idle process would hold
/// 2 MiB for every few dozen KiB in use. Over them, requests cost the same, at 10 000 Services too.
/// <https://docs.kernel.org/admin-guide/mm/transhuge.html>
pub fn small_pages() {
    // A kernel without huge pages has nothing to switch off.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

#[cfg(test)]
mod tests {
    use rustix::thread::transparent_huge_pages_are_disabled as disabled;

    #[test]
    fn memory_comes_in_small_pages() {
        // A kernel without huge pages does not know the question.
        if disabled().is_ok() {
            super::small_pages();
            assert_eq!(disabled(), Ok(true));
        }
    }
}
