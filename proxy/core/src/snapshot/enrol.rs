//! Which pods of this node are in the mesh.

use std::collections::HashSet;
use std::sync::Arc;

use super::Store;
use crate::model::{Mesh, Pod};

/// Who is in the mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Enroll {
    /// Pods labelled `nodeway.dev/mesh: enabled`, themselves or by their Namespace.
    #[default]
    Label,
    /// All pods but those labelled `disabled`, themselves or by their Namespace.
    All,
}

/// The pods to enrol, by name. A pod's own label wins over its Namespace's. A pod that shares the
/// host's network, has ended, or is known to be on another node is never enrolled; nor is one that
/// claims to be the mirror of a static pod and names another Pod's UID.
pub(super) fn pods(store: &Store, enroll: Enroll, node_name: Option<&str>) -> Vec<Arc<Pod>> {
    let here = |pod: &Pod| match (&pod.node, node_name) {
        (Some(its), Some(ours)) => **its == *ours,
        _ => true,
    };
    let meshed = |pod: &Pod| {
        let label = pod.mesh.or_else(|| store.namespace(&pod.name.namespace)?.mesh);
        match enroll {
            Enroll::Label => label == Some(Mesh::Enabled),
            Enroll::All => label != Some(Mesh::Disabled),
        }
    };
    let given: HashSet<&str> =
        store.pods().filter(|pod| !pod.mirror).map(|pod| &*pod.uid).collect();
    let genuine = |pod: &Pod| !pod.mirror || !given.contains(&*pod.uid);
    let eligible =
        |pod: &Pod| !pod.host_network && !pod.ended && here(pod) && meshed(pod) && genuine(pod);
    store.pods().filter(|pod| eligible(pod)).cloned().collect()
}
