//! Patches.

use http::HeaderMap;
use serde_json::Value;

use crate::answer::Refusal;

/// `object` with the patch of this content type applied.
pub(crate) fn patched(headers: &HeaderMap, object: &Value, body: &[u8]) -> Result<Value, Refusal> {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default();
    let read = || -> Result<Value, Refusal> {
        serde_json::from_slice(body).map_err(|error| Refusal::bad(format!("the patch: {error}")))
    };
    let mut object = object.clone();
    match kind {
        "application/merge-patch+json" => json_patch::merge(&mut object, &read()?),
        "application/strategic-merge-patch+json" => strategic(&mut object, &read()?),
        "application/json-patch+json" => {
            let patch: json_patch::Patch = serde_json::from_value(read()?)
                .map_err(|error| Refusal::bad(format!("the patch: {error}")))?;
            json_patch::patch(&mut object, &patch)
                .map_err(|error| Refusal::new(422, "Invalid", error.to_string()))?;
        }
        other => {
            let message = format!("the body of the request was in an unknown format: {other}");
            return Err(Refusal::new(415, "UnsupportedMediaType", message));
        }
    }
    Ok(object)
}

/// Whether it is a server-side apply.
pub(crate) fn is_apply(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/apply-patch"))
}

/// Server-side apply, as KEP-555 has it, in short: `object` with all that `applied` says, without what
/// `manager` said the last time and says no more. A conflict, if others have said something else.
pub(crate) fn applied(
    object: &Value,
    applied: &Value,
    manager: &str,
    managers: &[(String, Value)],
    force: bool,
) -> Result<Value, Refusal> {
    let mut leaves = Vec::new();
    paths(applied, String::new(), &mut leaves);
    let of = |value: &Value| {
        let mut leaves = Vec::new();
        paths(value, String::new(), &mut leaves);
        leaves
    };
    let others: Vec<(&String, Vec<(String, Value)>)> = managers
        .iter()
        .filter(|(name, _)| name != manager)
        .map(|(name, said)| (name, of(said)))
        .collect();
    let identity = |path: &str| {
        ["/apiVersion", "/kind", "/metadata/name", "/metadata/namespace"].contains(&path)
    };
    for (path, value) in leaves.iter().filter(|(path, _)| !identity(path) && !force) {
        for (name, said) in &others {
            if said.iter().any(|(other, theirs)| other == path && theirs != value) {
                let message = format!(
                    "Apply failed with 1 conflict: conflict with \"{name}\": .{}",
                    path.trim_start_matches('/').replace('/', ".")
                );
                return Err(Refusal::new(409, "Conflict", message));
            }
        }
    }
    let mut object = object.clone();
    let mine = managers.iter().find(|(name, _)| name == manager).map(|(_, said)| of(said));
    for (path, _) in mine.unwrap_or_default() {
        let kept = leaves.iter().any(|(now, _)| *now == path)
            || others.iter().any(|(_, said)| said.iter().any(|(other, _)| *other == path));
        if !kept {
            take_away(&mut object, &path);
        }
    }
    strategic(&mut object, applied);
    Ok(object)
}

/// The leaves of a value by their paths; elements of a list that has a merge key by that.
fn paths(value: &Value, path: String, leaves: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}/{name}");
                match (value, merge_key(name)) {
                    (Value::Array(list), Some(key)) => {
                        for element in list {
                            paths(element, format!("{path}/{key}={}", text(&element[key])), leaves);
                        }
                    }
                    _ => paths(value, path, leaves),
                }
            }
        }
        leaf => leaves.push((path, leaf.clone())),
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn take_away(object: &mut Value, path: &str) {
    let (parent, last) = path.rsplit_once('/').unwrap_or_default();
    let mut at = object;
    for part in parent.split('/').skip(1) {
        let next = match (at, part.split_once('=')) {
            (Value::Array(list), Some((key, wanted))) => {
                list.iter_mut().find(|element| text(&element[key]) == wanted)
            }
            (Value::Object(fields), _) => fields.get_mut(part),
            _ => None,
        };
        let Some(next) = next else { return };
        at = next;
    }
    if let Value::Object(fields) = at {
        fields.remove(last);
    }
}

/// By what the elements of a list are told apart, as the types' `patchMergeKey`s say it.
fn merge_key(path: &str) -> Option<&'static str> {
    match path {
        "conditions" => Some("type"),
        "containers" | "volumes" | "env" | "initContainers" => Some("name"),
        "ports" => Some("port"),
        "ownerReferences" => Some("uid"),
        _ => None,
    }
}

/// A strategic merge patch: as a merge patch, but lists of objects with a merge key are merged by it, and
/// `$patch: delete` takes an element away.
fn strategic(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = Value::Object(serde_json::Map::new());
    }
    let Value::Object(fields) = object else { return };
    for (name, value) in patch {
        match (name.as_str(), value) {
            (name, _) if name.starts_with('$') => {}
            (_, Value::Null) => {
                fields.remove(name);
            }
            (_, Value::Array(changes)) if merge_key(name).is_some() => {
                let key = merge_key(name).unwrap_or_default();
                let list = fields.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    merge_list(list, changes, key);
                }
            }
            (_, Value::Object(_)) => {
                strategic(fields.entry(name.clone()).or_insert(Value::Null), value);
            }
            _ => {
                fields.insert(name.clone(), value.clone());
            }
        }
    }
}

fn merge_list(list: &mut Vec<Value>, changes: &[Value], key: &str) {
    for change in changes {
        let at = list.iter().position(|element| element[key] == change[key]);
        match (at, change["$patch"].as_str()) {
            (Some(at), Some("delete")) => {
                list.remove(at);
            }
            (None, Some("delete")) => {}
            (Some(at), _) => strategic(&mut list[at], change),
            (None, _) => list.push(change.clone()),
        }
    }
}
