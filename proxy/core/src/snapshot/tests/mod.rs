//! What objects become.

mod alone;
mod backend_policies;
mod contests;
mod explain;
mod filters;
mod health;
mod incremental;
mod leaving;
mod mesh;
mod policies;
mod semantics;
mod verdicts;

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderMap, Method};

use super::*;
use crate::balance::{Millis, Report};
use crate::model::*;

fn name(name: &str) -> ObjectName {
    ObjectName::new("shop", name)
}

fn service(of: &str, ip: &str) -> Change {
    let port = ServicePort { name: "http".into(), port: 80, protocol: AppProtocol::Http };
    let service = Service::new(name(of), vec![ip.parse().unwrap()], vec![port]);
    Change::Apply(Object::Service(service))
}

fn slice(of: &str, slice: &str, endpoints: &[(&str, [bool; 3])]) -> Change {
    Change::Apply(Object::EndpointSlice(EndpointSlice {
        name: name(slice),
        service: name(of),
        ports: vec![EndpointPort { name: "http".into(), port: 8080 }],
        endpoints: endpoints
            .iter()
            .map(|(address, [ready, serving, terminating])| EndpointAddress {
                ready: *ready,
                serving: *serving,
                terminating: *terminating,
                ..EndpointAddress::new(address.parse().unwrap())
            })
            .collect(),
    }))
}

fn backend(weight: u32, service: &str) -> BackendRef {
    let target = BackendTarget::Service { service: name(service), port: 80 };
    BackendRef { weight, target, filters: Vec::new() }
}

fn route(parent: &str, backends: Vec<BackendRef>) -> Change {
    let everything = HttpMatch {
        path: PathMatch::Prefix("/x".into()),
        headers: vec![],
        queries: vec![],
        method: None,
    };
    Change::Apply(Object::Route(Route {
        kind: Kind::HttpRoute,
        name: name("route"),
        generation: 1,
        created: None,
        parents: vec![ParentRef::new(name(parent))],
        rules: Rules::Http(vec![HttpRule {
            name: None,
            matches: vec![everything],
            filters: vec![],
            backends,
            timeouts: Timeouts::default(),
            retry: None,
            persistence: None,
        }]),
    }))
}

fn compiler() -> Compiler {
    Compiler::new(CompileOptions { enroll: Enroll::Label, node_name: Some("here".into()) })
}

fn store(changes: impl IntoIterator<Item = Change>) -> Store {
    let mut store = Store::default();
    for change in changes {
        assert!(store.apply(change));
    }
    store
}

/// What a new compiler makes of it.
fn whole(mut store: Store) -> Arc<Snapshot> {
    compiler().compile(&mut store).unwrap().snapshot
}

/// What `compiler` makes of it if there is anything new, else nothing.
fn next(compiler: &mut Compiler, store: &mut Store) -> Arc<Snapshot> {
    compiler.compile(store).unwrap().snapshot
}

fn addresses(snapshot: &Snapshot, of: &str) -> Vec<String> {
    let frontend = snapshot.service_port(&name(of), 80).unwrap();
    frontend.backend.endpoints().iter().map(|e| e.address.ip().to_string()).collect()
}

fn routed<'a>(frontend: &'a Frontend, path: &str) -> Routed<'a> {
    let headers = HeaderMap::new();
    frontend.route(&RequestHead {
        method: &Method::GET,
        path,
        query: None,
        headers: &headers,
        client: None,
    })
}

const ANYONE: Caller = Caller { client: 0, family: None, hash: None, relayed: false };
const READY: [bool; 3] = [true, true, false];
const LEAVING: [bool; 3] = [false, true, true];
const GONE: [bool; 3] = [false, false, true];

#[test]
fn slices_are_merged_and_ready_beats_leaving() {
    let merged = store([
        service("web", "10.96.0.1"),
        slice("web", "a", &[("10.0.0.1", READY), ("10.0.0.2", LEAVING), ("10.0.0.3", GONE)]),
        slice("web", "b", &[("10.0.0.1", LEAVING), ("10.0.0.4", READY)]),
    ]);
    assert_eq!(addresses(&whole(merged), "web"), ["10.0.0.1", "10.0.0.4"]);
    let leaving = store([
        service("web", "10.96.0.1"),
        slice("web", "a", &[("10.0.0.2", LEAVING), ("10.0.0.3", GONE)]),
    ]);
    assert_eq!(addresses(&whole(leaving), "web"), ["10.0.0.2"]);
}

