//! Routes at Services, as GEP-1294 has it: whom they attach to, and what they leave alone.

use super::*;

fn with(change: impl FnOnce(&mut Route)) -> Change {
    let Change::Apply(Object::Route(mut route)) = route("web", vec![backend(1, "v1")]) else {
        unreachable!()
    };
    change(&mut route);
    Change::Apply(Object::Route(route))
}

fn two_ports(of: &str, ip: &str) -> Change {
    let port =
        |name: &str, port| ServicePort { name: name.into(), port, protocol: AppProtocol::Http };
    let ports = vec![port("http", 80), port("admin", 81)];
    Change::Apply(Object::Service(Service::new(name(of), vec![ip.parse().unwrap()], ports)))
}

/// Whether requests to this port meet the route.
fn meets(snapshot: &Snapshot, of: &str, port: u16) -> bool {
    match routed(snapshot.service_port(&name(of), port).unwrap(), "/x") {
        Routed::Rule(..) => true,
        Routed::Service(_) => false,
        Routed::NotFound => panic!("a port with a route that does not match"),
    }
}

#[test]
fn a_route_has_all_its_services_and_of_each_the_ports_that_it_names() {
    let port = |place, service, port| ParentRef { place, port, ..ParentRef::new(name(service)) };
    let section =
        ParentRef { place: 2, section: Some("admin".into()), ..ParentRef::new(name("c")) };
    let parents = vec![port(0, "a", None), port(1, "b", Some(81)), section];
    let snapshot = whole(store([
        two_ports("a", "10.96.0.1"),
        two_ports("b", "10.96.0.2"),
        two_ports("c", "10.96.0.3"),
        two_ports("d", "10.96.0.4"),
        service("v1", "10.96.0.9"),
        with(|route| route.parents = parents),
    ]));
    let met = ["a", "b", "c", "d"].map(|of| [80, 81].map(|port| meets(&snapshot, of, port)));
    assert_eq!(met, [[true, true], [false, true], [false, true], [false, false]]);
    let status = snapshot.route_status(&(Kind::HttpRoute, name("route"))).unwrap();
    assert!(status.parents.len() == 3 && status.parents.iter().all(|p| p.accepted.is_ok()));
}

#[test]
fn port_and_section_must_both_be_a_ports() {
    let both = |port, section: &str| {
        let parent = ParentRef {
            port: Some(port),
            section: Some(section.into()),
            ..ParentRef::new(name("web"))
        };
        let objects = [
            two_ports("web", "10.96.0.1"),
            service("v1", "10.96.0.9"),
            with(|r| r.parents = vec![parent]),
        ];
        let snapshot = whole(store(objects));
        let status = snapshot.route_status(&(Kind::HttpRoute, name("route"))).unwrap();
        status.parents[0].accepted.clone().map_err(|(why, _)| why)
    };
    assert_eq!(both(81, "admin"), Ok(()));
    assert_eq!(both(80, "admin"), Err(NotAccepted::NoMatchingParent));
}

#[test]
fn the_address_tells_the_service_and_a_request_that_no_rule_wants_is_not_found() {
    let snapshot = whole(store([
        two_ports("web", "10.96.0.1"),
        service("v1", "10.96.0.9"),
        with(|route| route.parents[0].port = Some(80)),
    ]));
    let at = |place: &str, path: &str| {
        let frontend = snapshot.frontend(place.parse().unwrap()).unwrap();
        match routed(frontend, path) {
            Routed::Rule(..) => "rule",
            Routed::Service(_) => "service",
            Routed::NotFound => "nowhere",
        }
    };
    assert_eq!(at("10.96.0.1:80", "/x"), "rule");
    assert_eq!(at("10.96.0.1:80", "/y"), "nowhere");
    assert_eq!(at("10.96.0.1:81", "/y"), "service", "another port");
    assert_eq!(at("10.96.0.9:80", "/y"), "service", "a backend is no parent");
}

#[test]
fn parents_without_an_address_are_refused_and_an_external_name_is_no_backend() {
    let of_kind = |of: &str, kind| {
        let port = ServicePort { name: "http".into(), port: 80, protocol: AppProtocol::Http };
        let service = Service::new(name(of), vec![], vec![port]);
        Change::Apply(Object::Service(Service { kind, ..service }))
    };
    for kind in [ServiceKind::Headless, ServiceKind::ExternalName] {
        let snapshot =
            whole(store([of_kind("web", kind), service("v1", "10.96.0.9"), with(|_| {})]));
        let status = snapshot.route_status(&(Kind::HttpRoute, name("route"))).unwrap();
        let (why, _) = status.parents[0].accepted.clone().unwrap_err();
        assert_eq!(why, NotAccepted::NoMatchingParent);
    }
    for (kind, resolved) in
        [(ServiceKind::Headless, Ok(())), (ServiceKind::ExternalName, Err(RefFault::InvalidKind))]
    {
        let snapshot =
            whole(store([service("web", "10.96.0.1"), of_kind("v1", kind), with(|_| {})]));
        let status = snapshot.route_status(&(Kind::HttpRoute, name("route"))).unwrap();
        let got = status.parents[0].resolved_refs.clone().map_err(|(fault, _)| fault);
        assert_eq!(got, resolved);
        let frontend = snapshot.service_port(&name("web"), 80).unwrap();
        let Routed::Rule(rule, _) = routed(frontend, "/x") else { panic!("no rule") };
        assert_eq!(matches!(rule.backend(0), Choice::Backend(_)), resolved.is_ok());
    }
}
