use serde_json::{Value, json};

use super::*;

fn service(name: &str, version: u32, ip: &str) -> String {
    json!({"metadata": {"name": name, "namespace": "shop", "resourceVersion": version.to_string(),
        "managedFields": [{"manager": "somebody"}]},
        "spec": {"clusterIP": ip, "ports": [{"port": 80}]}})
    .to_string()
}

fn keys(said: &Said) -> Vec<String> {
    let key = |change: &Change| match change {
        Change::Apply(object) => format!("+{}", object.key().1),
        Change::Delete(_, name) => format!("-{name}"),
        Change::Refuse(route) => format!("!{}", route.name),
    };
    said.changes.iter().map(key).collect()
}

fn told(said: &Said) -> Vec<String> {
    let told = |(name, problems): &(ObjectName, Vec<Problem>)| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        format!("{name} [{}]", problems.join("; "))
    };
    said.problems.iter().map(told).collect()
}

/// What `f` has `objects` say.
fn said(objects: &mut Objects, f: impl FnOnce(&mut Objects, &mut Said)) -> Said {
    let mut said = Said::default();
    f(objects, &mut said);
    said
}

#[test]
fn a_second_listing_tells_only_what_has_changed_and_what_is_gone() {
    let mut objects = Objects::new(Kind::Service);
    let first = said(&mut objects, |objects, said| {
        objects.begin();
        for name in ["a", "b", "c"] {
            objects.apply(&service(name, 1, "10.96.0.1"), said);
        }
        objects.end(said);
    });
    assert_eq!(keys(&first), ["+shop/a", "+shop/b", "+shop/c"]);
    let second = said(&mut objects, |objects, said| {
        objects.begin();
        objects.apply(&service("a", 1, "10.96.0.1"), said);
        objects.apply(&service("b", 2, "10.96.0.2"), said);
        assert!(keys(said) == ["+shop/b"], "nothing goes before the listing is complete");
        objects.end(said);
    });
    assert_eq!(keys(&second), ["+shop/b", "-shop/c"]);
    let absent = said(&mut objects, Objects::clear);
    assert_eq!(absent.changes.len(), 2);
}

#[test]
fn a_listing_that_breaks_off_loses_nothing() {
    let mut objects = Objects::new(Kind::Service);
    said(&mut objects, |objects, said| {
        objects.begin();
        objects.apply(&service("a", 1, "10.96.0.1"), said);
        objects.apply(&service("b", 1, "10.96.0.2"), said);
        objects.end(said);
    });
    let broken = said(&mut objects, |objects, said| {
        objects.begin();
        objects.apply(&service("a", 1, "10.96.0.1"), said);
        // It broke off here; the next one begins.
        objects.begin();
        objects.apply(&service("a", 1, "10.96.0.1"), said);
        objects.apply(&service("b", 1, "10.96.0.2"), said);
        objects.end(said);
    });
    assert!(broken.is_empty());
}

#[test]
fn a_bad_version_leaves_the_last_good_one_in_force_and_is_told_until_it_is_mended() {
    let mut objects = Objects::new(Kind::Service);
    let mut apply =
        |text: String| said(&mut objects, |objects, said| _ = objects.apply(&text, said));
    assert_eq!(keys(&apply(service("a", 1, "10.96.0.1"))), ["+shop/a"]);
    let bad = apply(service("a", 2, "10.96.0"));
    assert!(bad.changes.is_empty());
    assert!(told(&bad)[0].starts_with("shop/a [Service shop/a: spec.clusterIPs[0]: \"10.96.0\""));
    let worse = apply(service("a", 3, "10.96").replace("\"port\":80", "\"port\":\"x\""));
    assert!(worse.changes.is_empty() && told(&worse)[0].contains("spec.ports[0].port"));
    let mended = apply(service("a", 4, "10.96.0.2"));
    assert_eq!((keys(&mended), told(&mended)), (vec!["+shop/a".into()], vec!["shop/a []".into()]));
}

#[test]
fn a_fault_goes_with_its_object() {
    let mut objects = Objects::new(Kind::Service);
    let bad = service("a", 1, "10.96.0");
    said(&mut objects, |objects, said| _ = objects.apply(&bad, said));
    let gone = said(&mut objects, |objects, said| _ = objects.delete(&bad, said));
    assert_eq!((keys(&gone), told(&gone)), (vec![], vec!["shop/a []".into()]));
}

#[test]
fn what_is_no_object_is_told() {
    let mut objects = Objects::new(Kind::Service);
    for text in ["7", "{}", "{\"metadata\": {\"name\": 7}}", "{\"metadata\": {"] {
        let said = said(&mut objects, |objects, said| _ = objects.apply(text, said));
        assert!(told(&said)[0].contains("an object that cannot be read"), "{text}");
    }
    let listed = said(&mut objects, |objects, said| {
        objects.begin();
        objects.end(said);
    });
    assert_eq!(told(&listed), ["? []"], "no such thing any more");
}

#[test]
fn a_route_that_leaves_us_is_gone_and_a_refused_one_says_so() {
    let route = |version: u32, kind: &str, path: &str| {
        let spec: Value = json!({"parentRefs": [{"group": "", "kind": kind, "name": "web"}],
            "rules": [{"matches": [{"path": {"value": path}}]}]});
        json!({"metadata": {"name": "r", "namespace": "shop", "resourceVersion": version.to_string(),
            "generation": version}, "spec": spec})
        .to_string()
    };
    let mut objects = Objects::new(Kind::HttpRoute);
    let mut apply =
        |text: String| keys(&said(&mut objects, |objects, said| _ = objects.apply(&text, said)));
    assert_eq!(apply(route(1, "Gateway", "/")), [""; 0]);
    assert_eq!(apply(route(2, "Service", "/")), ["+shop/r"]);
    assert_eq!(apply(route(3, "Service", "bad")), ["!shop/r"]);
    assert_eq!(apply(route(4, "Gateway", "/")), ["-shop/r"]);
    // Refused from the first: it has a status to tell, and it has to go.
    assert_eq!(apply(route(5, "Service", "bad")), ["!shop/r"]);
    assert_eq!(apply(route(6, "Gateway", "/")), ["-shop/r"]);
}

#[test]
fn a_pod_of_the_api_names_no_namespace_of_the_node() {
    let text =
        json!({"metadata": {"name": "p", "namespace": "shop", "uid": "u", "resourceVersion": "1",
        "annotations": {"nodeway.dev/netns": "/proc/1/ns/net"}}})
        .to_string();
    let mut objects = Objects::new(Kind::Pod);
    let said = said(&mut objects, |objects, said| _ = objects.apply(&text, said));
    let [Change::Apply(Object::Pod(pod))] = &said.changes[..] else { panic!("{said:?}") };
    assert_eq!((pod.netns.as_ref(), &*pod.uid), (None, "u"));
}
