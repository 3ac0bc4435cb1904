//! What the chart's values do.

use serde_json::{Value, json};

use crate::objects::everything;
use crate::render::{TODAY, helm, objects, one, parse, read, run_helm};

fn container(objects: &[Value]) -> Value {
    one(objects, "DaemonSet")["spec"]["template"]["spec"]["containers"][0].clone()
}

#[test]
fn helm_finds_nothing_to_mend() {
    if let Some(said) = run_helm("lint", &[]) {
        said.unwrap();
    }
}

#[test]
fn helm_installs_the_crd_and_then_the_rest() {
    let Some(said) = run_helm("install", &["{}", TODAY]) else { return };
    let said: Value = serde_json::from_str(&said.unwrap()).unwrap();
    assert_eq!(
        parse(said["manifest"].as_str().unwrap()),
        objects(&json!({})).unwrap(),
        "as without it: CRDs are no part of what an upgrade changes or an uninstall takes away"
    );
}

#[test]
fn chart_image_and_binary_are_of_one_version() {
    let version = env!("CARGO_PKG_VERSION");
    let chart = &parse(&read("chart/Chart.yaml"))[0];
    assert_eq!((&chart["version"], &chart["appVersion"]), (&json!(version), &json!(version)));
    let image = container(&parse(&read("kustomize/daemonset.yaml")))["image"].clone();
    assert_eq!(image, format!("localhost/nodeway:{version}"));
}

#[test]
fn an_image_is_named_by_tag_or_digest() {
    let image = |image: Value| -> Option<String> {
        let objects = objects(&json!({ "image": image }))?;
        container(&objects)["image"].as_str().map(str::to_owned)
    };
    let digest = format!("sha256:{}", "a".repeat(64));
    let Some(tagged) = image(json!({"repository": "r.example:5000/n", "tag": "x"})) else { return };
    assert_eq!(tagged, "r.example:5000/n:x");
    let both = image(json!({"repository": "r.example/n", "tag": "x", "digest": digest}));
    assert_eq!(both.unwrap(), format!("r.example/n@{digest}"));
}

#[test]
fn config_becomes_the_file_of_run_and_a_change_restarts_the_pods() {
    let with = |workers: u32| objects(&json!({"config": {"enroll": "all", "workers": workers}}));
    let (Some(two), Some(three)) = (with(2), with(3)) else { return };
    let file = one(&two, "ConfigMap")["data"]["config.yaml"].as_str().unwrap().to_owned();
    assert_eq!(parse(&file), [json!({"enroll": "all", "workers": 2})]);
    let container = container(&two);
    let args = container["args"].as_array().unwrap();
    assert!(args.contains(&json!("--config=/etc/nodeway/config.yaml")), "{args:?}");
    let mounts = container["volumeMounts"].as_array().unwrap();
    assert!(mounts.iter().any(|mount| mount["mountPath"] == "/etc/nodeway"), "{mounts:?}");
    let template = |objects: &[Value]| one(objects, "DaemonSet")["spec"]["template"].clone();
    let sum = |objects: &[Value]| {
        template(objects)["metadata"]["annotations"]["checksum/config"].as_str().unwrap().to_owned()
    };
    assert_ne!(sum(&two), sum(&three));
    let volumes = template(&two)["spec"]["volumes"].clone();
    let volume = volumes.as_array().unwrap().iter().find(|volume| volume["name"] == "config");
    assert_eq!(volume.unwrap()["configMap"]["name"], one(&two, "ConfigMap")["metadata"]["name"]);
}

#[test]
fn the_pod_may_take_longer_than_its_connections() {
    let Some(objects) = objects(&json!({"drainTimeoutSeconds": 300})) else { return };
    let pod = &one(&objects, "DaemonSet")["spec"]["template"]["spec"];
    assert_eq!(pod["terminationGracePeriodSeconds"], 310);
    let args = pod["containers"][0]["args"].as_array().unwrap();
    assert!(args.contains(&json!("--drain-timeout=300s")), "{args:?}");
}

