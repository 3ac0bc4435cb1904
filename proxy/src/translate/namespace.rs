//! Namespaces.

use k8s_openapi::api::core::v1::Namespace;
use nodeway_core::model::{self, Object};

use super::meta::mesh;
use super::{Faults, Identity, Translated};

/// A mesh label of another value refuses the object.
pub(super) fn namespace(identity: &Identity, namespace: &Namespace) -> Translated {
    let mut faults = Faults::default();
    let mesh = mesh(namespace.metadata.labels.as_ref(), &mut faults);
    faults.with(Object::Namespace(model::Namespace { name: identity.name.clone(), mesh }))
}
