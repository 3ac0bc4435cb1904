//! Routes of several kinds, and several connections' routes, at one port.

use super::*;

/// A route of this kind and namespace, at all ports of `web` or at those that `change` says.
fn of_kind(kind: Kind, named: &str, change: impl FnOnce(&mut Route)) -> Change {
    let Change::Apply(Object::Route(mut route)) = route("web", vec![backend(1, "v1")]) else {
        unreachable!()
    };
    let rules = || vec![L4Rule { name: None, backends: vec![backend(1, "v1")] }];
    (route.kind, route.name) = (kind, name(named));
    match kind {
        Kind::TlsRoute => {
            let hostnames = vec![Hostname::Exact("a.test".into())];
            route.rules = Rules::Tls { hostnames, rules: rules() };
        }
        Kind::TcpRoute => route.rules = Rules::Tcp(rules()),
        _ => {}
    }
    change(&mut route);
    Change::Apply(Object::Route(route))
}

fn hostnames(route: &mut Route, given: &[Hostname]) {
    if let Rules::Tls { hostnames, .. } = &mut route.rules {
        *hostnames = given.to_vec();
    }
}

/// `web` with port 80, which declares nothing, and `v1`.
fn services() -> Store {
    let port = ServicePort { name: "web".into(), port: 80, protocol: AppProtocol::Detect };
    let web = Service::new(name("web"), vec!["10.96.0.1".parse().unwrap()], vec![port]);
    store([Change::Apply(Object::Service(web)), service("v1", "10.96.0.2")])
}

fn accepted(snapshot: &Snapshot, kind: Kind, named: &str) -> Result<(), (NotAccepted, Arc<str>)> {
    snapshot.route_status(&(kind, name(named))).unwrap().parents[0].accepted.clone()
}

fn conflict(snapshot: &Snapshot, kind: Kind, named: &str) -> String {
    let (why, message) = accepted(snapshot, kind, named).unwrap_err();
    assert_eq!(why, NotAccepted::Conflicted, "{message}");
    message.to_string()
}

/// Who has the connections, or the requests, of clients of this namespace.
fn holder(snapshot: &Snapshot, client: Option<&str>) -> String {
    let frontend = snapshot.service_port(&name("web"), 80).unwrap();
    match frontend.connections(client) {
        Connections::Relayed(rule) => return format!("tcp {}", rule.route.name),
        Connections::ByName(names) => {
            let rule = names.rule(Some("a.test"));
            return format!("tls {}", rule.map_or("nobody", |rule| &rule.route.name));
        }
        Connections::AsDeclared => {}
    }
    let headers = HeaderMap::new();
    let head =
        RequestHead { method: &Method::GET, path: "/x", query: None, headers: &headers, client };
    match frontend.route(&head) {
        Routed::Service(_) => "service".to_owned(),
        Routed::Rule(rule, _) => format!("http {}", rule.route.name),
        Routed::NotFound => "nowhere".to_owned(),
    }
}

#[test]
fn of_several_kinds_the_first_has_the_port_and_the_losers_are_told() {
    let mut objects = services();
    let mut compiler = compiler();
    let mut present = Vec::new();
    // From the last to the first: each takes the port from the one before, and gives it back.
    let kinds = [Kind::TcpRoute, Kind::TlsRoute, Kind::HttpRoute, Kind::GrpcRoute];
    let holds = ["tcp r", "tls r", "http r", "http r"];
    for (kind, holds) in kinds.into_iter().zip(holds) {
        assert!(objects.apply(of_kind(kind, "r", |_| {})));
        let snapshot = next(&mut compiler, &mut objects);
        assert_eq!(accepted(&snapshot, kind, "r"), Ok(()));
        assert_eq!(holder(&snapshot, None), holds);
        for loser in &present {
            let message = conflict(&snapshot, *loser, "r");
            assert!(message.starts_with(&format!("{kind} shop/r has port 80")), "{message}");
        }
        assert_eq!(snapshot.problems().len(), present.len());
        present.push(kind);
    }
    while let Some(kind) = present.pop() {
        assert!(objects.apply(Change::Delete(kind, name("r"))));
        let snapshot = next(&mut compiler, &mut objects);
        let next = present.last().map(|next| accepted(&snapshot, *next, "r"));
        assert_eq!(next.unwrap_or(Ok(())), Ok(()));
    }
}

