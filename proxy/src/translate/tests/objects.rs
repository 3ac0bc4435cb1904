//! Services, EndpointSlices, Pods and Namespaces.

use nodeway_core::model::{AppProtocol, Mesh};
use serde_json::json;

use super::*;

fn service(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
}

fn pod(metadata: Value, spec: Value) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    pod["metadata"]["name"] = "web-7d4b9-x2x".into();
    pod
}

fn slice(mut more: Value) -> Value {
    more["apiVersion"] = "discovery.k8s.io/v1".into();
    more["kind"] = "EndpointSlice".into();
    more["metadata"] = json!({"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}});
    more
}

// === Services ===

#[test]
fn a_service_needs_little() {
    let read = read(service(json!({"clusterIP": "10.96.0.1", "ports": [
        {"port": 80, "name": "http"}, {"port": 53, "protocol": "UDP"}, {"port": 9, "name": "x", "appProtocol": "kubernetes.io/h2c"}]})));
    assert!(read.faults.is_empty());
    let Some(Object::Service(service)) = read.object else { panic!() };
    assert_eq!(service.name.to_string(), "shop/web");
    assert_eq!(service.cluster_ips, ["10.96.0.1".parse::<std::net::IpAddr>().unwrap()]);
    let ports: Vec<_> = service.ports.iter().map(|p| (&*p.name, p.port, p.protocol)).collect();
    assert_eq!(ports, [("http", 80, AppProtocol::Http), ("x", 9, AppProtocol::Http2)]);
}

#[test]
fn headless_and_external_services_have_no_frontends() {
    for spec in [
        json!({"clusterIP": "None", "ports": [{"port": 80}]}),
        json!({"clusterIPs": ["None"], "clusterIP": "None", "ports": [{"port": 80}]}),
        json!({"type": "ExternalName", "externalName": "example.org", "clusterIP": "10.96.0.1"}),
        json!({}),
    ] {
        let Some(Object::Service(service)) = read(service(spec)).object else { panic!() };
        assert!(service.cluster_ips.is_empty() && service.external_ips.is_empty());
    }
}

#[test]
fn a_service_is_refused_by_field() {
    for (spec, reason) in [
        (
            json!({"clusterIPs": ["10.96.0.1", "10.96.0"]}),
            "spec.clusterIPs[1]: \"10.96.0\": not an IP",
        ),
        (json!({"clusterIP": "0.0.0.0"}), "spec.clusterIPs[0]: \"0.0.0.0\": not an address of one"),
        (json!({"ports": [{"port": 0}]}), "spec.ports[0].port: 0: must be from 1 to 65535"),
        (json!({"ports": [{"port": 70000}]}), "spec.ports[0].port: 70000: must be"),
        (json!({"ports": [{"port": "http"}]}), "spec.ports[0].port: invalid type: string"),
        (
            json!({"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]}),
            "spec.ports[1].port: 1: given twice",
        ),
        (
            json!({"ports": [{"port": 1}, {"port": 2}]}),
            "spec.ports[1].name: \"\": each of several ports",
        ),
    ] {
        refused(service(spec), reason);
    }
}

#[test]
fn external_addresses_are_those_at_which_every_node_answers() {
    let balanced = |spec: Value, ingress: Value| {
        let mut document = service(spec);
        document["spec"]["clusterIP"] = "10.96.0.1".into();
        document["status"] = json!({"loadBalancer": {"ingress": ingress}});
        let read = read(document);
        let Some(Object::Service(service)) = &read.object else { panic!() };
        let ips: Vec<_> = service.external_ips.iter().map(ToString::to_string).collect();
        (ips.join(" "), told(&read))
    };
    let ingress =
        || json!([{"ip": "192.0.2.1"}, {"ip": "192.0.2.2", "ipMode": "Proxy"}, {"hostname": "lb"}]);
    let external = json!({"externalIPs": ["192.0.2.9", "192.0.2", "192.0.2.9"]});
    let (ips, told) = balanced(external, ingress());
    assert_eq!(ips, "192.0.2.9", "of a ClusterIP Service the status counts for nothing");
    assert!(told[0].starts_with("spec.externalIPs[1]: \"192.0.2\": not an IP"), "{told:?}");
    assert_eq!(balanced(json!({"type": "LoadBalancer"}), ingress()).0, "192.0.2.1");
    let picky = json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.0.0.0/8"]});
    assert_eq!(balanced(picky, ingress()).0, "");
    let bad = json!([{"ip": "0.0.0.0"}]);
    let (ips, told) = balanced(json!({"type": "LoadBalancer"}), bad);
    assert!(ips.is_empty() && told[0].starts_with("status.loadBalancer.ingress[0].ip"), "{told:?}");
}

#[test]
fn affinity_and_traffic_policy_are_read() {
    let spec = |spec: Value| {
        let Some(Object::Service(service)) = read(service(spec)).object else { panic!() };
        (service.affinity.map(|time| time.as_secs()), service.internal_local)
    };
    assert_eq!(spec(json!({})), (None, false));
    assert_eq!(spec(json!({"sessionAffinity": "ClientIP"})), (Some(10_800), false));
    let five = json!({"sessionAffinity": "ClientIP", "internalTrafficPolicy": "Local",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 5}}});
    assert_eq!(spec(five), (Some(5), true));
    refused(
        service(json!({"sessionAffinity": "ClientIP",
            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}})),
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds: 0: must be from 1 to 86400",
    );
}

// === EndpointSlices ===

#[test]
fn node_zones_and_hints_are_read() {
    let read = read(slice(json!({"addressType": "IPv4", "endpoints": [
        {"addresses": ["10.0.0.1"], "nodeName": "n1", "zone": "a",
         "hints": {"forZones": [{"name": "a"}, {"name": "b"}], "forNodes": [{"name": "n1"}]}},
        {"addresses": ["10.0.0.2"]}]})));
    let Some(Object::EndpointSlice(slice)) = read.object else { panic!() };
    let [hinted, plain] = &slice.endpoints[..] else { panic!() };
    assert_eq!(hinted.node.as_deref(), Some("n1"));
    let names = |names: &[std::sync::Arc<str>]| names.join(" ");
    assert_eq!((names(&hinted.for_zones), names(&hinted.for_nodes)), ("a b".into(), "n1".into()));
    assert!(plain.node.is_none() && plain.for_zones.is_empty() && plain.for_nodes.is_empty());
}

#[test]
fn bad_endpoints_are_left_out_and_the_rest_counts() {
    let read = read(slice(
        json!({"addressType": "IPv4", "ports": [{"port": 8080}, {"port": 0, "name": "x"}], "endpoints": [
            {"addresses": ["127.0.0.2"], "targetRef": {"kind": "Pod", "name": "p"}},
            {"addresses": ["fd00::1"]},
            {"addresses": ["10.0.0"]},
            {"addresses": []},
            {"addresses": ["10.0.0.9"], "conditions": {"ready": false, "serving": true, "terminating": true}},
        ]}),
    ));
    let told = told(&read);
    let Some(Object::EndpointSlice(slice)) = read.object else { panic!() };
    assert_eq!((&*slice.service.namespace, &*slice.service.name), ("shop", "web"));
    assert_eq!(slice.ports.len(), 1);
    let [first, last] = &slice.endpoints[..] else { panic!("{:?}", slice.endpoints) };
    assert_eq!(first.pod.as_ref().unwrap().to_string(), "shop/p");
    assert_eq!((first.ready, first.serving, first.terminating), (true, true, false));
    assert_eq!((last.ready, last.serving, last.terminating), (false, true, true));
    for (told, expected) in told.iter().zip([
        "ports[1].port: 0: must be",
        "endpoints[1].addresses[0]: \"fd00::1\": not an IPv4 address",
        "endpoints[2].addresses[0]: \"10.0.0\": not an IP address",
        "endpoints[3].addresses[0]: \"\": not an IP address",
    ]) {
        assert!(told.starts_with(expected), "{told}");
    }
    assert_eq!(told.len(), 4);
}

#[test]
fn a_slice_without_its_services_label_is_refused() {
    let mut orphan = slice(json!({"addressType": "IPv4"}));
    orphan["metadata"]["labels"] = json!({});
    refused(orphan, "metadata.labels[kubernetes.io/service-name]: missing");
}

// === Pods and Namespaces ===

#[test]
fn a_pod_is_named_by_its_workload() {
    let owner = |kind: &str, name: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u", "controller": true}]);
    for (metadata, workload) in [
        (
            json!({"ownerReferences": owner("ReplicaSet", "web-7d4b9"), "labels": {"pod-template-hash": "7d4b9"}}),
            "web",
        ),
        (json!({"ownerReferences": owner("ReplicaSet", "bare-set")}), "bare-set"),
        (json!({"ownerReferences": owner("StatefulSet", "db")}), "db"),
        (json!({"labels": {"app": "b", "app.kubernetes.io/name": "a"}}), "a"),
        (json!({"labels": {"app": "b"}}), "b"),
        (json!({}), "web-7d4b9-x2x"),
    ] {
        let Some(Object::Pod(pod)) = read(pod(metadata, json!({"containers": []}))).object else {
            panic!()
        };
        assert_eq!(&*pod.workload, workload);
    }
}

#[test]
fn a_pod_says_where_and_whether_it_runs() {
    let annotations = json!({"annotations": {"nodeway.dev/netns": "/var/run/netns/a"}, "labels": {"nodeway.dev/mesh": "disabled"}, "uid": "u-1"});
    let mut document =
        pod(annotations, json!({"nodeName": "n", "hostNetwork": true, "containers": []}));
    document["status"] = json!({"phase": "Failed", "podIPs": [{"ip": "10.0.0.7"}, {"ip": "?"}]});
    let Some(Object::Pod(pod)) = read(document).object else { panic!() };
    assert_eq!(pod.name.to_string(), "default/web-7d4b9-x2x", "no namespace is `default`");
    assert_eq!((pod.mesh, pod.node.as_deref()), (Some(Mesh::Disabled), Some("n")));
    assert!(pod.host_network && pod.ended && !pod.mirror);
    assert_eq!((&*pod.uid, &*pod.ips), ("u-1", &["10.0.0.7".parse().unwrap()][..]));
    assert_eq!(pod.netns.as_deref(), Some(std::path::Path::new("/var/run/netns/a")));
}

#[test]
fn a_static_pod_has_the_uid_that_the_kubelet_gave_it() {
    let mirror = json!({"uid": "u-1", "annotations": {
        "kubernetes.io/config.hash": "9d0c", "kubernetes.io/config.mirror": "9d0c"}});
    let Some(Object::Pod(found)) = read(pod(mirror, json!({}))).object else { panic!() };
    assert_eq!((&*found.uid, found.mirror), ("9d0c", true));
    // The kubelet itself notes the hash on every static pod; without the other one it says nothing.
    let other = json!({"uid": "u-1", "annotations": {"kubernetes.io/config.hash": "9d0c"}});
    let Some(Object::Pod(found)) = read(pod(other, json!({}))).object else { panic!() };
    assert_eq!((&*found.uid, found.mirror), ("u-1", false));
}

#[test]
fn bad_labels_and_annotations_are_named() {
    let label = json!({"labels": {"nodeway.dev/mesh": "on"}});
    let reason = "metadata.labels[nodeway.dev/mesh]: \"on\": must be \"enabled\" or \"disabled\"";
    refused(pod(label, json!({})), reason);
    let annotation = json!({"annotations": {"nodeway.dev/netns": "a"}});
    refused(
        pod(annotation, json!({})),
        "metadata.annotations[nodeway.dev/netns]: \"a\": must be an absolute",
    );
    refused(
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "labels": {"nodeway.dev/mesh": ""}}}),
        "metadata.labels[nodeway.dev/mesh]: \"\"",
    );
}

// === Nodes and ReferenceGrants ===

#[test]
fn a_node_is_in_its_zone() {
    let labels = json!({"topology.kubernetes.io/zone": "east"});
    let node =
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "labels": labels}});
    let Some(Object::Node(node)) = read(node).object else { panic!() };
    assert_eq!((node.name.to_string(), node.zone.as_deref()), ("n1".to_owned(), Some("east")));
}

#[test]
fn a_grant_counts_for_routes_and_services_only() {
    let grant = json!({"apiVersion": "gateway.networking.k8s.io/v1beta1", "kind": "ReferenceGrant",
        "metadata": {"name": "g", "namespace": "bank"}, "spec": {
            "from": [
                {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"},
                {"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "shop"},
                {"group": "example.org", "kind": "HTTPRoute", "namespace": "shop"}],
            "to": [{"group": "", "kind": "Service", "name": "a"}, {"group": "", "kind": "Service"},
                {"group": "", "kind": "Secret"}]}});
    let Some(Object::ReferenceGrant(grant)) = read(grant).object else { panic!() };
    assert_eq!(grant.from, [(Kind::HttpRoute, "shop".into())]);
    assert_eq!(grant.to, [Some("a".into()), None]);
}
