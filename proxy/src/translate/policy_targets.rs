//! What policies are for: `spec.targetRefs`, as all kinds of them have it.
//!
//! Not which of several policies is obeyed: that is `core::snapshot`.

use std::sync::Arc;

use nodeway_core::model::{ObjectName, PolicyTarget};
use serde_json::Value;

use super::meta::is_dns_name;
use super::{Faults, Identity};

/// Targets at most: so many entries has a policy's status.
pub(super) const MOST_TARGETS: usize = 16;

/// Those that are Services, each once, of a kind of policy whose other targets are somebody else's.
pub(super) fn of_services(
    identity: &Identity,
    refs: &[Value],
    faults: &mut Faults,
) -> Vec<PolicyTarget> {
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
