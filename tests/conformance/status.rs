//! What status is to say of a case's objects. Pure.
//!
//! All is well, if the case does not say otherwise: each parent has our conditions, they hold, and they
//! are about the object's present generation.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::case::Conditions;
use crate::kinds;

const CONTROLLER: &str = "nodeway.dev/mesh-controller";

/// What is wrong with an object's status, if anything is; `object` as it is in the API now.
pub(crate) fn judge(object: &Value, expected: &Conditions) -> Result<(), String> {
    let title = kinds::title(object);
    let (wanted, list, reference) = match object["kind"].as_str().unwrap_or_default() {
        kind if kind.ends_with("Route") => ("parentRefs", "parents", "parentRef"),
        kind if kind.ends_with("Policy") => ("targetRefs", "ancestors", "ancestorRef"),
        _ => return Ok(()),
    };
    let entries = object["status"][list].as_array().cloned().unwrap_or_default();
    let ours: Vec<&Value> =
        entries.iter().filter(|entry| entry["controllerName"] == CONTROLLER).collect();
    for parent in object["spec"][wanted].as_array().into_iter().flatten() {
        let called = names(&title, parent);
        let usual = BTreeMap::from(
            ["Accepted", "ResolvedRefs"].map(|kind| (kind.to_owned(), format!("True {kind}"))),
        );
        let said = called.iter().find_map(|name| expected.get(name)).unwrap_or(&usual);
        let entry = ours.iter().find(|entry| is_about(&entry[reference], parent));
        match entry {
            None if said.is_empty() => {}
            None => return Err(format!("{}: no status of ours", called[0])),
            Some(entry) if said.is_empty() => {
                return Err(format!("{}: there is a status of ours: {entry}", called[0]));
            }
            Some(entry) => conditions(object, &entry["conditions"], said)
                .map_err(|wrong| format!("{}: {wrong}", called[0]))?,
        }
    }
    Ok(())
}

/// How a case may call the object's status for this parent: the most particular first.
fn names(title: &str, parent: &Value) -> Vec<String> {
    let name = parent["name"].as_str().unwrap_or_default();
    let section = parent["sectionName"].as_str().map(|section| format!("{title}@{name}/{section}"));
    let port = parent["port"].as_u64().map(|port| format!("{title}@{name}:{port}"));
    let whole = [format!("{title}@{name}"), title.to_owned()];
    section.into_iter().chain(port).chain(whole).collect()
}

fn is_about(reference: &Value, parent: &Value) -> bool {
    let same = |field: &str| reference[field] == parent[field];
    same("name") && same("port") && same("sectionName")
}

fn conditions(
    object: &Value,
    found: &Value,
    expected: &BTreeMap<String, String>,
) -> Result<(), String> {
    let found = found.as_array().cloned().unwrap_or_default();
    for (kind, expected) in expected {
        let condition = found.iter().find(|condition| condition["type"] == **kind);
        let condition = condition.ok_or_else(|| format!("no condition {kind}"))?;
        let text = |field: &str| condition[field].as_str().unwrap_or_default();
        let said = format!("{} {}", text("status"), text("reason"));
        if said != *expected {
            return Err(format!("{kind} is {said}, not {expected}: {}", text("message")));
        }
        let generation = &object["metadata"]["generation"];
        if condition["observedGeneration"] != *generation {
            let observed = &condition["observedGeneration"];
            return Err(format!("{kind} is about generation {observed}, not {generation}"));
        }
    }
    Ok(())
}