#[test]
fn an_audience_has_its_contest_to_itself() {
    let mut objects = services();
    assert!(objects.apply(of_kind(Kind::HttpRoute, "all", |_| {})));
    let consumer = |route: &mut Route| route.name = ObjectName::new("consumer", "own");
    assert!(objects.apply(of_kind(Kind::TcpRoute, "own", consumer)));
    let snapshot = whole(objects);
    assert_eq!(accepted(&snapshot, Kind::HttpRoute, "all"), Ok(()));
    let own = (Kind::TcpRoute, ObjectName::new("consumer", "own"));
    assert_eq!(snapshot.route_status(&own).unwrap().parents[0].accepted, Ok(()));
    assert_eq!(holder(&snapshot, Some("consumer")), "tcp own");
    assert_eq!(holder(&snapshot, Some("other")), "http all");
    assert_eq!(holder(&snapshot, None), "http all");
}

#[test]
fn a_route_that_loses_one_port_of_two_is_accepted_and_its_loss_is_told() {
    let ports = [("web", 80), ("rpc", 81)].map(|(name, port)| ServicePort {
        name: name.into(),
        port,
        protocol: AppProtocol::Detect,
    });
    let web = Service::new(name("web"), vec!["10.96.0.1".parse().unwrap()], ports.into());
    let snapshot = whole(store([
        Change::Apply(Object::Service(web)),
        service("v1", "10.96.0.2"),
        of_kind(Kind::HttpRoute, "http", |_| {}),
        of_kind(Kind::GrpcRoute, "rpc", |route| route.parents[0].port = Some(81)),
    ]));
    assert_eq!(accepted(&snapshot, Kind::HttpRoute, "http"), Ok(()));
    assert_eq!(accepted(&snapshot, Kind::GrpcRoute, "rpc"), Ok(()));
    let [problem] = snapshot.problems() else { panic!("{:?}", snapshot.problems()) };
    assert!(problem.message.contains("port 81"), "{problem}");
    let at = |port| {
        let frontend = snapshot.service_port(&name("web"), port).unwrap();
        let Routed::Rule(rule, _) = routed(frontend, "/x") else { panic!("no rule") };
        rule.route.name.to_string()
    };
    assert_eq!((at(80), at(81)), ("http".to_owned(), "rpc".to_owned()));
}

#[test]
fn the_oldest_tcp_route_has_a_port_and_then_the_first_by_name() {
    let mut objects = services();
    for (named, created) in [("b", Some(2)), ("c", Some(1)), ("a", None), ("d", Some(1))] {
        assert!(objects.apply(of_kind(Kind::TcpRoute, named, |r| r.created = created)));
    }
    let mut compiler = compiler();
    let snapshot = next(&mut compiler, &mut objects);
    assert_eq!(holder(&snapshot, None), "tcp c");
    assert_eq!(accepted(&snapshot, Kind::TcpRoute, "c"), Ok(()));
    for loser in ["a", "b", "d"] {
        assert!(conflict(&snapshot, Kind::TcpRoute, loser).contains("TCPRoute shop/c"));
    }
    for (winner, next_one) in [("c", "d"), ("d", "b"), ("b", "a")] {
        assert!(objects.apply(Change::Delete(Kind::TcpRoute, name(winner))));
        let snapshot = next(&mut compiler, &mut objects);
        assert_eq!(holder(&snapshot, None), format!("tcp {next_one}"));
        assert_eq!(accepted(&snapshot, Kind::TcpRoute, next_one), Ok(()));
    }
}

