//! A change makes only what it touches anew, and what comes out is as if all had been.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[test]
fn what_a_change_does_not_touch_stays_the_same() {
    let mut objects = store((0..100).flat_map(|i| {
        let of = format!("s{i}");
        let endpoint = format!("10.0.0.{i}");
        [service(&of, &format!("10.96.0.{i}")), slice(&of, &of, &[(&endpoint, READY)])]
    }));
    assert!(objects.apply(route("s1", vec![backend(1, "s2")])));
    let mut compiler = compiler();
    let before = next(&mut compiler, &mut objects);
    assert!(objects.apply(slice("s2", "s2", &[("10.0.1.1", READY)])));
    let compiled = compiler.compile(&mut objects).unwrap();
    assert!(compiled.frontends.is_empty() && !compiled.pods && !compiled.problems);
    let after = compiled.snapshot;
    for i in 0..100 {
        let of = name(&format!("s{i}"));
        let same = Arc::ptr_eq(
            before.service_port(&of, 80).unwrap(),
            after.service_port(&of, 80).unwrap(),
        );
        assert_eq!(same, i != 1 && i != 2, "s{i}");
    }
    assert_eq!(addresses(&after, "s2"), ["10.0.1.1"]);
    let Routed::Rule(rule, _) = routed(after.service_port(&name("s1"), 80).unwrap(), "/x") else {
        panic!("no rule")
    };
    let Choice::Backend(chosen) = rule.backend(0) else { panic!("no backend") };
    assert_eq!(chosen.backend.endpoints()[0].address.ip().to_string(), "10.0.1.1");
}

#[test]
fn what_makes_no_difference_is_no_new_snapshot() {
    let mut objects =
        store([service("web", "10.96.0.1"), slice("web", "a", &[("10.0.0.1", READY)])]);
    let mut compiler = compiler();
    assert!(compiler.compile(&mut objects).is_some());
    assert!(compiler.compile(&mut objects).is_none());
    // An endpoint that is not ready comes, and one moves to another slice.
    assert!(objects.apply(slice("web", "b", &[("10.0.0.2", GONE), ("10.0.0.1", READY)])));
    assert!(objects.apply(slice("web", "a", &[])));
    assert!(objects.apply(slice("nobody", "c", &[("10.0.0.9", READY)])));
    assert!(compiler.compile(&mut objects).is_none());
}

#[test]
fn a_port_that_is_renamed_and_a_service_of_another_kind_are_seen_by_its_routes() {
    let mut objects = Store::default();
    let Change::Apply(Object::Route(mut to)) = route("web", vec![backend(1, "web")]) else {
        unreachable!()
    };
    let key = (to.kind, to.name.clone());
    to.parents[0].section = Some("http".into());
    let Change::Apply(Object::Service(first)) = service("web", "10.96.0.1") else { unreachable!() };
    let named = |name: &str, kind| {
        let mut other = first.clone();
        other.ports[0].name = name.into();
        other.kind = kind;
        Change::Apply(Object::Service(other))
    };
    let mut compiler = compiler();
    assert!(objects.apply(Change::Apply(Object::Route(to))));
    let mut status = |change| {
        objects.apply(change);
        let snapshot = compiler.compile(&mut objects).expect("a difference").snapshot;
        let parent = snapshot.route_status(&key).unwrap().parents[0].clone();
        (parent.accepted.is_ok(), parent.resolved_refs.is_ok())
    };
    assert_eq!(status(named("http", ServiceKind::ClusterIp)), (true, true));
    assert_eq!(status(named("other", ServiceKind::ClusterIp)), (false, true));
    assert_eq!(status(named("http", ServiceKind::ClusterIp)), (true, true));
    assert_eq!(status(named("http", ServiceKind::ExternalName)), (false, false));
    assert_eq!(status(named("http", ServiceKind::Headless)), (false, true));
}

#[test]
fn addresses_that_come_and_go_are_told() {
    let mut objects = store([service("a", "10.96.0.1"), service("b", "10.96.0.1")]);
    let mut compiler = compiler();
    let mut moved = |objects: &mut Store, change: Option<Change>| {
        if let Some(change) = change {
            assert!(objects.apply(change));
        }
        let compiled = compiler.compile(objects).unwrap();
        let told: Vec<String> = compiled.frontends.iter().map(ToString::to_string).collect();
        (told, compiled.snapshot.problems().len())
    };
    assert_eq!(moved(&mut objects, None), (vec!["10.96.0.1:80".to_owned()], 1));
    let gone = Change::Delete(Kind::Service, name("a"));
    assert_eq!(moved(&mut objects, Some(gone)), (vec![], 0), "b has it now");
    let gone = Change::Delete(Kind::Service, name("b"));
    assert_eq!(moved(&mut objects, Some(gone)).0, ["10.96.0.1:80"]);
}

