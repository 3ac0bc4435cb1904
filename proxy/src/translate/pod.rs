//! Pods.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use nodeway_core::model::{self, Object};

use super::meta::mesh;
use super::{Faults, Identity, Translated};

/// Names a pod's network namespace where nobody else does.
const NETNS_ANNOTATION: &str = "nodeway.dev/netns";

/// A mesh label of another value, or a namespace that is not an absolute path, refuses the object.
pub(super) fn pod(identity: &Identity, pod: &Pod) -> Translated {
    let mut faults = Faults::default();
    let mesh = mesh(pod.metadata.labels.as_ref(), &mut faults);
    let annotations = pod.metadata.annotations.as_ref();
    let netns = annotations.and_then(|annotations| annotations.get(NETNS_ANNOTATION));
    if let Some(path) = netns.filter(|path| !path.starts_with('/')) {
        let message = format!("{path:?}: must be an absolute path, /var/run/netns/NAME");
        faults.add(format!("metadata.annotations[{NETNS_ANNOTATION}]"), message);
    }
    let spec = pod.spec.as_ref();
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let object = model::Pod {
        name: identity.name.clone(),
        uid: pod.metadata.uid.as_deref().unwrap_or_default().into(),
        mesh,
        node: spec.and_then(|spec| spec.node_name.as_deref()).map(Into::into),
        host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
        ended: matches!(phase, Some("Succeeded" | "Failed")),
        workload: workload(&pod.metadata).unwrap_or_else(|| identity.name.name.to_string()).into(),
        netns: netns.map(PathBuf::from),
    };
    faults.with(Object::Pod(object))
}

/// The controller's name, a ReplicaSet's without the hash that its Deployment gave it; else what the
/// labels say.
fn workload(meta: &ObjectMeta) -> Option<String> {
    let label = |name: &str| meta.labels.as_ref().and_then(|labels| labels.get(name));
    let controller =
        meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    if let Some(owner) = controller {
        let hash = label("pod-template-hash").filter(|_| owner.kind == "ReplicaSet");
        let bare = hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
        return Some(bare.unwrap_or(&owner.name).to_owned());
    }
    label("app.kubernetes.io/name").or_else(|| label("app")).cloned()
}
