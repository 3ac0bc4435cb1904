//! What is done to objects: get, list, create, update, patch, delete.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Value, json};

use crate::answer::{Body, Refusal, bytes_answer, json_answer};
use crate::kinds::Resource;
use crate::patch;
use crate::selector::Selector;
use crate::server::Shared;
use crate::store::{Key, Store, Stored};
use crate::target::Target;
use crate::watching;

/// The verb that RBAC sees.
pub(crate) fn verb(method: &Method, target: &Target) -> &'static str {
    match (method, &target.name) {
        (&Method::GET, Some(_)) => "get",
        (&Method::GET, None) if target.asks("watch") => "watch",
        (&Method::GET, None) => "list",
        (&Method::POST, _) => "create",
        (&Method::PUT, _) => "update",
        (&Method::PATCH, _) => "patch",
        (&Method::DELETE, Some(_)) => "delete",
        (&Method::DELETE, None) => "deletecollection",
        _ => "none",
    }
}

/// Does what is asked.
pub(crate) fn answer(
    shared: &Arc<Shared>,
    verb: &str,
    target: Target,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, Refusal> {
    let selector = Selector::new(
        target.namespace.as_deref(),
        target.query("labelSelector"),
        target.query("fieldSelector"),
    )?;
    if let Some(code) = shared.faults().selectors.get(target.query("fieldSelector")) {
        return Err(Refusal::new(*code, "Test", "this selector is refused"));
    }
    if verb == "watch" {
        return watching::answer(shared, target, selector);
    }
    let answer = {
        let mut store = shared.store();
        match verb {
            "get" => found(&store, &target).map(|stored| ok(StatusCode::OK, stored.bytes.clone())),
            "list" => list(&store, &target, &selector),
            "create" => create(&mut store, &target, read(headers, body)?)
                .map(|stored| ok(StatusCode::CREATED, stored.bytes)),
            "update" => update(&mut store, &target, read(headers, body)?),
            "patch" => patch(&mut store, &target, headers, body),
            "delete" => delete(&mut store, &target),
            "deletecollection" => delete_all(&mut store, &target, &selector),
            _ => {
                Err(Refusal::new(405, "MethodNotAllowed", "the server does not allow this method"))
            }
        }
    };
    shared.moved();
    answer
}

fn ok(status: StatusCode, bytes: Bytes) -> Response<Body> {
    bytes_answer(status, bytes)
}

fn read(headers: &HeaderMap, body: &[u8]) -> Result<Value, Refusal> {
    let kind = headers.get(http::header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let bad = |error: String| Refusal::bad(format!("the body: {error}"));
    if kind.is_some_and(|kind| kind.contains("protobuf")) {
        return Err(Refusal::new(415, "UnsupportedMediaType", "say it in JSON or YAML"));
    }
    if kind.is_some_and(|kind| kind.contains("yaml")) {
        let text = std::str::from_utf8(body).map_err(|error| bad(error.to_string()))?;
        return serde_saphyr::from_str(text).map_err(|error| bad(error.to_string()));
    }
    serde_json::from_slice(body).map_err(|error| bad(error.to_string()))
}

fn key(target: &Target) -> Result<Key, Refusal> {
    let name = target.name.clone().unwrap_or_default();
    match (&target.namespace, target.resource.namespaced) {
        (Some(namespace), true) => Ok((namespace.clone(), name)),
        (None, false) => Ok((String::new(), name)),
        _ => Err(Refusal::bad(format!("{} and namespaces", target.resource.qualified()))),
    }
}

fn found<'a>(store: &'a Store, target: &Target) -> Result<&'a Stored, Refusal> {
    let key = key(target)?;
    let stored = store.get(&target.resource.qualified(), &key);
    stored.ok_or_else(|| Refusal::not_found(&target.resource, &key.1))
}

fn list(store: &Store, target: &Target, selector: &Selector) -> Result<Response<Body>, Refusal> {
    let limit = target.query("limit").parse().ok().filter(|limit| *limit > 0);
    let limit = limit.unwrap_or(usize::MAX);
    let (version, after) = match target.query("continue") {
        "" => (store.version(), None),
        token => {
            let (version, key) =
                place(token).ok_or_else(|| Refusal::bad("the continue token is malformed"))?;
            if version < store.compacted {
                return Err(Refusal::new(
                    410,
                    "Expired",
                    "The provided continue parameter is too old",
                ));
            }
            (version, Some(key))
        }
    };
    let resource = &target.resource;
    let qualified = resource.qualified();
    let mut rest = store
        .all(&qualified)
        .skip_while(|(key, _)| after.as_ref().is_some_and(|after| *key <= after))
        .filter(|(_, stored)| selector.matches(&stored.value));
    let mut items = BytesMut::new();
    let mut last = None;
    for (key, stored) in rest.by_ref().take(limit) {
        if last.is_some() {
            items.put_u8(b',');
        }
        items.put_slice(&stored.bytes);
        last = Some(key);
    }
    let mut metadata = json!({"resourceVersion": version.to_string()});
    let left = rest.count();
    if let (Some((namespace, name)), true) = (last, left > 0) {
        metadata["continue"] = json!(BASE64.encode(format!("{version}/{namespace}/{name}")));
        metadata["remainingItemCount"] = json!(left);
    }
    let mut whole = BytesMut::new();
    let head = format!(
        "{{\"kind\":\"{}List\",\"apiVersion\":\"{}\",\"metadata\":{metadata},\"items\":[",
        resource.kind,
        resource.api_version()
    );
    whole.put_slice(head.as_bytes());
    whole.put_slice(&items);
    whole.put_slice(b"]}");
    Ok(ok(StatusCode::OK, whole.freeze()))
}

