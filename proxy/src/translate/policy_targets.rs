//! What policies of all kinds have in common: what they are for (`spec.targetRefs`), and who they are.
//!
//! Not which of several policies is obeyed: that is `core::snapshot`.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use nodeway_core::model::{ObjectName, Policy, PolicyTarget};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::meta::is_dns_name;
use super::{Fault, Faults, Identity};

/// Targets at most: so many entries has a policy's status.
pub(super) const MOST_TARGETS: usize = 16;

/// A policy as it comes: what it is for can be read even if the rest cannot.
#[derive(Debug, Deserialize)]
pub(super) struct Document {
    pub(super) metadata: ObjectMeta,
    spec: Spec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    target_refs: Vec<Value>,
    #[serde(flatten)]
    rest: Value,
}

/// The policy of this name, that asks for this, or that has these faults.
pub(super) fn policy<S>(
    identity: &Identity,
    meta: &ObjectMeta,
    targets: Vec<PolicyTarget>,
    settings: Result<S, &[Fault]>,
) -> Policy<S> {
    let told = |faults: &[Fault]| {
        let told: Vec<String> = faults.iter().map(ToString::to_string).collect();
        told.join("; ").into()
    };
    Policy {
        name: identity.name.clone(),
        generation: meta.generation.unwrap_or_default(),
        created: meta.creation_timestamp.as_ref().map(|time| time.0.as_second()),
        targets,
        settings: settings.map(Arc::new).map_err(told),
    }
}

// === impl Document ===

impl Document {
    /// Those of its targets that are Services, each once; others are somebody else's.
    pub(super) fn of_services(
        &self,
        identity: &Identity,
        faults: &mut Faults,
    ) -> Vec<PolicyTarget> {
        of_services(identity, &self.spec.target_refs, faults)
    }

    /// What it asks for, to be taken once; without the targets, which may be such as `S` cannot say.
    ///
    /// # Errors
    /// The field that cannot be read, and why.
    pub(super) fn spec<S: DeserializeOwned>(&mut self) -> Result<S, (String, String)> {
        let mut whole = self.spec.rest.take();
        if let Value::Object(fields) = &mut whole {
            fields.insert("targetRefs".to_owned(), Value::Array(Vec::new()));
        }
        let read = serde_path_to_error::deserialize(whole);
        read.map_err(|error| (format!("spec.{}", error.path()), error.into_inner().to_string()))
    }
}

fn of_services(identity: &Identity, refs: &[Value], faults: &mut Faults) -> Vec<PolicyTarget> {
    let mut targets: Vec<PolicyTarget> = Vec::new();
    for (i, reference) in refs.iter().enumerate() {
        let text = |field: &str| reference.get(field).and_then(Value::as_str).unwrap_or_default();
        if !matches!(text("group"), "" | "core") || text("kind") != "Service" {
            // Somebody else's.
            continue;
        }
        if text("name").is_empty() {
            faults.note(format!("spec.targetRefs[{i}].name"), "missing: it names no Service");
            continue;
        }
        add(&mut targets, identity, text("name"), text("sectionName"));
    }
    targets
}

/// Those of a policy of our own kind: they are Services, or it is wrong.
pub(super) fn of_our_own(
    identity: &Identity,
    refs: &[Value],
    faults: &mut Faults,
) -> Vec<PolicyTarget> {
    let mut targets = Vec::new();
    for (i, reference) in refs.iter().enumerate() {
        let path = format!("spec.targetRefs[{i}]");
        super::fields::Fields::of(path, reference, faults, |fields| {
            let mut ours = true;
            for (field, must) in [("group", ""), ("kind", "Service")] {
                let value = fields.raw(field);
                if value.is_some_and(|value| value.as_str() != Some(must)) {
                    ours = false;
                    fields.fault(field, format!("must be {must:?}: a Service is all it is for"));
                }
            }
            let check = |name: &str| match is_dns_name(name) {
                true => Ok(name.to_owned()),
                false => Err("must be a name as objects have it"),
            };
            let name = fields.parsed("name", 253, check);
            fields.require("name");
            let section = fields.text("sectionName", 63);
            if let Some(name) = name.filter(|_| ours) {
                add(&mut targets, identity, &name, section.unwrap_or_default());
            }
        });
    }
    targets
}

fn add(targets: &mut Vec<PolicyTarget>, identity: &Identity, name: &str, section: &str) {
    let service = ObjectName::new(Arc::clone(&identity.name.namespace), name);
    let section = Some(section).filter(|name| !name.is_empty()).map(Into::into);
    let target = PolicyTarget { service, section };
    if !targets.contains(&target) {
        targets.push(target);
    }
}
