//! The chart and the manifests, rendered by the real programs.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use nodeway_tests::skip;
use serde_json::Value;

/// A Kubernetes that the chart takes for today's.
pub(crate) const TODAY: &str = "v1.32.0";

/// What Helm made of the chart.
pub(crate) struct Rendered {
    pub(crate) objects: Vec<Value>,
    pub(crate) notes: String,
}

/// A place below deploy/.
pub(crate) fn deploy(path: &str) -> PathBuf {
    workspace().join("deploy").join(path)
}

/// A file below deploy/.
#[track_caller]
pub(crate) fn read(path: &str) -> String {
    let path = deploy(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All documents of a YAML text; those of comments alone are none.
#[track_caller]
pub(crate) fn parse(yaml: &str) -> Vec<Value> {
    let documents = serde_saphyr::from_multiple::<Value>(yaml);
    let documents = documents.unwrap_or_else(|error| panic!("{error}\n{yaml}"));
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// What `kubectl apply -k deploy/kustomize` would apply; none (and SKIPPED) without kubectl.
pub(crate) fn kustomize() -> Option<Vec<Value>> {
    if !skip::has("kubectl") {
        return None;
    }
    let said = Command::new("kubectl").arg("kustomize").arg(deploy("kustomize")).output();
    let said = said.expect("kubectl starts");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    Some(parse(&String::from_utf8_lossy(&said.stdout)))
}

/// The chart with `values`, for a cluster of version `kubernetes`; or what Helm has against it. None (and SKIPPED)
/// without Helm.
pub(crate) fn helm(values: &Value, kubernetes: &str) -> Option<Result<Rendered, String>> {
    let said = match run_helm("template", &[&values.to_string(), kubernetes])? {
        Ok(said) => said,
        Err(error) => return Some(Err(error)),
    };
    let said: Value = serde_json::from_str(&said).expect("JSON from helm.py");
    let text = |key: &str| said[key].as_str().expect("a text").to_owned();
    Some(Ok(Rendered { objects: parse(&text("manifest")), notes: text("notes") }))
}

/// The objects of the chart with `values`, which have to be good ones.
#[track_caller]
pub(crate) fn objects(values: &Value) -> Option<Vec<Value>> {
    match helm(values, TODAY)? {
        Ok(rendered) => Some(rendered.objects),
        Err(error) => panic!("{error}"),
    }
}

/// What helm.py says, or what it complains of.
pub(crate) fn run_helm(command: &str, arguments: &[&str]) -> Option<Result<String, String>> {
    let Some(library) = env::var_os("NODEWAY_HELM_LIBRARY") else {
        if cfg!(target_arch = "x86_64") {
            skip::skipped("Helm's library (`cargo xtask test` fetches it)");
        } else {
            skip::not_here("there is no Helm for this processor");
        }
        return None;
    };
    let mut helm = Command::new("python3");
    helm.arg(workspace().join("xtask/helm.py")).arg(library).arg(command);
    let said = helm.arg(deploy("chart")).args(arguments).output().expect("python3 starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some(if said.status.success() { Ok(text(&said.stdout)) } else { Err(text(&said.stderr)) })
}

/// The object of a kind, of which there is one.
#[track_caller]
pub(crate) fn one<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<_> = objects.iter().filter(|object| object["kind"] == kind).collect();
    assert_eq!(found.len(), 1, "{kind}: {found:#?}");
    found[0]
}

/// `Kind name`, to tell objects apart by.
pub(crate) fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

fn workspace() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("tests/ is in the workspace").to_owned()
}