#[test]
fn the_oldest_tls_route_has_a_name_and_one_that_has_none_is_told() {
    let exact = |name: &str| Hostname::Exact(name.into());
    let mut objects = services();
    let all = [
        ("old", 1, vec![exact("a.test")]),
        ("half", 2, vec![exact("a.test"), Hostname::Below("test".into())]),
        ("none", 3, vec![exact("a.test"), Hostname::Below("test".into())]),
    ];
    for (named, created, given) in all {
        assert!(objects.apply(of_kind(Kind::TlsRoute, named, |route| {
            route.created = Some(created);
            hostnames(route, &given);
        })));
    }
    let snapshot = whole(objects);
    let frontend = snapshot.service_port(&name("web"), 80).unwrap();
    let Connections::ByName(names) = frontend.connections(None) else { panic!("not by name") };
    let has = |asked| names.rule(asked).map(|rule| rule.route.name.to_string());
    assert_eq!(has(Some("a.test")).as_deref(), Some("old"));
    assert_eq!(has(Some("b.test")).as_deref(), Some("half"));
    assert_eq!((has(Some("test")), has(None)), (None, None));
    for winner in ["old", "half"] {
        assert_eq!(accepted(&snapshot, Kind::TlsRoute, winner), Ok(()));
    }
    assert!(conflict(&snapshot, Kind::TlsRoute, "none").contains("TLSRoute shop/"));
}

#[test]
fn what_a_port_is_declared_to_speak_says_which_kinds_it_takes() {
    use AppProtocol::{Detect, Http, Http1, Http2, Tcp, Tls};
    for (protocol, takes) in [
        (Detect, [true, true, true]),
        (Http, [true, false, true]),
        (Http1, [true, false, true]),
        (Http2, [true, false, true]),
        (Tls, [false, true, true]),
        (Tcp, [false, true, true]),
    ] {
        for (kind, takes) in
            [Kind::HttpRoute, Kind::TlsRoute, Kind::TcpRoute].into_iter().zip(takes)
        {
            let port = ServicePort { name: "p".into(), port: 80, protocol };
            let web = Service::new(name("web"), vec!["10.96.0.1".parse().unwrap()], vec![port]);
            let web = Change::Apply(Object::Service(web));
            let v1 = service("v1", "10.96.0.2");
            let snapshot = whole(store([web, v1, of_kind(kind, "r", |_| {})]));
            let accepted = accepted(&snapshot, kind, "r");
            let why = accepted.clone().err().map(|(why, _)| why);
            assert_eq!(accepted.is_ok(), takes, "{kind} at {protocol:?}");
            assert!(why.is_none_or(|why| why == NotAccepted::NoMatchingParent));
            assert_eq!(holder(&snapshot, None) != "service", takes, "{kind} at {protocol:?}");
        }
    }
}

#[test]
fn connections_are_split_by_weight_and_what_is_missing_keeps_its_share() {
    let mut objects = services();
    let split = vec![backend(70, "v1"), backend(0, "web"), backend(30, "nobody")];
    assert!(objects.apply(of_kind(Kind::TcpRoute, "r", |route| {
        route.rules = Rules::Tcp(vec![
            L4Rule { name: Some("one".into()), backends: split },
            L4Rule { name: None, backends: vec![backend(1, "web")] },
        ]);
    })));
    let snapshot = whole(objects);
    let status = snapshot.route_status(&(Kind::TcpRoute, name("r"))).unwrap();
    let (fault, message) = status.parents[0].resolved_refs.clone().unwrap_err();
    assert_eq!(fault, RefFault::BackendNotFound);
    assert!(message.contains("shop/nobody"), "{message}");
    let frontend = snapshot.service_port(&name("web"), 80).unwrap();
    let Connections::Relayed(rule) = frontend.connections(None) else { panic!("not relayed") };
    assert_eq!(rule.name.as_deref(), Some("one"));
    let mut random = fastrand::Rng::with_seed(7);
    let valid = (0..10_000)
        .filter(|_| match rule.backend(random.u64(..)) {
            Choice::Backend(chosen) => chosen.backend.service == name("v1"),
            Choice::Invalid(_) => false,
        })
        .count();
    assert!((6_800..=7_200).contains(&valid), "{valid}");
}
