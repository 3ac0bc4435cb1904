//! What the server tells of itself: versions, groups, resources, and that it validates fields.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use crate::answer::{Body, bytes_answer, json_answer};
use crate::kinds::Resource;

/// The answer to a path of discovery; none if it is no such path.
pub(crate) fn answer(path: &str, resources: &[Resource]) -> Option<Response<Body>> {
    let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let told = match &path[..] {
        ["version"] => version(),
        ["healthz" | "livez" | "readyz"] => json!("ok"),
        ["api"] => {
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
        }
        ["apis"] => {
            let groups: Vec<Value> =
                groups(resources).iter().map(|g| group(g, resources)).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["apis", name] if groups(resources).contains(name) => {
            let mut told = group(name, resources);
            told["kind"] = json!("APIGroup");
            told["apiVersion"] = json!("v1");
            told
        }
        ["api", version] => list("", version, resources)?,
        ["apis", group, version] => list(group, version, resources)?,
        // An older kubectl asks for this one, as a protocol buffer: an empty one describes nothing.
        ["openapi", "v2"] => return Some(bytes_answer(StatusCode::OK, Bytes::new())),
        ["openapi", "v3"] => {
            let path = |version: &str| match version.contains('/') {
                true => format!("apis/{version}"),
                false => format!("api/{version}"),
            };
            let paths: serde_json::Map<String, Value> = resources
                .iter()
                .map(|resource| path(&resource.api_version()))
                .map(|path| {
                    (path.clone(), json!({"serverRelativeURL": format!("/openapi/v3/{path}")}))
                })
                .collect();
            json!({"paths": paths})
        }
        ["openapi", "v3", "api", version] => openapi("", version, resources)?,
        ["openapi", "v3", "apis", group, version] => openapi(group, version, resources)?,
        _ => return None,
    };
    Some(json_answer(StatusCode::OK, &told))
}

fn version() -> Value {
    json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0-nodeway", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2025-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc", "platform": "linux/amd64"})
}

fn groups(resources: &[Resource]) -> Vec<&str> {
    let mut groups: Vec<&str> = resources.iter().map(|r| r.group.as_str()).collect();
    groups.sort_unstable();
    groups.dedup();
    groups.retain(|group| !group.is_empty());
    groups
}

fn group(name: &str, resources: &[Resource]) -> Value {
    let mut versions: Vec<&str> =
        resources.iter().filter(|r| r.group == name).map(|r| r.version.as_str()).collect();
    versions.sort_unstable();
    versions.dedup();
    let told =
        |version: &&str| json!({"groupVersion": format!("{name}/{version}"), "version": version});
    let all: Vec<Value> = versions.iter().map(told).collect();
    json!({"name": name, "preferredVersion": all.first(), "versions": all})
}

fn of<'a>(
    group: &'a str,
    version: &'a str,
    resources: &'a [Resource],
) -> impl Iterator<Item = &'a Resource> {
    resources.iter().filter(move |r| r.group == group && r.version == version)
}

fn list(group: &str, version: &str, resources: &[Resource]) -> Option<Value> {
    let first = of(group, version, resources).next()?;
    let verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    let mut told = Vec::new();
    for r in of(group, version, resources) {
        told.push(json!({"name": r.plural, "singularName": r.kind.to_lowercase(), "namespaced": r.namespaced,
            "kind": r.kind, "verbs": verbs, "shortNames": r.short}));
        if r.status {
            told.push(json!({"name": format!("{}/status", r.plural), "singularName": "",
                "namespaced": r.namespaced, "kind": r.kind, "verbs": ["get", "patch", "update"]}));
        }
    }
    Some(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": first.api_version(), "resources": told}),
    )
}

/// No schema: only that `fieldValidation` is a parameter of a patch, which clients look for.
fn openapi(group: &str, version: &str, resources: &[Resource]) -> Option<Value> {
    let first = of(group, version, resources).next()?;
    let root = if group.is_empty() { "/api/" } else { "/apis/" };
    let mut paths = serde_json::Map::new();
    for r in of(group, version, resources) {
        let namespace = if r.namespaced { "namespaces/{namespace}/" } else { "" };
        let path = format!("{root}{}/{namespace}{}/{{name}}", first.api_version(), r.plural);
        let gvk = json!({"group": r.group, "version": r.version, "kind": r.kind});
        let parameter =
            |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string"}});
        let patch = json!({"parameters": [parameter("fieldValidation"), parameter("dryRun")],
            "x-kubernetes-action": "patch", "x-kubernetes-group-version-kind": gvk, "responses": {}});
        paths.insert(path, json!({"patch": patch}));
    }
    Some(json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.34.0"},
        "paths": paths, "components": {"schemas": {}}}))
}
