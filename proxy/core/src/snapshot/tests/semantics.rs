//! Services mean what they mean to kube-proxy.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::balance::Caller;

fn port(name: &str, port: u16) -> ServicePort {
    ServicePort { name: name.into(), port, protocol: AppProtocol::Http }
}

fn with(change: impl FnOnce(&mut Service)) -> Change {
    let mut service =
        Service::new(name("web"), vec!["10.96.0.1".parse().unwrap()], vec![port("http", 80)]);
    change(&mut service);
    Change::Apply(Object::Service(service))
}

fn endpoint(address: &str, change: impl FnOnce(&mut EndpointAddress)) -> EndpointAddress {
    let mut endpoint = EndpointAddress::new(address.parse().unwrap());
    change(&mut endpoint);
    endpoint
}

fn slice_of(endpoints: impl IntoIterator<Item = EndpointAddress>) -> Change {
    Change::Apply(Object::EndpointSlice(EndpointSlice {
        name: name("web-1"),
        service: name("web"),
        ports: vec![EndpointPort { name: "http".into(), port: 8080 }],
        endpoints: endpoints.into_iter().collect(),
    }))
}

fn node(zone: Option<&str>) -> Change {
    let name = ObjectName::new("", "here");
    Change::Apply(Object::Node(Node { name, zone: zone.map(Into::into) }))
}

fn on(node: &str) -> impl FnOnce(&mut EndpointAddress) {
    move |endpoint| endpoint.node = Some(node.into())
}

fn zone(zone: &str) -> impl FnOnce(&mut EndpointAddress) {
    move |endpoint| endpoint.for_zones = [zone.into()].into()
}

/// The endpoints that answer at `place`.
fn at(snapshot: &Snapshot, place: &str) -> Vec<String> {
    let frontend = snapshot.frontend(place.parse().unwrap()).unwrap();
    frontend.backend.endpoints().iter().map(|e| e.address.to_string()).collect()
}

/// Those of them that come first: the near ones, if there are any.
fn preferred(snapshot: &Snapshot, place: &str) -> Vec<String> {
    let backend = &snapshot.frontend(place.parse().unwrap()).unwrap().backend;
    let all = at(snapshot, place);
    let near: Vec<_> =
        (0..all.len()).filter(|i| backend.is_near(*i)).map(|i| all[i].clone()).collect();
    if near.is_empty() { all } else { near }
}

#[test]
fn each_port_has_the_endpoints_of_its_name() {
    let slice = EndpointSlice {
        name: name("web-1"),
        service: name("web"),
        ports: vec![
            EndpointPort { name: "admin".into(), port: 9000 },
            EndpointPort { name: "http".into(), port: 8080 },
        ],
        endpoints: vec![endpoint("10.0.0.1", |_| {})],
    };
    let snapshot = whole(store([
        with(|s| s.ports.extend([port("admin", 81), port("", 82)])),
        Change::Apply(Object::EndpointSlice(slice)),
    ]));
    assert_eq!(at(&snapshot, "10.96.0.1:80"), ["10.0.0.1:8080"]);
    assert_eq!(at(&snapshot, "10.96.0.1:81"), ["10.0.0.1:9000"]);
    assert!(at(&snapshot, "10.96.0.1:82").is_empty());
}

#[test]
fn external_addresses_lead_to_all_endpoints_and_cluster_ips_of_policy_local_to_this_nodes() {
    let endpoints = || [endpoint("10.0.0.1", on("here")), endpoint("10.0.0.2", on("there"))];
    let local = with(|s| {
        s.external_ips = vec!["192.0.2.1".parse().unwrap()];
        s.internal_local = true;
    });
    let snapshot = whole(store([local.clone(), slice_of(endpoints())]));
    assert_eq!(at(&snapshot, "10.96.0.1:80"), ["10.0.0.1:8080"]);
    assert_eq!(at(&snapshot, "192.0.2.1:80").len(), 2);
    let elsewhere = whole(store([local, slice_of([endpoint("10.0.0.2", on("there"))])]));
    assert!(at(&elsewhere, "10.96.0.1:80").is_empty(), "none of this node: nobody answers");
    let leaving = endpoint("10.0.0.1", |e| {
        on("here")(e);
        (e.ready, e.serving, e.terminating) = (false, true, true);
    });
    let local = with(|s| s.internal_local = true);
    let draining = whole(store([local, slice_of([leaving, endpoint("10.0.0.2", on("there"))])]));
    assert_eq!(at(&draining, "10.96.0.1:80"), ["10.0.0.1:8080"], "each policy by itself");
}

