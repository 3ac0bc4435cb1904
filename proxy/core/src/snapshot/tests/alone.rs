//! Which frontends need no proxy, and how their connections are shared out.

use super::*;
use crate::snapshot::Alone;

fn tcp(of: &str, ip: &str, protocol: AppProtocol) -> Service {
    let port = ServicePort { name: "http".into(), port: 80, protocol };
    Service::new(name(of), vec![ip.parse().unwrap()], vec![port])
}

fn apply(service: Service) -> Change {
    Change::Apply(Object::Service(service))
}

/// The TCPRoute of `web`, in this namespace.
fn tcp_route(namespace: &str, backends: Vec<BackendRef>) -> Change {
    let Change::Apply(Object::Route(route)) = route("web", vec![]) else { unreachable!() };
    Change::Apply(Object::Route(Route {
        kind: Kind::TcpRoute,
        name: ObjectName::new(namespace, "route"),
        rules: Rules::Tcp(vec![L4Rule { name: None, backends }]),
        ..route
    }))
}

fn alone(snapshot: &Snapshot, family: Family) -> Option<Alone> {
    snapshot.service_port(&name("web"), 80).unwrap().alone(family).ok()
}

/// What goes where, by the last octet of addresses; 0 is nowhere.
fn shares(alone: &Alone) -> Vec<(u8, f64)> {
    let last = |address: SocketAddr| match address.ip() {
        std::net::IpAddr::V4(ip) => ip.octets()[3],
        std::net::IpAddr::V6(ip) => ip.octets()[15],
    };
    let parts = alone.parts(Millis(1));
    let whole: f64 = parts.iter().map(|part| part.weight).sum();
    let of = |part: &crate::balance::Part| part.endpoint.as_ref().map_or(0, |e| last(e.address));
    parts.iter().map(|part| (of(part), part.weight / whole)).collect()
}

const WELL: [bool; 3] = [true, true, false];

#[test]
fn only_what_is_declared_opaque_goes_without_the_proxy() {
    for (protocol, without) in [
        (AppProtocol::Tcp, true),
        (AppProtocol::Tls, false),
        (AppProtocol::Detect, false),
        (AppProtocol::Http, false),
    ] {
        let snapshot = whole(store([
            apply(tcp("web", "10.96.0.1", protocol)),
            slice("web", "web-1", &[("10.0.0.1", WELL), ("10.0.0.2", WELL)]),
        ]));
        assert_eq!(alone(&snapshot, Family::V4).is_some(), without, "{protocol:?}");
    }
}

#[test]
fn endpoints_of_the_other_family_alone_need_a_translator() {
    let objects = |endpoints: &[(&str, [bool; 3])]| {
        whole(store([
            apply(tcp("web", "10.96.0.1", AppProtocol::Tcp)),
            slice("web", "web-1", endpoints),
        ]))
    };
    assert!(alone(&objects(&[("10.0.0.1", WELL)]), Family::V6).is_none());
    let both = objects(&[("10.0.0.1", WELL), ("fd00::2", WELL)]);
    for (family, last) in [(Family::V4, 1), (Family::V6, 2)] {
        assert_eq!(shares(&alone(&both, family).unwrap()), [(last, 1.0)]);
    }
    let none = alone(&objects(&[]), Family::V4).unwrap();
    assert_eq!(shares(&none), [(0, 1.0)], "refused without anybody's help");
}

#[test]
fn a_tcp_route_shares_connections_out_and_what_leads_nowhere_keeps_its_share() {
    let snapshot = whole(store([
        apply(tcp("web", "10.96.0.1", AppProtocol::Detect)),
        apply(tcp("v1", "10.96.0.2", AppProtocol::Detect)),
        apply(tcp("v2", "10.96.0.3", AppProtocol::Detect)),
        slice("v1", "v1-1", &[("10.0.0.1", WELL), ("10.0.0.2", WELL)]),
        slice("v2", "v2-1", &[]),
        tcp_route("shop", vec![backend(2, "v1"), backend(1, "v2"), backend(1, "missing")]),
    ]));
    let alone = alone(&snapshot, Family::V4).unwrap();
    assert_eq!(shares(&alone), [(1, 0.25), (2, 0.25), (0, 0.25), (0, 0.25)]);
    assert!(alone.shares[2].backend.is_none() && alone.shares[1].backend.is_some());
}

#[test]
fn where_clients_of_some_namespace_go_another_way_the_proxy_tells_them_apart() {
    let snapshot = whole(store([
        apply(tcp("web", "10.96.0.1", AppProtocol::Tcp)),
        slice("web", "web-1", &[("10.0.0.1", WELL)]),
        tcp_route("elsewhere", vec![backend(1, "web")]),
    ]));
    assert!(alone(&snapshot, Family::V4).is_none());
}

#[test]
fn clients_that_stay_have_one_choice_only() {
    let sticky = Service {
        affinity: Some(std::time::Duration::from_secs(60)),
        ..tcp("v1", "10.96.0.2", AppProtocol::Tcp)
    };
    let to = |backends| {
        whole(store([
            apply(tcp("web", "10.96.0.1", AppProtocol::Tcp)),
            apply(sticky.clone()),
            apply(tcp("v2", "10.96.0.3", AppProtocol::Tcp)),
            slice("v1", "v1-1", &[("10.0.0.1", WELL)]),
            slice("v2", "v2-1", &[("10.0.0.2", WELL)]),
            tcp_route("shop", backends),
        ]))
    };
    let one = alone(&to(vec![backend(1, "v1")]), Family::V4).unwrap();
    assert!(one.keeps_clients && one.table(&one.parts(Millis(1))).by_client);
    assert!(alone(&to(vec![backend(1, "v1"), backend(1, "v2")]), Family::V4).is_none());
}
