//! What the DaemonSet promises of its pod.

use serde_json::{Value, json};

use crate::render::{one, parse, read};

fn spec() -> Value {
    let objects = parse(&read("kustomize/daemonset.yaml"));
    one(&objects, "DaemonSet")["spec"].clone()
}

#[test]
fn it_has_the_rights_it_needs_and_no_more() {
    let pod = &spec()["template"]["spec"];
    assert_eq!(pod["hostPID"], true);
    for not in ["hostNetwork", "hostIPC"] {
        assert!(pod[not].is_null(), "{not}");
    }
    let security = &pod["containers"][0]["securityContext"];
    for (what, is) in [
        ("privileged", json!(false)),
        ("allowPrivilegeEscalation", json!(false)),
        ("readOnlyRootFilesystem", json!(true)),
        ("seccompProfile", json!({"type": "RuntimeDefault"})),
    ] {
        assert_eq!(security[what], is, "{what}");
    }
    assert_eq!(security["capabilities"]["drop"], json!(["ALL"]));
    // The end-to-end test `capabilities` proves each of them needed, and all of them enough.
    assert_eq!(security["capabilities"]["add"], json!(["NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE"]));
    let mount = |volume: &str| {
        let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
        mounts.iter().find(|mount| mount["name"] == volume).unwrap().clone()
    };
    assert_eq!(mount("cgroup")["readOnly"], true);
    assert!(mount("cgroup")["mountPropagation"].is_null(), "its root is mounted before any pod");
    // The API refuses Bidirectional without `privileged`.
    assert_eq!(mount("bpffs")["mountPropagation"], "HostToContainer");
}

#[test]
fn an_upgrade_starts_the_new_one_before_it_ends_the_old_one() {
    let spec = spec();
    let rolling = json!({"maxSurge": 1, "maxUnavailable": 0});
    assert_eq!(spec["updateStrategy"], json!({"type": "RollingUpdate", "rollingUpdate": rolling}));
    // A successor that dies gives back within a second, and only to an old one that lives.
    assert!(spec["minReadySeconds"].as_u64().unwrap() > 5);
    let pod = &spec["template"]["spec"];
    let container = &pod["containers"][0];
    assert!(args(container).contains(&"--takeover"), "the second on a node would be refused");
    // Two pods on one node would fight for a port of the node.
    assert!(container["ports"].as_array().unwrap().iter().all(|port| port["hostPort"].is_null()));
    let drain = args(container).into_iter().find_map(|arg| arg.strip_prefix("--drain-timeout="));
    let drain: u64 = drain.unwrap().strip_suffix('s').unwrap().parse().unwrap();
    assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > drain);
}

#[test]
fn what_it_is_told_to_use_is_mounted() {
    let pod = &spec()["template"]["spec"];
    let container = &pod["containers"][0];
    for (flag, volume, of_the_node) in
        [("--cgroup=", "cgroup", "/sys/fs/cgroup"), ("--bpffs=", "bpffs", "/sys/fs/bpf")]
    {
        let path = args(container).into_iter().find_map(|arg| arg.strip_prefix(flag)).unwrap();
        let named = |list: &Value| {
            let list = list.as_array().unwrap();
            list.iter().find(|entry| entry["name"] == volume).unwrap().clone()
        };
        assert_eq!(named(&container["volumeMounts"])["mountPath"], path);
        assert_eq!(named(&pod["volumes"])["hostPath"]["path"], of_the_node);
    }
    let metrics = args(container).into_iter().find_map(|arg| arg.strip_prefix("--metrics="));
    let port: u64 = metrics.unwrap().rsplit(':').next().unwrap().parse().unwrap();
    assert_eq!(container["ports"][0]["containerPort"], port);
    // docs/install.md patches it by its place.
    assert_eq!(args(container)[4], "--metrics=0.0.0.0:15020");
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"], "{probe}");
    }
}

#[test]
fn the_proxy_is_not_in_its_own_mesh() {
    let spec = spec();
    assert_eq!(spec["template"]["metadata"]["labels"]["nodeway.dev/mesh"], "disabled");
}

fn args(container: &Value) -> Vec<&str> {
    container["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap()).collect()
}