/// Where a listing goes on: its version, and what it has shown last.
fn place(token: &str) -> Option<(u64, Key)> {
    let text = String::from_utf8(BASE64.decode(token).ok()?).ok()?;
    let (version, key) = text.split_once('/')?;
    let (namespace, name) = key.split_once('/')?;
    Some((version.parse().ok()?, (namespace.to_owned(), name.to_owned())))
}

/// Puts a new object in place.
pub(crate) fn create(
    store: &mut Store,
    target: &Target,
    mut object: Value,
) -> Result<Stored, Refusal> {
    let resource = &target.resource;
    check_kind(resource, &object)?;
    let metadata = &mut object["metadata"];
    if metadata["name"].as_str().is_none_or(str::is_empty) {
        let Some(start) = metadata["generateName"].as_str() else {
            return Err(invalid(
                resource,
                "",
                "metadata.name: Required value: name or generateName is required",
            ));
        };
        metadata["name"] = json!(format!("{start}{:05x}", fastrand::u32(..0xf_ffff)));
    }
    if resource.namespaced {
        let namespace = target.namespace.as_deref().unwrap_or("default");
        match metadata["namespace"].as_str() {
            Some(other) if other != namespace => {
                let message = "the namespace of the provided object does not match the namespace sent on the request";
                return Err(Refusal::bad(message));
            }
            _ => metadata["namespace"] = json!(namespace),
        }
    }
    let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
    let key = (
        if resource.namespaced { text(&metadata["namespace"]) } else { String::new() },
        text(&metadata["name"]),
    );
    if store.get(&resource.qualified(), &key).is_some() {
        let message = format!("{} \"{}\" already exists", resource.qualified(), key.1);
        return Err(Refusal::new(409, "AlreadyExists", message));
    }
    if metadata["uid"].as_str().is_none() {
        metadata["uid"] = json!(uid());
    }
    metadata["creationTimestamp"] = json!(now());
    metadata["generation"] = json!(1);
    if resource.status {
        object.as_object_mut().map(|object| object.remove("status"));
    }
    if resource.qualified() == "services" {
        give_cluster_ip(&mut object["spec"], store.version());
    }
    Ok(store.put(resource, key, object))
}

/// As the API server chooses an address, where none is named: another one at each version.
fn give_cluster_ip(spec: &mut Value, version: u64) {
    if spec["type"] != "ExternalName" && spec["clusterIP"].is_null() {
        let [.., high, low] = version.to_be_bytes();
        let ip = format!("10.97.{high}.{low}");
        spec["clusterIPs"] = json!([ip]);
        spec["clusterIP"] = json!(ip);
    }
}

fn update(store: &mut Store, target: &Target, object: Value) -> Result<Response<Body>, Refusal> {
    check_kind(&target.resource, &object)?;
    let before = found(store, target)?.clone();
    change(store, target, &before, object)
}

