//! Which pods of this node are in the mesh.

use std::collections::HashMap;
use std::sync::Arc;

use super::Store;
use crate::model::{Mesh, ObjectName, Pod};

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
/// host's network, has ended, or is known to be on another node is never enrolled.
///
/// Anybody who may write Pods can write one that claims to mirror a static pod, with any UID: one whose
/// UID another Pod has too is not enrolled, whoever is the true one. Those come second.
pub(super) fn pods(
    store: &Store,
    enroll: Enroll,
    node_name: Option<&str>,
) -> (Vec<Arc<Pod>>, Vec<ObjectName>) {
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
    let mut claims: HashMap<&str, usize> = HashMap::new();
    for pod in store.pods() {
        *claims.entry(&pod.uid).or_default() += 1;
    }
    let doubtful = |pod: &Pod| pod.mirror && claims.get(&*pod.uid).is_some_and(|n| *n > 1);
    let eligible = |pod: &&Arc<Pod>| !pod.host_network && !pod.ended && here(pod) && meshed(pod);
    let (doubtful, sure): (Vec<_>, Vec<_>) =
        store.pods().filter(eligible).cloned().partition(|pod| doubtful(pod));
    (sure, doubtful.into_iter().map(|pod| pod.name.clone()).collect())
}
