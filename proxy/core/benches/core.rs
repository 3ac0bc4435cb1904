//! What a request pays in this crate: looking up, routing, picking, watching its head.
#![allow(missing_docs, reason = "criterion's macros make public items")]
#![allow(clippy::unwrap_used, reason = "a bench may stop at the first surprise")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use nodeway_core::balance::{Caller, Millis, Report};
use nodeway_core::model::{
    AppProtocol, BackendRef, BackendTarget, Change, EndpointAddress, EndpointPort, EndpointSlice,
    HeaderMatch, HttpMatch, HttpRule, Kind, Object, ObjectName, ParentRef, PathMatch, Route, Rules,
    Service, ServicePort, TextMatch, Timeouts,
};
use nodeway_core::snapshot::{
    CompileOptions, Compiler, Frontend, RequestHead, Routed, Snapshot, Store,
};

const ANYONE: Caller = Caller { client: 0, family: None, hash: None, relayed: false };

fn name(of: impl Into<Arc<str>>) -> ObjectName {
    ObjectName::new("shop", of)
}

/// `rules` rules, each of one prefix of its own and a header to match.
fn route(parent: &ObjectName, rules: usize) -> Route {
    let rule = |i: usize| HttpRule {
        name: None,
        matches: vec![HttpMatch {
            path: PathMatch::Prefix(format!("/api/v{i}/items").into()),
            headers: vec![HeaderMatch {
                name: HeaderName::from_static("x-tenant"),
                value: TextMatch::Exact("a".into()),
            }],
            queries: vec![],
            method: None,
        }],
        filters: vec![],
        backends: vec![BackendRef {
            weight: 1,
            target: BackendTarget::Service { service: parent.clone(), port: 80 },
            filters: vec![],
        }],
        timeouts: Timeouts::default(),
        retry: None,
        persistence: None,
    };
    Route {
        kind: Kind::HttpRoute,
        name: parent.clone(),
        generation: 1,
        created: Some(0),
        parents: vec![ParentRef::new(parent.clone())],
        rules: Rules::Http((0..rules).map(rule).collect()),
    }
}

fn store(services: usize, endpoints: u8, rules: usize) -> Store {
    let mut store = Store::default();
    for i in 0..services {
        let name = name(format!("web-{i}"));
        let [.., high, low] = i.to_be_bytes();
        let port = ServicePort { name: "".into(), port: 80, protocol: AppProtocol::Http };
        let service = Service::new(name.clone(), vec![[10, 96, high, low].into()], vec![port]);
        store.apply(Change::Apply(Object::Service(service)));
        store.apply(Change::Apply(Object::EndpointSlice(EndpointSlice {
            name: name.clone(),
            service: name.clone(),
            ports: vec![EndpointPort { name: "".into(), port: 8080 }],
            endpoints: (0..endpoints)
                .map(|e| EndpointAddress {
                    pod: Some(ObjectName::new("shop", format!("pod-{i}-{e}"))),
                    ..EndpointAddress::new([10, high, low, e].into())
                })
                .collect(),
        })));
        if i == 0 {
            store.apply(Change::Apply(Object::Route(route(&name, rules))));
        }
    }
    store
}

fn compiled(rules: usize) -> (Arc<Snapshot>, Arc<Frontend>) {
    let mut store = store(1000.min(rules), 10, rules);
    let snapshot = whole(&mut store);
    let frontend = Arc::clone(snapshot.service_port(&name("web-0"), 80).unwrap());
    (snapshot, frontend)
}

fn whole(store: &mut Store) -> Arc<Snapshot> {
    Compiler::new(CompileOptions::default()).compile(store).unwrap().snapshot
}

fn requests(c: &mut Criterion) {
    let mut headers = HeaderMap::new();
    for header in ["host", "user-agent", "accept", "x-tenant"] {
        headers.insert(header, HeaderValue::from_static("a"));
    }
    for rules in [10, 1000] {
        let (snapshot, frontend) = compiled(rules);
        let path = format!("/api/v{}/items/7", rules / 2);
        c.bench_function(&format!("route, {rules} rules"), |b| {
            b.iter(|| {
                let head = RequestHead {
                    method: &Method::GET,
                    path: black_box(&path),
                    query: None,
                    headers: &headers,
                    client: Some("shop"),
                };
                let Routed::Rule(rule, _) = frontend.route(&head) else { return false };
                black_box(rule.backend(black_box(1 << 60)));
                true
            });
        });
        let dialled: SocketAddr = "10.96.0.0:80".parse().unwrap();
        c.bench_function(&format!("frontend, of {rules}"), |b| {
            b.iter(|| snapshot.frontend(black_box(dialled)).is_some());
        });
    }
}

fn picks(c: &mut Criterion) {
    let (_, frontend) = compiled(10);
    let mut random = fastrand::Rng::with_seed(1);
    c.bench_function("pick of 10, begin, end", |b| {
        b.iter(|| {
            let endpoint = frontend.backend.pick(Millis(1), &mut random, ANYONE, None).unwrap();
            endpoint.begin();
            endpoint.end();
        });
    });
    let ejected = &frontend.backend.endpoints()[3];
    let fail = |_| frontend.backend.report(ejected, Millis(1), Report::Lost).len();
    assert_eq!((0..5).map(fail).sum::<usize>(), 1);
    c.bench_function("pick of 10, one ejected", |b| {
        b.iter(|| black_box(frontend.backend.pick(Millis(1), &mut random, ANYONE, None)).is_some());
    });
}

fn compiling(c: &mut Criterion) {
    let mut all = store(1000, 10, 100);
    c.bench_function("compile 1000 Services of 10 endpoints", |b| {
        b.iter(|| black_box(whole(&mut all)).pods().len());
    });
    // One endpoint comes and goes, of a Service with a route of 100 rules.
    let mut all = store(10_000, 10, 100);
    let mut compiler = Compiler::new(CompileOptions::default());
    compiler.compile(&mut all);
    let extra = |ready| {
        let endpoint = EndpointAddress { ready, ..EndpointAddress::new([10, 200, 0, 1].into()) };
        Change::Apply(Object::EndpointSlice(EndpointSlice {
            name: name("extra"),
            service: name("web-0"),
            ports: vec![EndpointPort { name: "".into(), port: 8080 }],
            endpoints: vec![endpoint],
        }))
    };
    let mut ready = false;
    c.bench_function("one endpoint's change among 10000 Services of 10", |b| {
        b.iter(|| {
            ready = !ready;
            all.apply(extra(ready));
            black_box(compiler.compile(&mut all)).is_some()
        });
    });
}

criterion_group!(benches, requests, picks, compiling);
criterion_main!(benches);
