//! What routes have in common. The Gateway API's generated types repeat it for each
//! kind and place: macros read them, functions do the rest.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use nodeway_core::model::{
    BackendTarget, Object, ObjectName, ParentRef, RefFault, RefusedRoute, Route, Rules,
};
use serde::Deserialize;
use serde_json::Value;

use super::meta::port;
use super::{Faults, Identity, Translated};

/// `spec.parentRefs`.
macro_rules! parents {
    ($identity:expr, $refs:expr, $faults:expr) => {{
        let mut parents = Vec::new();
        for (i, spec) in $refs.iter().flatten().enumerate() {
            let reference = $crate::translate::route::Reference {
                group: spec.group.as_deref(),
                kind: spec.kind.as_deref(),
                namespace: spec.namespace.as_deref(),
                name: &spec.name,
                port: spec.port,
            };
            let section = spec.section_name.as_deref();
            parents.extend(reference.parent($identity, i, section, $faults));
        }
        parents
    }};
}
pub(super) use parents;

/// `spec.rules[].backendRefs`.
macro_rules! backends {
    ($identity:expr, $refs:expr, $field:expr, $faults:expr) => {{
        let mut backends = Vec::new();
        for (i, spec) in $refs.iter().flatten().enumerate() {
            let field = format!("{}.backendRefs[{i}]", $field);
            let specs = spec.filters.as_ref();
            let filters = $crate::translate::filter::filters($identity, specs, &field, $faults);
            let reference = $crate::translate::route::Reference {
                group: spec.group.as_deref(),
                kind: spec.kind.as_deref(),
                namespace: spec.namespace.as_deref(),
                name: &spec.name,
                port: spec.port,
            };
            let weight = $crate::translate::route::weight(spec.weight, &field, $faults);
            backends.push(nodeway_core::model::BackendRef {
                weight,
                target: reference.target($identity),
                filters,
            });
        }
        backends
    }};
}
pub(super) use backends;

/// A reference to a parent or a backend, as it was given.
pub(super) struct Reference<'a> {
    pub(super) group: Option<&'a str>,
    pub(super) kind: Option<&'a str>,
    pub(super) namespace: Option<&'a str>,
    pub(super) name: &'a str,
    pub(super) port: Option<i32>,
}

/// The whole, or what its status should say if a fault refuses it.
pub(super) fn finish(
    identity: &Identity,
    meta: &ObjectMeta,
    parents: Vec<ParentRef>,
    mut rules: Rules,
    faults: Faults,
) -> Translated {
    if let Some(uid) = &meta.uid {
        for persistence in rules.http_mut().iter_mut().filter_map(|rule| rule.persistence.as_mut())
        {
            persistence.secret = uid.as_str().into();
        }
    }
    let (kind, name) = (identity.kind, identity.name.clone());
    let generation = meta.generation.unwrap_or_default();
    if faults.refused {
        let told: Vec<String> = faults.list.iter().map(ToString::to_string).collect();
        let message = told.join("; ").into();
        let refused = Some(RefusedRoute { kind, name, generation, parents, message });
        return Translated { object: None, refused, faults: faults.list };
    }
    let created = meta.creation_timestamp.as_ref().map(|time| time.0.as_second());
    faults.with(Object::Route(Route { kind, name, generation, created, parents, rules }))
}

/// What is known of a route that cannot be read: whose it is, for its status. If none of its
/// parents can be taken, it is told as it is.
pub(super) fn unread(
    identity: &Identity,
    document: &Value,
    field: String,
    message: String,
) -> Translated {
    let mut faults = Faults::default();
    let meta = ObjectMeta::deserialize(&document["metadata"]).unwrap_or_default();
    let refs = document["spec"]["parentRefs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut parents = Vec::new();
    for (i, spec) in refs.iter().enumerate() {
        let text = |field: &str| spec.get(field).and_then(Value::as_str);
        let Some(name) = text("name") else { continue };
        let port = spec.get("port").and_then(Value::as_i64);
        let reference = Reference {
            group: text("group"),
            kind: text("kind"),
            namespace: text("namespace"),
            name,
            port: port.map(|port| i32::try_from(port).unwrap_or_default()),
        };
        parents.extend(reference.parent(identity, i, text("sectionName"), &mut faults));
    }
    faults.add(field, message);
    if parents.is_empty() {
        return Translated { faults: faults.list, ..Translated::default() };
    }
    finish(identity, &meta, parents, Rules::Http(Vec::new()), faults)
}

/// A backend's share of the traffic.
pub(super) fn weight(given: Option<i32>, field: &str, faults: &mut Faults) -> u32 {
    let given = given.unwrap_or(1);
    let weight = u32::try_from(given).ok().filter(|weight| *weight <= 1_000_000);
    if weight.is_none() {
        faults.add(format!("{field}.weight"), format!("{given}: must be from 0 to 1000000"));
    }
    weight.unwrap_or_default()
}

// === impl Reference ===

impl Reference<'_> {
    /// The parent, if it is a Service; others are somebody else's.
    pub(super) fn parent(
        &self,
        identity: &Identity,
        place: usize,
        section: Option<&str>,
        faults: &mut Faults,
    ) -> Option<ParentRef> {
        let group = self.group.unwrap_or("gateway.networking.k8s.io");
        if !matches!(group, "" | "core") || self.kind != Some("Service") {
            return None;
        }
        let field = format!("spec.parentRefs[{place}].port");
        let port = self.port.map(|number| faults.check(field, number, port(number)));
        if port == Some(None) {
            return None;
        }
        let namespace = self.namespace.unwrap_or(&identity.name.namespace);
        Some(ParentRef {
            place,
            service: ObjectName::new(namespace, self.name),
            namespaced: self.namespace.is_some(),
            port: port.flatten(),
            section: section.filter(|section| !section.is_empty()).map(Into::into),
        })
    }

    /// The backend, or why it is none.
    pub(super) fn target(&self, identity: &Identity) -> BackendTarget {
        let invalid =
            |fault, message: String| BackendTarget::Invalid { fault, message: message.into() };
        let group = self.group.unwrap_or("");
        if !matches!(group, "" | "core") || self.kind.is_some_and(|kind| kind != "Service") {
            let kind = self.kind.unwrap_or("Service");
            let group = if group.is_empty() { "core" } else { group };
            let message =
                format!("a backend of kind {kind} ({group}) is not known, only a Service");
            return invalid(RefFault::InvalidKind, message);
        }
        let namespace = self.namespace.unwrap_or(&identity.name.namespace);
        match self.port.map(port) {
            Some(Ok(port)) => {
                BackendTarget::Service { service: ObjectName::new(namespace, self.name), port }
            }
            Some(Err(message)) => {
                let message = format!("port {} {message}", self.port.unwrap_or_default());
                invalid(RefFault::BackendNotFound, message)
            }
            None => {
                invalid(RefFault::InvalidKind, format!("Service {}: a port is required", self.name))
            }
        }
    }
}