#[test]
fn a_mapped_address_is_the_ipv4_frontend() {
    let snapshot = whole(store([service("web", "10.96.0.1")]));
    let mapped: SocketAddr = "[::ffff:10.96.0.1]:80".parse().unwrap();
    assert_eq!(snapshot.frontend(mapped).unwrap().service, name("web"));
    assert!(snapshot.frontend("10.96.0.1:81".parse().unwrap()).is_none());
}

#[test]
fn live_state_outlives_a_change_and_no_op_changes_are_none() {
    let mut store = store([service("web", "10.96.0.1"), slice("web", "a", &[("10.0.0.1", READY)])]);
    let mut compiler = compiler();
    let first = next(&mut compiler, &mut store);
    let endpoint =
        Arc::clone(&first.service_port(&name("web"), 80).unwrap().backend.endpoints()[0]);
    let backend = &first.service_port(&name("web"), 80).unwrap().backend;
    for _ in 0..5 {
        backend.report(&endpoint, Millis(1), Report::Lost);
    }
    assert!(!store.apply(slice("web", "a", &[("10.0.0.1", READY)])));
    assert!(store.apply(slice("web", "a", &[("10.0.0.1", READY), ("10.0.0.2", READY)])));
    let second = next(&mut compiler, &mut store);
    let backend = &second.service_port(&name("web"), 80).unwrap().backend;
    assert!(backend.endpoints()[0].ejected(Millis(2)));
    assert_eq!(backend.endpoints()[0].id, endpoint.id);
}

#[test]
fn weights_are_kept_and_an_invalid_backend_keeps_its_share() {
    let snapshot = whole(store([
        service("web", "10.96.0.1"),
        service("v1", "10.96.0.2"),
        route("web", vec![backend(70, "v1"), backend(0, "web"), backend(30, "nobody")]),
    ]));
    let frontend = snapshot.service_port(&name("web"), 80).unwrap();
    let Routed::Rule(rule, _) = routed(frontend, "/x/y") else { panic!("no rule") };
    let mut random = fastrand::Rng::with_seed(7);
    let valid = (0..10_000)
        .filter(|_| match rule.backend(random.u64(..)) {
            Choice::Backend(weighted) => {
                assert_eq!(weighted.backend.service, name("v1"));
                true
            }
            Choice::Invalid(message) => {
                assert_eq!(message, "Service shop/nobody does not exist");
                false
            }
        })
        .count();
    assert!((6_800..=7_200).contains(&valid), "{valid}");
    assert_eq!(snapshot.problems()[0].field, "spec.rules[0].backendRefs[2]");
}

#[test]
fn without_routes_the_service_answers_and_with_routes_only_they_do() {
    let snapshot = whole(store([
        service("web", "10.96.0.1"),
        service("other", "10.96.0.2"),
        route("web", vec![backend(0, "web")]),
    ]));
    let web = snapshot.service_port(&name("web"), 80).unwrap();
    assert!(matches!(routed(web, "/y"), Routed::NotFound));
    let Routed::Rule(rule, _) = routed(web, "/x") else { panic!("no rule") };
    assert!(matches!(rule.backend(0), Choice::Invalid(_)), "all weights are 0");
    let other = snapshot.service_port(&name("other"), 80).unwrap();
    assert!(matches!(routed(other, "/y"), Routed::Service(_)));
}

#[test]
fn an_address_claimed_twice_stays_with_the_first_and_is_told() {
    let snapshot = whole(store([service("a", "10.96.0.1"), service("b", "10.96.0.1")]));
    let address = "10.96.0.1:80".parse().unwrap();
    assert_eq!(snapshot.frontend(address).unwrap().service, name("a"));
    assert_eq!(snapshot.problems()[0].object, name("b"));
}

#[test]
fn a_pods_own_label_wins_and_only_this_nodes_pods_count() {
    let here = pod("by-namespace");
    let pods = enrolled([
        here.clone(),
        Pod { name: name("opted-out"), mesh: Some(Mesh::Disabled), ..here.clone() },
        Pod { name: name("elsewhere"), node: Some("there".into()), ..here.clone() },
        Pod { name: name("host"), host_network: true, ..here.clone() },
        Pod { name: name("ended"), ended: true, ..here },
    ]);
    assert_eq!(pods, [name("by-namespace")]);
}

