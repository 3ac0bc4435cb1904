//! Nodes.

use k8s_openapi::api::core::v1::Node;
use nodeway_core::model::{self, Object};

use super::{Identity, Translated};

/// Where a node is (well-known label).
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

pub(super) fn node(identity: &Identity, node: &Node) -> Translated {
    let labels = node.metadata.labels.as_ref();
    let zone = labels.and_then(|labels| labels.get(ZONE_LABEL)).filter(|zone| !zone.is_empty());
    let zone = zone.map(|zone| zone.as_str().into());
    Translated::of(Object::Node(model::Node { name: identity.name.clone(), zone }))
}