#[test]
fn who_is_reached_by_external_addresses_alone_belongs_to_their_backend() {
    let local = with(|s| {
        s.external_ips = vec!["192.0.2.1".parse().unwrap()];
        s.internal_local = true;
    });
    let endpoints = [endpoint("10.0.0.1", on("here")), endpoint("10.0.0.2", on("there"))];
    let snapshot = whole(store([local, slice_of(endpoints)]));
    let web = snapshot.service_port(&name("web"), 80).unwrap();
    let external = web.external().unwrap();
    let dialled = snapshot.frontend("192.0.2.1:80".parse().unwrap()).unwrap();
    assert!(Arc::ptr_eq(external, &dialled.backend));
    let [here, there] = external.endpoints() else { panic!() };
    assert!(Arc::ptr_eq(web.backend_of(here), &web.backend));
    assert!(Arc::ptr_eq(web.backend_of(there), external));
}

#[test]
fn limits_are_of_a_port_whichever_of_its_addresses_is_dialled() {
    let local = with(|s| {
        s.external_ips = vec!["192.0.2.1".parse().unwrap()];
        s.internal_local = true;
    });
    let endpoints = [endpoint("10.0.0.1", on("here")), endpoint("10.0.0.2", on("there"))];
    let snapshot = whole(store([local, slice_of(endpoints)]));
    let backend = |address: &str| {
        let frontend = snapshot.frontend(address.parse().unwrap()).unwrap();
        Arc::clone(&frontend.backend)
    };
    let (internal, external) = (backend("10.96.0.1:80"), backend("192.0.2.1:80"));
    assert_ne!(internal.id, external.id);
    let anyone = Caller { client: 0, family: None, hash: None, relayed: false };
    let mut random = fastrand::Rng::with_seed(1);
    let _held = internal.admit(Millis(1), &mut random, anyone, None, None).unwrap();
    assert_eq!(external.lasting().under_way().active(), 1);
}

#[test]
fn an_external_address_never_takes_a_cluster_ip_away() {
    let thief = Service {
        external_ips: vec!["10.96.0.1".parse().unwrap()],
        ..Service::new(name("a-thief"), vec![], vec![port("http", 80)])
    };
    let snapshot = whole(store([with(|_| {}), Change::Apply(Object::Service(thief))]));
    let holder = &snapshot.frontend("10.96.0.1:80".parse().unwrap()).unwrap().service;
    assert_eq!(*holder, name("web"));
    assert_eq!(snapshot.problems()[0].object, name("a-thief"));
}

#[test]
fn hints_count_only_if_all_have_them_and_one_is_for_here() {
    let mut objects = store([
        with(|_| {}),
        node(Some("east")),
        slice_of([endpoint("10.0.0.1", zone("east")), endpoint("10.0.0.2", zone("west"))]),
    ]);
    let mut compiler = compiler();
    let mut at_80 = |objects: &mut Store, change: Option<Change>| {
        if let Some(change) = change {
            assert!(objects.apply(change));
        }
        let compiled = compiler.compile(objects).expect("something is different");
        preferred(&compiled.snapshot, "10.96.0.1:80")
    };
    assert_eq!(at_80(&mut objects, None), ["10.0.0.1:8080"]);
    let both = ["10.0.0.1:8080", "10.0.0.2:8080"];
    assert_eq!(at_80(&mut objects, Some(node(Some("north")))), both, "no hint for here");
    assert_eq!(at_80(&mut objects, Some(node(Some("west")))), ["10.0.0.2:8080"]);
    let half = slice_of([endpoint("10.0.0.1", |_| {}), endpoint("10.0.0.2", zone("west"))]);
    assert_eq!(at_80(&mut objects, Some(half)), both, "one has no hint");
    let not_ready = endpoint("10.0.0.1", |e| e.ready = false);
    let one = slice_of([
        not_ready,
        endpoint("10.0.0.2", zone("west")),
        endpoint("10.0.0.3", zone("east")),
    ]);
    assert_eq!(at_80(&mut objects, Some(one)), ["10.0.0.2:8080"], "only the ready ones count");
    let node_hint = |address: &str, node: &str| {
        endpoint(address, |e| {
            zone("west")(e);
            e.for_nodes = [node.into()].into();
        })
    };
    let nodes = slice_of([node_hint("10.0.0.1", "here"), node_hint("10.0.0.2", "there")]);
    assert_eq!(at_80(&mut objects, Some(nodes)), ["10.0.0.1:8080"], "the node before the zone");
}

