//! Where the kubelet has put this node's pods: from a pod's UID to its cgroup. Neither the container
//! runtime nor the CNI plugin is asked.
//!
//! Not what runs in there: see `processes`. The names are the kubelet's (Kubernetes, pkg/kubelet/cm), by
//! its cgroup driver: `kubepods/burstable/pod<UID>` (cgroupfs), or
//! `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<UID>.slice` with `_` for `-` in the
//! UID (systemd); below `--cgroup-root`, if that is set, which the names of slices repeat.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The kubelet's tree is looked for so deep below the cgroup that is watched.
const DEPTH: usize = 4;
/// While a pod is missing, trees are looked for so often at most.
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

    /// The cgroups of all pods that have one now, by UID. If one of `wanted` is not among them, the
    /// kubelet may have begun a tree of other names.
    pub(super) fn pods<'a>(
        &mut self,
        mut wanted: impl Iterator<Item = &'a str>,
        now: Instant,
    ) -> HashMap<String, PathBuf> {
        let pods = self.read();
        let fresh = self.looked.is_some_and(|looked| now.duration_since(looked) < LOOK_AGAIN);
        if fresh || wanted.all(|uid| pods.contains_key(uid)) {
            return pods;
        }
        self.looked = Some(now);
        self.roots.clear();
        find_roots(&self.cgroup, DEPTH, &mut self.roots);
        self.read()
    }

    fn read(&self) -> HashMap<String, PathBuf> {
        let mut pods = HashMap::new();
        let mut add = |name: &str, path: PathBuf| match uid_of(name) {
            Some(uid) => {
                pods.entry(uid).or_insert(path);
                None
            }
            None => Some(path),
        };
        for root in &self.roots {
            for (name, path) in folders(root) {
                // Else a class of service: burstable, besteffort.
                if let Some(class) = add(&name, path) {
                    folders(&class).for_each(|(name, path)| _ = add(&name, path));
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

/// A part of the tree that was handed to a user is none of the kubelet's, whatever is called how there.
fn find_roots(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    let ours = rustix::process::geteuid().as_raw();
    for (name, path) in folders(folder) {
        if !fs::metadata(&path).is_ok_and(|found| [0, ours].contains(&found.uid())) {
            continue;
        }
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
        let pods = Kubepods::below(folder.path()).pods([""].into_iter(), Instant::now());
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
        let make = |path: &str| fs::create_dir_all(folder.path().join(path)).unwrap();
        let (mut kubepods, now) = (Kubepods::below(folder.path()), Instant::now());
        let mut found = |wanted: &'static str, now| {
            let mut found: Vec<String> =
                kubepods.pods([wanted].into_iter(), now).into_keys().collect();
            found.sort();
            found
        };
        assert!(found("x", now).is_empty());
        make("kubepods/podx");
        assert!(found("x", now).is_empty());
        assert_eq!(found("x", now + LOOK_AGAIN), ["x"]);
        make("kubepods/pody");
        assert_eq!(found("y", now + LOOK_AGAIN), ["x", "y"], "a known tree is read each time");
        // The kubelet has got another driver; the old tree is still there.
        make("kubepods.slice/kubepods-podz.slice");
        assert_eq!(found("x", now + LOOK_AGAIN * 2), ["x", "y"], "nobody is missing");
        assert_eq!(found("z", now + LOOK_AGAIN * 2), ["x", "y", "z"]);
        assert!(find_kubepods(folder.path()).is_some());
    }

    #[test]
    fn why_a_pod_is_missing_says_what_to_look_at() {
        let folder = tempfile::tempdir().unwrap();
        let mut kubepods = Kubepods::below(folder.path());
        assert!(kubepods.why_missing().contains("no `kubepods` below"));
        fs::create_dir(folder.path().join("kubepods")).unwrap();
        kubepods.pods(["x"].into_iter(), Instant::now());
        assert!(kubepods.why_missing().contains("no cgroup below"));
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