fn patch(
    store: &mut Store,
    target: &Target,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response<Body>, Refusal> {
    if patch::is_apply(headers) {
        let applied = read(headers, body)?;
        return apply(store, target, applied);
    }
    let before = found(store, target)?.clone();
    let object = patch::patched(headers, &before.value, body)?;
    change(store, target, &before, object)
}

/// Server-side apply (KEP-555), by what each manager applied last.
fn apply(store: &mut Store, target: &Target, applied: Value) -> Result<Response<Body>, Refusal> {
    check_kind(&target.resource, &applied)?;
    let manager = target.query("fieldManager").to_owned();
    if manager.is_empty() {
        return Err(invalid(
            &target.resource,
            "",
            "fieldManager: Required value: is required for apply patch",
        ));
    }
    let key = key(target)?;
    let managers = store.managers(&target.resource, &key, target.subresource.as_deref());
    let before = match found(store, target) {
        Ok(before) => before.clone(),
        Err(refusal) if target.subresource.is_some() => return Err(refusal),
        Err(_) => {
            let stored = create(store, target, applied.clone())?;
            store.manage(&target.resource, &key, target.subresource.as_deref(), manager, applied);
            return Ok(ok(StatusCode::CREATED, stored.bytes));
        }
    };
    let object =
        patch::applied(&before.value, &applied, &manager, &managers, target.asks("force"))?;
    let answer = change(store, target, &before, object)?;
    store.manage(&target.resource, &key, target.subresource.as_deref(), manager, applied);
    Ok(answer)
}

/// Puts `object` in the place of `before`, with what the API server keeps as it is.
fn change(
    store: &mut Store,
    target: &Target,
    before: &Stored,
    mut object: Value,
) -> Result<Response<Body>, Refusal> {
    let resource = &target.resource;
    let key = key(target)?;
    let was = &before.value;
    let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if !version.is_empty() && version != before.version.to_string() {
        return Err(Refusal::conflict(resource, &key.1));
    }
    if let Some(uid) = object["metadata"]["uid"].as_str()
        && was["metadata"]["uid"] != uid
    {
        let message = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            was["metadata"]["uid"]
        );
        return Err(Refusal::new(409, "Conflict", message));
    }
    match target.subresource.as_deref() {
        Some("status") => {
            let status = object["status"].take();
            object = Value::clone(was);
            object["status"] = status;
        }
        Some(other) => {
            return Err(Refusal::new(404, "NotFound", format!("no subresource {other:?}")));
        }
        None if resource.status => match was.get("status") {
            Some(status) => object["status"] = status.clone(),
            None => _ = object.as_object_mut().map(|object| object.remove("status")),
        },
        None => {}
    }
    for kept in ["name", "namespace", "uid", "creationTimestamp", "resourceVersion", "generation"] {
        match was["metadata"].get(kept) {
            Some(value) => object["metadata"][kept] = value.clone(),
            None => _ = object["metadata"].as_object_mut().map(|m| m.remove(kept)),
        }
    }
    if object == **was {
        return Ok(ok(StatusCode::OK, before.bytes.clone()));
    }
    if spec(&object) != spec(was) {
        let generation = was["metadata"]["generation"].as_u64().unwrap_or(0);
        object["metadata"]["generation"] = json!(generation + 1);
    }
    let finished = was["metadata"].get("deletionTimestamp").is_some()
        && object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty);
    let stored = store.put(resource, key.clone(), object);
    if finished {
        store.remove(resource, &key);
    }
    Ok(ok(StatusCode::OK, stored.bytes))
}

/// All that a generation counts.
fn spec(object: &Value) -> Vec<(&String, &Value)> {
    let fields = object.as_object().into_iter().flatten();
    fields.filter(|(name, _)| !["metadata", "status"].contains(&name.as_str())).collect()
}

fn delete(store: &mut Store, target: &Target) -> Result<Response<Body>, Refusal> {
    let stored = found(store, target)?.clone();
    let last = end(store, &target.resource, key(target)?, &stored);
    Ok(ok(StatusCode::OK, last.bytes))
}

fn delete_all(
    store: &mut Store,
    target: &Target,
    selector: &Selector,
) -> Result<Response<Body>, Refusal> {
    let all: Vec<(Key, Stored)> = store
        .all(&target.resource.qualified())
        .filter(|(_, stored)| selector.matches(&stored.value))
        .map(|(key, stored)| (key.clone(), stored.clone()))
        .collect();
    for (key, stored) in &all {
        end(store, &target.resource, key.clone(), stored);
    }
    Ok(json_answer(
        StatusCode::OK,
        &json!({"kind": "Status", "apiVersion": "v1", "status": "Success"}),
    ))
}

/// Takes an object away, or marks it, if somebody has yet to finish it.
fn end(store: &mut Store, resource: &Resource, key: Key, stored: &Stored) -> Stored {
    if stored.value["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty()) {
        let mut object = Value::clone(&stored.value);
        object["metadata"]["deletionTimestamp"] = json!(now());
        return store.put(resource, key, object);
    }
    store.remove(resource, &key).unwrap_or_else(|| stored.clone())
}

fn check_kind(resource: &Resource, object: &Value) -> Result<(), Refusal> {
    let (version, kind) = (object["apiVersion"].as_str(), object["kind"].as_str());
    if version == Some(&resource.api_version()) && kind == Some(&resource.kind) {
        return Ok(());
    }
    Err(Refusal::bad(format!(
        "the API version and kind in the data ({}, {}) do not match the expected ({}, {})",
        version.unwrap_or_default(),
        kind.unwrap_or_default(),
        resource.api_version(),
        resource.kind
    )))
}

fn invalid(resource: &Resource, name: &str, why: &str) -> Refusal {
    Refusal::new(
        422,
        "Invalid",
        format!("{}.{} \"{name}\" is invalid: {why}", resource.kind, resource.group),
    )
}

/// A random UUID (RFC 9562, version 4).
pub(crate) fn uid() -> String {
    let bits = fastrand::u128(..) & !(0xf << 76) & !(0x3 << 62) | 4 << 76 | 2 << 62;
    let hex = format!("{bits:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The time, to the second.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