#[test]
fn endpoints_that_terminate_serve_if_none_is_ready_whatever_their_zone() {
    let leaving = |address: &str, of: &str| {
        endpoint(address, |e| {
            zone(of)(e);
            (e.ready, e.serving, e.terminating) = (false, true, true);
        })
    };
    let snapshot = whole(store([
        with(|_| {}),
        node(Some("east")),
        slice_of([leaving("10.0.0.1", "east"), leaving("10.0.0.2", "west")]),
    ]));
    assert_eq!(at(&snapshot, "10.96.0.1:80").len(), 2);
}

#[test]
fn a_client_gets_an_endpoint_of_the_family_that_it_dialled() {
    let both = with(|s| s.cluster_ips.push("fd00::1".parse().unwrap()));
    let slice =
        slice_of(["10.0.0.1", "10.0.0.2", "fd00::a", "fd00::b"].map(|a| endpoint(a, |_| {})));
    let snapshot = whole(store([both, slice]));
    let mut random = fastrand::Rng::with_seed(1);
    for (place, v4) in
        [("10.96.0.1:80", true), ("[::ffff:10.96.0.1]:80", true), ("[fd00::1]:80", false)]
    {
        let place: SocketAddr = place.parse().unwrap();
        let backend = &snapshot.frontend(place).unwrap().backend;
        let caller =
            Caller { client: 1, family: Some(Family::of(place.ip())), hash: None, relayed: false };
        let picked: BTreeSet<_> = (0..100)
            .map(|_| backend.pick(Millis(1), &mut random, caller, None).unwrap().address)
            .collect();
        assert!(picked.len() == 2 && picked.iter().all(|a| a.is_ipv4() == v4), "{picked:?}");
    }
    let only_v6 = whole(store([with(|_| {}), slice_of([endpoint("fd00::a", |_| {})])]));
    let backend = &only_v6.frontend("10.96.0.1:80".parse().unwrap()).unwrap().backend;
    let caller = Caller { client: 1, family: Some(Family::V4), hash: None, relayed: false };
    assert!(backend.pick(Millis(1), &mut random, caller, None).is_some(), "better than nobody");
}

#[test]
fn a_client_stays_with_its_endpoint_until_its_time_is_over() {
    let sticky = with(|s| s.affinity = Some(Duration::from_secs(10)));
    let ten = || (1..=10).map(|i| endpoint(&format!("10.0.0.{i}"), |_| {}));
    let mut objects = store([sticky, slice_of(ten())]);
    let mut compiler = compiler();
    let mut snapshot = next(&mut compiler, &mut objects);
    let mut random = fastrand::Rng::with_seed(1);
    let mut pick = |snapshot: &Snapshot, client, now| {
        let backend = &snapshot.service_port(&name("web"), 80).unwrap().backend;
        let caller = Caller { client, family: None, hash: None, relayed: false };
        Arc::clone(backend.pick(Millis(now), &mut random, caller, None).unwrap())
    };
    let first: Vec<_> = (1..=20).map(|client| pick(&snapshot, client, 1_000).id).collect();
    assert!(first.iter().collect::<BTreeSet<_>>().len() > 3, "clients are spread");
    // Each use begins the time anew.
    for now in [9_000, 18_000, 27_000] {
        let again: Vec<_> = (1..=20).map(|client| pick(&snapshot, client, now).id).collect();
        assert_eq!(first, again);
    }
    // Other endpoints come: nobody moves.
    let more = (1..=12).map(|i| endpoint(&format!("10.0.0.{i}"), |_| {}));
    assert!(objects.apply(slice_of(more)));
    snapshot = next(&mut compiler, &mut objects);
    assert_eq!(first, (1..=20).map(|c| pick(&snapshot, c, 30_000).id).collect::<Vec<_>>());
    // An endpoint that fails is left, and its client stays with the next one.
    let broken = pick(&snapshot, 1, 30_000);
    broken.leave_out(Millis(40_000));
    let other = pick(&snapshot, 1, 30_001).id;
    assert_ne!(other, broken.id);
    assert_eq!(pick(&snapshot, 1, 30_002).id, other);
    // The time is over.
    let later: Vec<_> = (2..=20).map(|client| pick(&snapshot, client, 41_000).id).collect();
    assert_ne!(first[1..], later);
}

#[test]
fn headless_and_external_name_services_take_no_routes() {
    for (kind, why) in [
        (ServiceKind::Headless, "Service shop/web is headless"),
        (ServiceKind::ExternalName, "Service shop/web is an ExternalName"),
    ] {
        let service = with(|s| {
            s.kind = kind;
            s.cluster_ips.clear();
        });
        let snapshot = whole(store([service, route("web", vec![])]));
        assert!(snapshot.problems()[0].message.starts_with(why), "{:?}", snapshot.problems());
        assert!(!snapshot.service_port(&name("web"), 80).unwrap().has_routes());
    }
}