#[test]
fn nodes_are_linux_ones_whatever_else_they_are() {
    let Some(objects) = objects(&everything()) else { return };
    let selector = &one(&objects, "DaemonSet")["spec"]["template"]["spec"]["nodeSelector"];
    assert_eq!(*selector, json!({"kubernetes.io/os": "linux", "pool": "a"}));
}

#[test]
fn older_clusters_are_told_of_apparmor_by_annotation() {
    let Some(old) = helm(&json!({}), "v1.29.4-eks-1") else { return };
    let old = old.unwrap_or_else(|error| panic!("{error}")).objects;
    let template = &one(&old, "DaemonSet")["spec"]["template"];
    let annotation = "container.apparmor.security.beta.kubernetes.io/nodeway";
    assert_eq!(template["metadata"]["annotations"][annotation], "unconfined");
    let security = |objects: &[Value]| container(objects)["securityContext"].clone();
    assert!(security(&old)["appArmorProfile"].is_null());
    let new = objects(&json!({})).unwrap();
    assert_eq!(security(&new)["appArmorProfile"]["type"], "Unconfined");
    assert!(one(&new, "DaemonSet")["spec"]["template"]["metadata"]["annotations"].is_null());
}

#[test]
fn a_profile_of_ones_own_and_none_at_all_are_possible() {
    let own = json!({"appArmorProfile": {"type": "Localhost", "localhostProfile": "mine"}});
    let Some(old) = helm(&own, "v1.29.0") else { return };
    let template = one(&old.ok().unwrap().objects, "DaemonSet")["spec"]["template"].clone();
    let annotation = "container.apparmor.security.beta.kubernetes.io/nodeway";
    assert_eq!(template["metadata"]["annotations"][annotation], "localhost/mine");
    let none = json!({"appArmorProfile": null, "seccompProfile": null, "seLinuxOptions": null});
    let security = container(&objects(&none).unwrap())["securityContext"].clone();
    for key in none.as_object().unwrap().keys() {
        assert!(security[key].is_null(), "{key}");
    }
    assert_eq!(security["privileged"], false);
}

#[test]
fn a_cluster_without_surge_is_refused() {
    let Some(refused) = helm(&json!({}), "v1.24.0") else { return };
    let error = refused.map(|_| ()).unwrap_err();
    assert!(error.contains("1.25"), "{error}");
}

#[test]
fn a_pod_monitor_names_the_port_of_the_pod() {
    let Some(objects) = objects(&everything()) else { return };
    let monitor = one(&objects, "PodMonitor");
    let port = container(&objects)["ports"][0]["name"].clone();
    assert_eq!(monitor["spec"]["podMetricsEndpoints"][0]["port"], port);
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    let pods = &one(&objects, "DaemonSet")["spec"]["selector"];
    for kind in ["PodMonitor", "NetworkPolicy"] {
        let spec = &one(&objects, kind)["spec"];
        let selector = if kind == "PodMonitor" { &spec["selector"] } else { &spec["podSelector"] };
        assert_eq!(selector, pods, "{kind}");
    }
}

#[test]
fn the_notes_say_how_to_opt_in_only_where_one_has_to() {
    let Some(label) = helm(&json!({}), TODAY) else { return };
    let all = helm(&json!({"config": {"enroll": "all"}}), TODAY).unwrap();
    let notes = |rendered: Result<crate::render::Rendered, String>| rendered.ok().unwrap().notes;
    let command = "kubectl label namespace NAME nodeway.dev/mesh=enabled";
    assert!(notes(label).contains(command));
    assert!(!notes(all).contains(command));
}

#[test]
fn the_notes_warn_of_an_image_that_no_registry_has() {
    let notes = |values: Value| helm(&values, TODAY).map(|rendered| rendered.ok().unwrap().notes);
    let Some(default) = notes(json!({})) else { return };
    assert!(default.contains("WARNING: image.repository is localhost/nodeway"), "{default}");
    let pushed = notes(json!({"image": {"repository": "r.example/nodeway"}})).unwrap();
    assert!(!pushed.contains("WARNING"), "{pushed}");
}
