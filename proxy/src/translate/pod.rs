//! Pods.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use nodeway_core::model::{self, Object};

use super::meta::mesh;
use super::{Faults, Identity, Translated};

/// Names a pod's network namespace where nobody else does.
const NETNS_ANNOTATION: &str = "nodeway.dev/netns";
/// On the mirror of a static pod: the UID under which the kubelet runs it.
const STATIC_UID_ANNOTATION: &str = "kubernetes.io/config.hash";
/// Tells a mirror pod (Kubernetes' well-known annotations).
const MIRROR_ANNOTATION: &str = "kubernetes.io/config.mirror";

/// A mesh label of another value, or a namespace that is not an absolute path, refuses the object.
pub(super) fn pod(identity: &Identity, pod: &Pod) -> Translated {
    let mut faults = Faults::default();
    let mesh = mesh(pod.metadata.labels.as_ref(), &mut faults);
    let annotation = |name: &str| pod.metadata.annotations.as_ref()?.get(name);
    let netns = annotation(NETNS_ANNOTATION);
    let static_uid = annotation(MIRROR_ANNOTATION).and_then(|_| annotation(STATIC_UID_ANNOTATION));
    let uid = static_uid.or(pod.metadata.uid.as_ref()).map(String::as_str).unwrap_or_default();
    if let Some(path) = netns.filter(|path| !path.starts_with('/')) {
        let message = format!("{path:?}: must be an absolute path, /var/run/netns/NAME");
        faults.add(format!("metadata.annotations[{NETNS_ANNOTATION}]"), message);
    }
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let ips = status.and_then(|status| status.pod_ips.as_ref()).into_iter().flatten();
    let object = model::Pod {
        name: identity.name.clone(),
        uid: uid.into(),
        mirror: static_uid.is_some(),
        mesh,
        node: spec.and_then(|spec| spec.node_name.as_deref()).map(Into::into),
        host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
        ended: matches!(phase, Some("Succeeded" | "Failed")),
        workload: workload(&pod.metadata).unwrap_or_else(|| identity.name.name.to_string()).into(),
        ips: ips.filter_map(|ip| ip.ip.parse().ok()).collect(),
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
