//! The processes of a pod, and the network namespace that they share.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::kubepods::folders;
use super::netns::Identity;

/// Containers' cgroups are one level below the pod's, or two (`scope/container`). A container that is let
/// may make any number more of its own below: so many are looked at, the upper ones first.
const MOST_CGROUPS: usize = 64;
/// As many processes of a pod are looked at.
const MOST_PROCESSES: usize = 1024;

/// A process of a pod, in the pod's network namespace.
#[derive(Debug, Clone)]
pub(super) struct PodProcess {
    pub(super) pid: u32,
    /// The cgroup that it is in: the pod's, or one below.
    pub(super) cgroup: Arc<Path>,
    /// When it began, since boot.
    pub(super) started: Duration,
    pub(super) netns: Identity,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum NoProcess {
    /// None runs yet, or none any more.
    None,
    /// The kernel does not say which namespace a process is in.
    Denied(io::Error),
}

/// The process of the pod with this cgroup that began first: the sandbox's own, where the runtime has
/// one. A process in one of `not_theirs` is not the pod's own (a runtime's monitor runs in the pod's
/// cgroup, but in the host's network).
pub(super) fn first(cgroup: &Path, not_theirs: &[Identity]) -> Result<PodProcess, NoProcess> {
    let (mut first, mut denied): (Option<PodProcess>, _) = (None, None);
    for (cgroup, pid) in processes(cgroup) {
        let netns = match Identity::of(&netns_path(pid)) {
            Ok(netns) => netns,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                denied = Some(error);
                continue;
            }
            // It has just ended.
            Err(_) => continue,
        };
        let Some(started) = started(pid).filter(|_| !not_theirs.contains(&netns)) else { continue };
        if first.as_ref().is_none_or(|first| (started, pid) < (first.started, first.pid)) {
            first = Some(PodProcess { pid, cgroup, started, netns });
        }
    }
    first.ok_or_else(|| denied.map_or(NoProcess::None, NoProcess::Denied))
}

/// A process of the pod that is in this namespace.
pub(super) fn any_in(cgroup: &Path, netns: Identity) -> Option<u32> {
    processes(cgroup).map(|(_, pid)| pid).find(|pid| is_in(*pid, netns))
}

/// Whether this process is in this namespace.
pub(super) fn is_in(pid: u32, netns: Identity) -> bool {
    Identity::of(&netns_path(pid)).is_ok_and(|its| its == netns)
}

/// Where the kernel shows a process's network namespace.
pub(super) fn netns_path(pid: u32) -> PathBuf {
    format!("/proc/{pid}/ns/net").into()
}

/// The processes of a pod and the cgroups that they are in, from the pod's down.
fn processes(cgroup: &Path) -> impl Iterator<Item = (Arc<Path>, u32)> + use<> {
    let mut cgroups = VecDeque::from([Arc::from(cgroup)]);
    let mut seen = 1;
    let cgroups = std::iter::from_fn(move || {
        let cgroup: Arc<Path> = cgroups.pop_front()?;
        for (_, below) in folders(&cgroup).take(MOST_CGROUPS - seen) {
            seen += 1;
            cgroups.push_back(below.into());
        }
        Some(cgroup)
    });
    cgroups
        .flat_map(|cgroup| pids(&cgroup).map(move |pid| (Arc::clone(&cgroup), pid)))
        .take(MOST_PROCESSES)
}

/// The processes of this very cgroup.
fn pids(cgroup: &Path) -> impl Iterator<Item = u32> + use<> {
    let listed = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let pids: Vec<u32> =
        listed.lines().take(MOST_PROCESSES).filter_map(|line| line.parse().ok()).collect();
    // 0: a process that is not in our PID namespace.
    pids.into_iter().filter(|pid| *pid != 0)
}

/// When the process began, since boot; none if it has ended.
fn started(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = start_ticks(&stat)?;
    let a_second = rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_millis(ticks.saturating_mul(1000) / a_second))
}

/// Field 22 of /proc/PID/stat (proc_pid_stat(5)). The second is the program's name in parentheses,
/// which may hold anything.
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19)?.parse().ok()
}

// === impl PodProcess ===

impl PodProcess {
    /// Whether it is (still) there: numbers are used again.
    pub(super) fn is_there(&self) -> bool {
        is_in(self.pid, self.netns) && pids(&self.cgroup).any(|pid| pid == self.pid)
    }
}

/// How long ago something began that began `since_boot`.
pub(super) fn age(since_boot: Duration) -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(now.tv_nsec).unwrap_or_default();
    Duration::new(seconds, nanos).saturating_sub(since_boot)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A tree of cgroups with this process in it, as cgroupfs would show it.
    fn cgroup_with_us() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("container/deeper")).unwrap();
        fs::write(folder.path().join("cgroup.procs"), "0\n").unwrap();
        let ours = format!("{}\n4194305\n", std::process::id());
        fs::write(folder.path().join("container/deeper/cgroup.procs"), ours).unwrap();
        folder
    }

    #[test]
    fn a_process_is_found_with_its_namespace_and_its_age() {
        let cgroup = cgroup_with_us();
        let found = first(cgroup.path(), &[]).unwrap();
        assert_eq!(found.pid, std::process::id());
        assert_eq!(found.netns, Identity::of(Path::new("/proc/self/ns/net")).unwrap());
        assert!(age(found.started) < Duration::from_secs(3600), "{:?}", age(found.started));
        assert_eq!(any_in(cgroup.path(), found.netns), Some(found.pid));
        assert!(found.is_there());
        fs::write(cgroup.path().join("container/deeper/cgroup.procs"), "").unwrap();
        assert!(!found.is_there());
    }

    #[test]
    fn a_container_that_makes_cgroups_without_end_is_not_followed() {
        let cgroup = cgroup_with_us();
        for n in 0..MOST_CGROUPS * 3 {
            fs::create_dir(cgroup.path().join(format!("container/{n}"))).unwrap();
        }
        let mut deep = cgroup.path().join("container/0");
        for _ in 0..MOST_CGROUPS {
            deep.push("deeper");
            fs::create_dir(&deep).unwrap();
        }
        let pids: String = (0..MOST_PROCESSES * 2).map(|_| "4194305\n").collect();
        fs::write(cgroup.path().join("container/cgroup.procs"), pids).unwrap();
        assert_eq!(processes(cgroup.path()).count(), MOST_PROCESSES);
    }

    #[test]
    fn a_process_in_the_hosts_network_does_not_count() {
        let host = Identity::of(Path::new("/proc/self/ns/net")).unwrap();
        assert!(matches!(first(cgroup_with_us().path(), &[host]), Err(NoProcess::None)));
    }

    #[test]
    fn a_programs_name_may_hold_anything() {
        let fields: Vec<String> = (3..=52).map(|n| n.to_string()).collect();
        let stat = format!("7 (a) b) S 1) {}\n", fields.join(" "));
        assert_eq!(start_ticks(&stat), Some(22));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,80}") {
            let _ = start_ticks(&text);
        }
    }
}