/// A few names, so that objects meet.
fn any_change() -> impl Strategy<Value = Change> {
    let of = || (0..4_u8).prop_map(|i| format!("s{i}"));
    let services = (of(), 0..3_u8, 0..3_u8, any::<[bool; 4]>(), 0..5_u8).prop_map(
        |(of, ip, external, b, k)| {
            let port =
                |name: &str, port, protocol| ServicePort { name: name.into(), port, protocol };
            let first = if k % 2 == 0 { "http" } else { "web" };
            let mut ports = vec![port(first, 80, AppProtocol::Http)];
            if b[0] {
                ports.push(port(
                    "db",
                    81,
                    if b[1] { AppProtocol::Tcp } else { AppProtocol::Detect },
                ));
            }
            let mut service = Service::new(name(&of), vec![[10, 96, 0, ip].into()], ports);
            service.external_ips = vec![[192, 0, 2, external].into()];
            service.internal_local = b[2];
            service.affinity = b[3].then_some(Duration::from_secs(1));
            service.kind = match k {
                3 => ServiceKind::Headless,
                4 => ServiceKind::ExternalName,
                _ => ServiceKind::ClusterIp,
            };
            Change::Apply(Object::Service(service))
        },
    );
    let endpoint = (0..5_u8, any::<[bool; 3]>(), any::<bool>(), 0..3_u8).prop_map(
        |(ip, [ready, serving, terminating], here, zone)| EndpointAddress {
            ready,
            serving,
            terminating,
            node: Some(if here { "here" } else { "there" }.into()),
            for_zones: (0..zone).map(|z| format!("z{z}").into()).collect(),
            ..EndpointAddress::new([10, 0, 0, ip].into())
        },
    );
    let slices = (of(), 0..5_u8, prop::collection::vec(endpoint, 0..4)).prop_map(
        |(service, slice, endpoints)| {
            Change::Apply(Object::EndpointSlice(EndpointSlice {
                name: name(&format!("slice{slice}")),
                service: name(&service),
                ports: vec![EndpointPort { name: "http".into(), port: 8080 }],
                endpoints,
            }))
        },
    );
    let whose = || prop_oneof![Just("shop"), Just("bank")];
    let kind = || prop::sample::select(&Kind::ROUTES[..]);
    let routes = (0..3_u8, whose(), of(), of(), whose(), kind(), 0..3_i64).prop_map(
        |(i, namespace, parent, target, target_namespace, kind, generation)| {
            let service = ObjectName::new(target_namespace, target);
            let target = BackendTarget::Service { service, port: 80 };
            let backend = BackendRef { weight: 1, target, filters: vec![] };
            let Change::Apply(Object::Route(mut route)) = route(&parent, vec![backend]) else {
                unreachable!()
            };
            route.kind = kind;
            if matches!(kind, Kind::TlsRoute | Kind::TcpRoute) {
                let backends = std::mem::take(&mut route.rules.http_mut()[0].backends);
                let rules = vec![L4Rule { name: None, backends }];
                route.created = Some(generation);
                let hostnames = vec![Hostname::Exact(format!("h{generation}").into())];
                route.rules = match kind {
                    Kind::TlsRoute => Rules::Tls { hostnames, rules },
                    _ => Rules::Tcp(rules),
                };
            }
            route.name = ObjectName::new(namespace, format!("r{i}"));
            route.generation = generation;
            route.parents[0].section =
                [None, Some("http"), Some("web")][i as usize].map(Into::into);
            Change::Apply(Object::Route(route))
        },
    );
    let refused = (0..3_u8, whose(), of()).prop_map(|(i, namespace, parent)| {
        Change::Refuse(RefusedRoute {
            kind: Kind::HttpRoute,
            name: ObjectName::new(namespace, format!("r{i}")),
            generation: 9,
            parents: vec![ParentRef::new(name(&parent))],
            message: "bad".into(),
        })
    });
    let grants = (0..2_u8, whose(), whose(), any::<bool>()).prop_map(|(i, there, from, all)| {
        Change::Apply(Object::ReferenceGrant(ReferenceGrant {
            name: ObjectName::new(there, format!("g{i}")),
            from: vec![(Kind::HttpRoute, from.into())],
            to: vec![(!all).then(|| "s1".into())],
        }))
    });
    let nodes = (0..3_u8).prop_map(|zone| {
        let zone = (zone < 2).then(|| format!("z{zone}").into());
        Change::Apply(Object::Node(Node { name: ObjectName::new("", "here"), zone }))
    });
    let deleted = (0..9_u8, whose(), 0..5_u8).prop_map(|(kind, namespace, i)| {
        let (kind, name) = match kind {
            0 => (Kind::Service, ObjectName::new("shop", format!("s{i}"))),
            1 => (Kind::EndpointSlice, ObjectName::new("shop", format!("slice{i}"))),
            2 => (Kind::HttpRoute, ObjectName::new(namespace, format!("r{i}"))),
            3 => (Kind::GrpcRoute, ObjectName::new(namespace, format!("r{i}"))),
            4 => (Kind::ReferenceGrant, ObjectName::new(namespace, format!("g{i}"))),
            5 => (Kind::Node, ObjectName::new("", "here")),
            6 => (Kind::TlsRoute, ObjectName::new(namespace, format!("r{i}"))),
            7 => (Kind::TcpRoute, ObjectName::new(namespace, format!("r{i}"))),
            _ => (Kind::Service, ObjectName::new("bank", format!("s{i}"))),
        };
        Change::Delete(kind, name)
    });
    let policies = policies::any_policy_change();
    let settings = backend_policies::any_policy_change();
    prop_oneof![3 => services, 4 => slices, 3 => policies, 3 => settings, 3 => routes, 1 => refused, 1 => grants, 1 => nodes, 3 => deleted]
}

