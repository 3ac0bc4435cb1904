//! What a kubelet and its container runtime do to a node's cgroups and namespaces, as far as anybody
//! can see from outside: a cgroup for each pod, in it one for each container, the sandbox's first.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::Proc;
use crate::world::{Pod, World};

/// How the kubelet names cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// `kubepods.slice/kubepods-burstable.slice/...`
    Systemd,
    /// `kubepods/burstable/...`
    Cgroupfs,
    /// systemd's names below `kubelet.slice`, as kind has them.
    Nested,
}

/// The kubelet of a world's node.
#[derive(Debug, Clone)]
pub struct Kubelet {
    /// The world's cgroup.
    cgroup: PathBuf,
    driver: Driver,
}

/// A pod that runs: its sandbox holds the namespace.
#[derive(Debug)]
pub struct Sandbox {
    /// The pod; what is started in its place is in a container of it.
    pub pod: Pod,
    pause: Proc,
}

impl Kubelet {
    /// Of this world's node.
    #[must_use]
    pub fn new(world: &World, driver: Driver) -> Self {
        Self { cgroup: world.cgroup().to_owned(), driver }
    }

    /// Runs a pod's sandbox in the namespace of `pod`.
    ///
    /// # Panics
    /// When its cgroups cannot be made.
    #[must_use]
    pub fn run(&self, pod: &Pod, uid: &str) -> Sandbox {
        let cgroup = self.pod_cgroup(uid);
        let container = |name: &str| {
            let container = cgroup.join(format!("cri-containerd-{name}.scope"));
            fs::create_dir_all(&container).expect("a cgroup for a container");
            Some(container)
        };
        let mut sandbox = pod.place.clone();
        sandbox.cgroup = container("pause");
        let pause = sandbox.start("sleep", &["infinity"]);
        let mut pod = pod.clone();
        pod.place.cgroup = container("main");
        Sandbox { pod, pause }
    }

    /// The pod has gone: so does its cgroup.
    pub fn forget(&self, uid: &str) {
        crate::cgroup::remove(&self.pod_cgroup(uid));
    }

    /// Where a pod with this UID has its cgroup.
    #[must_use]
    pub fn pod_cgroup(&self, uid: &str) -> PathBuf {
        let sliced = uid.replace('-', "_");
        let path = match self.driver {
            Driver::Systemd => format!(
                "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{sliced}.slice"
            ),
            Driver::Cgroupfs => format!("kubepods/burstable/pod{uid}"),
            Driver::Nested => format!(
                "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/\
                 kubelet-kubepods-burstable-pod{sliced}.slice"
            ),
        };
        Path::new(&self.cgroup).join(path)
    }
}

impl Sandbox {
    /// Ends the sandbox's own process.
    pub fn kill(&mut self) {
        self.pause.kill();
    }
}
