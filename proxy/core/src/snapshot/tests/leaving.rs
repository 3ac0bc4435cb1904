//! To whom connections are not to be kept.

use std::collections::BTreeMap;

use super::*;
use crate::balance::{Endpoint, EndpointId};

const TWO: [(&str, [bool; 3]); 2] = [("10.0.0.1", READY), ("10.0.0.2", READY)];

/// Objects, what has been made of them, and the addresses of all that have served.
struct Served {
    objects: Store,
    compiler: Compiler,
    known: BTreeMap<EndpointId, String>,
}

// === impl Served ===

impl Served {
    /// By two endpoints, and these.
    fn new() -> (Self, Vec<Arc<Endpoint>>) {
        let objects = store([service("web", "10.96.0.1"), slice("web", "a", &TWO)]);
        let mut served = Self { objects, compiler: compiler(), known: BTreeMap::new() };
        let first = served.compiled().unwrap();
        assert!(first.left.is_empty());
        let frontend = first.snapshot.service_port(&name("web"), 80).unwrap();
        (served, frontend.backend.endpoints().to_vec())
    }

    fn compiled(&mut self) -> Option<Compiled> {
        let compiled = self.compiler.compile(&mut self.objects)?;
        let frontend = compiled.snapshot.service_port(&name("web"), 80);
        let endpoints = frontend.into_iter().flat_map(|frontend| frontend.backend.endpoints());
        self.known.extend(endpoints.map(|e| (e.id, e.address.ip().to_string())));
        Some(compiled)
    }

    /// The addresses that this change leaves.
    fn left(&mut self, change: Change) -> Vec<String> {
        assert!(self.objects.apply(change));
        let left = self.compiled().map_or_else(Vec::new, |compiled| compiled.left);
        let mut left: Vec<_> = left.iter().map(|id| self.known[id].clone()).collect();
        left.sort();
        left
    }
}

#[test]
fn who_is_gone_or_not_ready_is_left_and_who_stays_is_not() {
    let (mut web, endpoints) = Served::new();
    assert_eq!(web.left(slice("web", "a", &[TWO[0], ("10.0.0.2", GONE)])), ["10.0.0.2"]);
    assert!(endpoints[1].is_retired() && !endpoints[0].is_retired());
    assert!(web.left(slice("web", "a", &TWO)).is_empty());
    assert!(!endpoints[1].is_retired(), "it has returned");
    assert!(web.left(slice("web", "b", &[("10.0.0.3", READY)])).is_empty());
    assert_eq!(web.left(slice("web", "a", &[TWO[1]])), ["10.0.0.1"]);
    assert_eq!(web.left(Change::Delete(Kind::Service, name("web"))), ["10.0.0.2", "10.0.0.3"]);
    assert!(endpoints.iter().all(|endpoint| endpoint.is_retired()));
}

#[test]
fn who_terminates_and_serves_because_nobody_else_does_is_not_left() {
    let (mut web, _) = Served::new();
    assert_eq!(web.left(slice("web", "a", &[TWO[0], ("10.0.0.2", LEAVING)])), ["10.0.0.2"]);
    assert!(web.left(slice("web", "a", &[("10.0.0.1", LEAVING)])).is_empty());
    assert_eq!(web.left(slice("web", "a", &[])), ["10.0.0.1"]);
}

#[test]
fn who_gets_a_limit_on_connections_is_left_once() {
    let (mut web, endpoints) = Served::new();
    let policy = |connections: Option<u32>| {
        let connections = connections.and_then(std::num::NonZeroU32::new);
        let limits =
            Limits { endpoint: Amounts { connections, ..Amounts::default() }, ..Limits::default() };
        let settings = BackendSettings { limits, ..BackendSettings::default() };
        Change::Apply(Object::BackendPolicy(BackendPolicy {
            name: name("policy"),
            generation: 1,
            created: None,
            targets: vec![PolicyTarget { service: name("web"), section: None }],
            settings: Ok(settings.into()),
        }))
    };
    assert!(web.left(policy(None)).is_empty());
    assert_eq!(web.left(policy(Some(9))), ["10.0.0.1", "10.0.0.2"]);
    assert!(web.left(policy(Some(1))).is_empty(), "who waits has idle ones closed by himself");
    assert!(web.left(policy(None)).is_empty());
    assert!(!endpoints.iter().any(|endpoint| endpoint.is_retired()));
}

#[test]
fn who_is_to_be_spoken_to_in_another_way_is_left_but_not_gone() {
    let (mut web, endpoints) = Served::new();
    let port = ServicePort { name: "http".into(), port: 80, protocol: AppProtocol::Http2 };
    let service = Service::new(name("web"), vec!["10.96.0.1".parse().unwrap()], vec![port]);
    let left = web.left(Change::Apply(Object::Service(service)));
    assert_eq!(left, ["10.0.0.1", "10.0.0.2"]);
    assert!(!endpoints.iter().any(|endpoint| endpoint.is_retired()));
}