/// All that anybody can tell of a snapshot.
fn told(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let headers = HeaderMap::new();
    let backend = |backend: &Backend| {
        let endpoint =
            |(i, e): (usize, &Arc<crate::balance::Endpoint>)| (e.address, backend.is_near(i));
        let endpoints: Vec<_> = backend.endpoints().iter().enumerate().map(endpoint).collect();
        let tls = backend.tls().map(|tls| (&tls.policy, &tls.terms));
        let (service, port, affinity) = (&backend.service, backend.port, backend.affinity());
        let settings = backend.settings();
        format!("{service} {port} {affinity:?} {tls:?} {settings:?} {endpoints:?}")
    };
    let chosen = |rule: &Rule| match rule.backend(0) {
        Choice::Backend(chosen) => format!("{} {}", rule.route, backend(&chosen.backend)),
        Choice::Invalid(why) => format!("{} {why}", rule.route),
    };
    let goes_to = |frontend: &Frontend, client| {
        match frontend.connections(client) {
            Connections::AsDeclared => {}
            Connections::Relayed(rule) => return format!("relayed {}", chosen(rule)),
            Connections::ByName(names) => {
                let rules =
                    ["h0", "h1", "h2"].map(|name| names.rule(Some(name)).map(|r| chosen(r)));
                return format!("by name {rules:?}");
            }
        }
        let head = RequestHead {
            method: &Method::GET,
            path: "/x",
            query: None,
            headers: &headers,
            client,
        };
        match frontend.route(&head) {
            Routed::Service(own) => format!("service {}", backend(own)),
            Routed::NotFound => "nowhere".to_owned(),
            Routed::Rule(rule, _) => chosen(rule),
        }
    };
    let frontend = |f: &Frontend| {
        let clients = [None, Some("shop"), Some("bank")].map(|client| goes_to(f, client));
        format!("{} {} {:?} {} {clients:?}", f.service, f.port, f.protocol, backend(&f.backend))
    };
    let mut all = BTreeMap::new();
    for (address, f) in snapshot.frontends() {
        all.insert(address.to_string(), frontend(f));
    }
    for service in 0..4 {
        for port in [80, 81] {
            let of = name(&format!("s{service}"));
            if let Some(f) = snapshot.service_port(&of, port) {
                all.insert(format!("{of} {port}"), frontend(f));
            }
        }
    }
    for (route, status) in snapshot.route_statuses() {
        all.insert(format!("{route:?}"), format!("{status:?}"));
    }
    all.insert("policies".to_owned(), format!("{:?}", snapshot.policies));
    all.insert("problems".to_owned(), format!("{:?}", snapshot.problems()));
    all
}

proptest! {
    #[test]
    fn it_is_as_if_all_had_been_compiled_anew(
        batches in prop::collection::vec(prop::collection::vec(any_change(), 1..6), 1..20)
    ) {
        let mut grown = Store::default();
        let mut grower = compiler();
        let mut last = told(&Snapshot::empty());
        let mut known = std::collections::BTreeSet::new();
        let mut history = Vec::new();
        for batch in batches {
            for change in batch {
                grown.apply(change.clone());
                history.push(change);
            }
            let compiled = grower.compile(&mut grown);
            if let Some(compiled) = &compiled {
                let now = told(&compiled.snapshot);
                for address in &compiled.frontends {
                    if !known.remove(address) {
                        known.insert(*address);
                    }
                }
                let there: std::collections::BTreeSet<_> =
                    compiled.snapshot.frontends().map(|(address, _)| address).collect();
                prop_assert_eq!(&known, &there, "what came and went");
                last = now;
            }
            let mut anew = Store::default();
            for change in &history {
                anew.apply(change.clone());
            }
            prop_assert_eq!(&last, &told(&whole(anew)));
        }
    }
}