#[test]
fn a_mirror_pod_has_its_static_pods_uid_but_nobody_elses() {
    let genuine = Pod { uid: "hash".into(), mirror: true, ..pod("static") };
    let victim = Pod { uid: "uid".into(), mesh: Some(Mesh::Disabled), ..pod("victim") };
    let thief = Pod { uid: "uid".into(), mirror: true, ..pod("thief") };
    assert_eq!(enrolled([genuine.clone(), victim, thief.clone()]), [name("static")]);
    // Of two mirrors nobody can tell which is the true one.
    let twin = Pod { uid: "hash".into(), mesh: Some(Mesh::Disabled), ..thief };
    assert_eq!(enrolled([genuine.clone(), twin.clone()]), [""; 0].map(name));
    let mut store = Store::default();
    let mut compiler = Compiler::new(CompileOptions { enroll: Enroll::All, node_name: None });
    let told = |compiled: Option<Compiled>| compiled.unwrap().snapshot.problems().len();
    for pod in [genuine, twin.clone()] {
        store.apply(Change::Apply(Object::Pod(pod)));
    }
    assert_eq!(told(compiler.compile(&mut store)), 1, "the one that asks for the mesh is told");
    store.apply(Change::Delete(Kind::Pod, twin.name));
    assert_eq!(told(compiler.compile(&mut store)), 0);
}

/// A pod on the node `here`, in a Namespace that is in the mesh.
fn pod(pod: &str) -> Pod {
    Pod {
        name: name(pod),
        uid: "".into(),
        mirror: false,
        mesh: None,
        node: Some("here".into()),
        host_network: false,
        ended: false,
        workload: "w".into(),
        ips: Arc::default(),
        netns: None,
    }
}

fn enrolled(pods: impl IntoIterator<Item = Pod>) -> Vec<ObjectName> {
    let namespace = Namespace { name: ObjectName::new("", "shop"), mesh: Some(Mesh::Enabled) };
    let namespace = Change::Apply(Object::Namespace(namespace));
    let pods = pods.into_iter().map(|pod| Change::Apply(Object::Pod(pod)));
    let store = store([namespace].into_iter().chain(pods));
    whole(store).pods().iter().map(|pod| pod.name.clone()).collect()
}

#[test]
fn the_same_again_changes_nothing_routes_included() {
    let mut store = Store::default();
    let pattern = || {
        let Change::Apply(Object::Route(mut with_pattern)) = route("web", vec![]) else {
            unreachable!()
        };
        with_pattern.rules.http_mut()[0].matches[0].path =
            PathMatch::Regex(regex::Regex::new("^/a.*$").unwrap());
        Change::Apply(Object::Route(with_pattern))
    };
    for change in [service("web", "10.96.0.1"), slice("web", "a", &[]), pattern()] {
        assert!(store.apply(change.clone()));
        assert!(!store.apply(change));
    }
    assert!(!store.apply(pattern()), "a pattern compiled anew is the same pattern");
    assert!(store.apply(route("web", vec![])));
    assert!(!store.apply(Change::Delete(Kind::HttpRoute, name("nobody"))));
    assert!(store.apply(Change::Delete(Kind::EndpointSlice, name("a"))));
    assert!(!store.apply(Change::Delete(Kind::EndpointSlice, name("a"))));
}

#[test]
fn a_slice_that_changes_its_service_leaves_the_other() {
    let mut store = store([
        service("web", "10.96.0.1"),
        service("api", "10.96.0.2"),
        slice("web", "a", &[("10.0.0.1", READY)]),
    ]);
    assert!(store.apply(slice("api", "a", &[("10.0.0.1", READY)])));
    let snapshot = next(&mut compiler(), &mut store);
    assert!(addresses(&snapshot, "web").is_empty());
    assert_eq!(addresses(&snapshot, "api"), ["10.0.0.1"]);
}

#[test]
fn state_outlives_a_time_of_not_being_ready_but_not_of_being_gone() {
    let mut store = store([service("web", "10.96.0.1"), slice("web", "a", &[("10.0.0.1", READY)])]);
    let mut compiler = compiler();
    let mut last = Arc::new(Snapshot::empty());
    let mut id = |store: &mut Store| {
        if let Some(compiled) = compiler.compile(store) {
            last = compiled.snapshot;
        }
        let snapshot = &last;
        let frontend = snapshot.service_port(&name("web"), 80).unwrap();
        frontend.backend.endpoints().first().map(|e| e.id)
    };
    let first = id(&mut store);
    assert!(store.apply(slice("web", "a", &[("10.0.0.1", GONE)])));
    assert_eq!(id(&mut store), None);
    assert!(store.apply(slice("web", "a", &[("10.0.0.1", READY)])));
    assert_eq!(id(&mut store), first);
    assert!(store.apply(slice("web", "a", &[])));
    assert_eq!(id(&mut store), None);
    assert!(store.apply(slice("web", "a", &[("10.0.0.1", READY)])));
    assert_ne!(id(&mut store), first);
}

