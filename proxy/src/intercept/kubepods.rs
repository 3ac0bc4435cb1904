//! Where the kubelet has put this node's pods: from a pod's UID to its cgroup. Neither the container
//! runtime nor the CNI plugin is asked.
//!
//! Not what runs in there: see `processes`. The names are the kubelet's (Kubernetes, pkg/kubelet/cm), by
//! its cgroup driver: `kubepods/burstable/pod<UID>` (cgroupfs), or
//! `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<UID>.slice` with `_` for `-` in the
//! UID (systemd); below `--cgroup-root`, if that is set, which the names of slices repeat.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The kubelet's tree is looked for so deep below the cgroup that is watched.
const DEPTH: usize = 4;
/// A tree that is not there is looked for so often at most.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The kubelet's part of the cgroup tree.
#[derive(Debug)]
pub(super) struct Kubepods {
    /// Below which it is looked for.
    cgroup: PathBuf,
    /// The trees found; one, as a rule.
    roots: Vec<PathBuf>,
    looked: Option<Instant>,
}

// === impl Kubepods ===

impl Kubepods {
    pub(super) fn below(cgroup: &Path) -> Self {
        Self { cgroup: cgroup.to_owned(), roots: Vec::new(), looked: None }
    }

    /// The cgroups of all pods that have one now, by UID.
    pub(super) fn pods(&mut self, now: Instant) -> HashMap<String, PathBuf> {
        self.roots.retain(|root| root.is_dir());
        let fresh = self.looked.is_some_and(|looked| now.duration_since(looked) < LOOK_AGAIN);
        if self.roots.is_empty() && !fresh {
            self.looked = Some(now);
            find_roots(&self.cgroup, DEPTH, &mut self.roots);
        }
        let mut pods = HashMap::new();
        for root in &self.roots {
            for (name, path) in folders(root) {
                if let Some(uid) = uid_of(&name) {
                    pods.insert(uid, path);
                } else {
                    // A class of service: burstable, besteffort.
                    pods.extend(
                        folders(&path).filter_map(|(name, path)| Some((uid_of(&name)?, path))),
                    );
                }
            }
        }
        pods
    }

    /// Why there is no cgroup for a pod, for people.
    pub(super) fn why_missing(&self) -> String {
        match &self.roots[..] {
            [] => format!(
                "no `kubepods` below {}: is it the host's cgroup v2 tree, and the kubelet's?",
                self.cgroup.display()
            ),
            [root, ..] => format!("it has no cgroup below {} yet", root.display()),
        }
    }
}

/// The kubelet's tree below `cgroup`, if it can be seen from here.
pub fn find_kubepods(cgroup: &Path) -> Option<PathBuf> {
    let mut found = Vec::new();
    find_roots(cgroup, DEPTH, &mut found);
    found.into_iter().next()
}

fn find_roots(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    for (name, path) in folders(folder) {
        if name == "kubepods" || name == "kubepods.slice" || name.ends_with("-kubepods.slice") {
            found.push(path);
        } else if depth > 1 {
            find_roots(&path, depth - 1, found);
        }
    }
}

fn uid_of(name: &str) -> Option<String> {
    match name.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod").map(|(_, uid)| uid.replace('_', "-")),
        None => name.strip_prefix("pod").map(str::to_owned),
    }
    .filter(|uid| !uid.is_empty())
}

/// The cgroups right below one; none if it is gone.
pub(super) fn folders(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UID: &str = "0f3c5d9e-1a2b-4c3d-8e9f-001122334455";
    const SLICED: &str = "0f3c5d9e_1a2b_4c3d_8e9f_001122334455";

    fn pods_of(paths: &[&str]) -> (tempfile::TempDir, HashMap<String, PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        for path in paths {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        let pods = Kubepods::below(folder.path()).pods(Instant::now());
        (folder, pods)
    }

    #[test]
    fn a_pod_is_found_in_every_layout_of_the_kubelet() {
        for path in [
            format!("kubepods/pod{UID}"),
            format!("kubepods/besteffort/pod{UID}"),
            format!("kubepods.slice/kubepods-pod{SLICED}.slice"),
            format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SLICED}.slice"),
            // --cgroup-root, as kind sets it.
            format!("kubelet/kubepods/burstable/pod{UID}"),
            format!(
                "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/\
                 kubelet-kubepods-besteffort-pod{SLICED}.slice"
            ),
            format!("a/b/c/kubepods/burstable/pod{UID}"),
        ] {
            let container = format!("{path}/cri-containerd-podfeed.scope");
            let (folder, pods) = pods_of(&["system.slice/pod-like.service", &container]);
            let expected = HashMap::from([(UID.to_owned(), folder.path().join(&path))]);
            assert_eq!(pods, expected, "{path}");
        }
    }

    #[test]
    fn a_static_pods_uid_is_a_hash() {
        let path = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod9d0c8e.slice";
        assert!(pods_of(&[path]).1.contains_key("9d0c8e"));
    }

    #[test]
    fn a_tree_that_comes_later_is_found_but_not_looked_for_all_the_time() {
        let folder = tempfile::tempdir().unwrap();
        let (mut kubepods, now) = (Kubepods::below(folder.path()), Instant::now());
        assert!(kubepods.pods(now).is_empty());
        assert!(kubepods.why_missing().contains("no `kubepods`"));
        fs::create_dir_all(folder.path().join("kubepods/podx")).unwrap();
        assert!(kubepods.pods(now).is_empty());
        assert_eq!(kubepods.pods(now + LOOK_AGAIN).len(), 1);
        fs::create_dir_all(folder.path().join("kubepods/pody")).unwrap();
        assert_eq!(kubepods.pods(now).len(), 2, "a tree that is known is read each time");
    }

    proptest! {
        #[test]
        fn both_drivers_name_the_same_uid(uid in "[0-9a-f]{1,8}(-[0-9a-f]{1,8}){0,4}") {
            let slice = format!("x-kubepods-burstable-pod{}.slice", uid.replace('-', "_"));
            prop_assert_eq!(uid_of(&slice), Some(uid.clone()));
            prop_assert_eq!(uid_of(&format!("pod{uid}")), Some(uid));
        }

        #[test]
        fn no_name_makes_it_panic(name in "\\PC{0,40}") {
            let _ = uid_of(&name);
        }
    }
}