#[test]
fn ids_stay_over_a_change_and_are_never_given_again() {
    let mut store = store([
        service("web", "10.96.0.1"),
        slice("web", "a", &[("10.0.0.1", READY)]),
        route("web", vec![backend(1, "web")]),
    ]);
    let mut compiler = compiler();
    let mut ids = |store: &mut Store| {
        let snapshot = next(&mut compiler, store);
        let frontend = Arc::clone(snapshot.service_port(&name("web"), 80)?);
        let Routed::Rule(rule, _) = routed(&frontend, "/x") else { panic!("no rule") };
        Some([frontend.id, frontend.backend.id, rule.id])
    };
    let first = ids(&mut store).unwrap();
    assert!(store.apply(slice("web", "b", &[("10.0.0.2", READY)])));
    assert!(store.apply(route("web", vec![backend(2, "web")])));
    assert_eq!(ids(&mut store), Some(first));
    assert!(store.apply(Change::Delete(Kind::Service, name("web"))));
    assert_eq!(ids(&mut store), None);
    assert!(store.apply(service("web", "10.96.0.1")));
    let again = ids(&mut store).unwrap();
    assert!(again[..2].iter().all(|id| !first.contains(id)));
}

#[test]
fn a_turn_is_not_lost_by_a_change() {
    let endpoints = [("10.0.0.1", READY), ("10.0.0.2", READY), ("10.0.0.3", READY)];
    let port = ServicePort { name: "http".into(), port: 80, protocol: AppProtocol::Tcp };
    let tcp = Service::new(name("db"), vec![], vec![port]);
    let mut store = store([Change::Apply(Object::Service(tcp)), slice("db", "a", &endpoints)]);
    let mut compiler = compiler();
    let mut random = fastrand::Rng::with_seed(1);
    let mut picked = Vec::new();
    for i in 0..6 {
        store.apply(service("web", &format!("10.96.0.{i}")));
        let snapshot = next(&mut compiler, &mut store);
        let backend = &snapshot.service_port(&name("db"), 80).unwrap().backend;
        picked.push(backend.pick(Millis(1), &mut random, ANYONE, None).unwrap().address.ip());
    }
    assert_eq!(picked[..3], picked[3..]);
    assert_eq!(picked.iter().collect::<std::collections::HashSet<_>>().len(), 3);
}

#[test]
fn a_route_of_another_namespace_is_for_that_namespaces_clients_alone() {
    let of_namespace = |namespace: &str, target: &str| {
        let Change::Apply(Object::Route(mut foreign)) = route("web", vec![backend(1, target)])
        else {
            unreachable!()
        };
        foreign.name = ObjectName::new(namespace, "route");
        foreign.rules.http_mut()[0].matches[0].path = PathMatch::Prefix("/".into());
        Change::Apply(Object::Route(foreign))
    };
    let headers = HeaderMap::new();
    let goes_to = |frontend: &Frontend, client| {
        let head =
            RequestHead { method: &Method::GET, path: "/", query: None, headers: &headers, client };
        match frontend.route(&head) {
            Routed::Service(_) => "service".to_owned(),
            Routed::Rule(rule, _) => rule.route.namespace.to_string(),
            Routed::NotFound => "nowhere".to_owned(),
        }
    };
    let mut store = store([
        service("web", "10.96.0.1"),
        service("v1", "10.96.0.2"),
        of_namespace("consumer", "v1"),
    ]);
    let snapshot = next(&mut compiler(), &mut store);
    let frontend = snapshot.service_port(&name("web"), 80).unwrap();
    assert!(frontend.has_routes());
    assert_eq!(goes_to(frontend, None), "service");
    assert_eq!(goes_to(frontend, Some("shop")), "service");
    assert_eq!(goes_to(frontend, Some("consumer")), "consumer");
    assert!(store.apply(of_namespace("shop", "v1")));
    let snapshot = next(&mut compiler(), &mut store);
    let frontend = snapshot.service_port(&name("web"), 80).unwrap();
    assert_eq!(goes_to(frontend, None), "shop");
    assert_eq!(goes_to(frontend, Some("other")), "shop");
    assert_eq!(goes_to(frontend, Some("consumer")), "consumer");
}
