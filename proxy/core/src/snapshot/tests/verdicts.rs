//! What a route's status says.

use super::*;

const KEY: fn() -> RouteKey = || (Kind::HttpRoute, name("route"));

fn with(backends: Vec<BackendRef>, change: impl FnOnce(&mut Route)) -> Change {
    let Change::Apply(Object::Route(mut route)) = route("web", backends) else { unreachable!() };
    change(&mut route);
    Change::Apply(Object::Route(route))
}

fn grant(from: Kind, namespace: &str, to: Option<&str>) -> Change {
    Change::Apply(Object::ReferenceGrant(ReferenceGrant {
        name: ObjectName::new("bank", "grant"),
        from: vec![(from, namespace.into())],
        to: vec![to.map(Into::into)],
    }))
}

fn elsewhere() -> [Change; 2] {
    let Change::Apply(Object::Service(mut account)) = service("account", "10.96.1.1") else {
        unreachable!()
    };
    account.name = ObjectName::new("bank", "account");
    let target = BackendTarget::Service { service: account.name.clone(), port: 80 };
    let backend = BackendRef { weight: 1, target, filters: vec![] };
    [Change::Apply(Object::Service(account)), route("web", vec![backend])]
}

fn resolved(snapshot: &Snapshot) -> Result<(), RefFault> {
    let status = snapshot.route_status(&KEY()).unwrap();
    status.parents[0].resolved_refs.clone().map_err(|(fault, _)| fault)
}

#[test]
fn a_parent_is_judged_by_itself() {
    let mut parents = vec![
        ParentRef::new(name("web")),
        ParentRef { place: 1, port: Some(81), ..ParentRef::new(name("web")) },
        ParentRef { place: 2, section: Some("http".into()), ..ParentRef::new(name("web")) },
        ParentRef { place: 3, section: Some("admin".into()), ..ParentRef::new(name("web")) },
        ParentRef { place: 4, ..ParentRef::new(name("nobody")) },
    ];
    let route = with(vec![backend(1, "web")], |route| route.parents.clone_from(&parents));
    let snapshot = whole(store([service("web", "10.96.0.1"), route]));
    let status = snapshot.route_status(&KEY()).unwrap();
    assert_eq!(status.generation, 1);
    let accepted: Vec<bool> = status.parents.iter().map(|p| p.accepted.is_ok()).collect();
    assert_eq!(accepted, [true, false, true, false, false]);
    for (i, part) in [(1, "no TCP port 81"), (3, "named \"admin\""), (4, "does not exist")] {
        let (reason, message) = status.parents[i].accepted.clone().unwrap_err();
        assert_eq!(reason, NotAccepted::NoMatchingParent);
        assert!(message.contains(part), "{message}");
    }
    assert!(status.parents.iter().all(|p| p.resolved_refs.is_ok()));
    let told: Vec<_> = status.parents.iter().map(|p| p.parent.clone()).collect();
    assert_eq!(told, std::mem::take(&mut parents));
}

#[test]
fn another_namespaces_service_needs_a_grant_there() {
    let mut objects = store([service("web", "10.96.0.1")]);
    for change in elsewhere() {
        assert!(objects.apply(change));
    }
    let mut compiler = compiler();
    assert_eq!(resolved(&next(&mut compiler, &mut objects)), Err(RefFault::RefNotPermitted));
    for (not_enough, why) in [
        (grant(Kind::GrpcRoute, "shop", None), "another kind"),
        (grant(Kind::HttpRoute, "toys", None), "another namespace"),
        (grant(Kind::HttpRoute, "shop", Some("other")), "another Service"),
    ] {
        assert!(objects.apply(not_enough));
        let snapshot = next(&mut compiler, &mut objects);
        assert_eq!(resolved(&snapshot), Err(RefFault::RefNotPermitted), "{why}");
    }
    assert!(objects.apply(grant(Kind::HttpRoute, "shop", Some("account"))));
    let granted = next(&mut compiler, &mut objects);
    assert_eq!(resolved(&granted), Ok(()));
    let Routed::Rule(rule, _) = routed(granted.service_port(&name("web"), 80).unwrap(), "/x")
    else {
        panic!("no rule")
    };
    assert!(matches!(rule.backend(0), Choice::Backend(_)));
    let grant = ObjectName::new("bank", "grant");
    assert!(objects.apply(Change::Delete(Kind::ReferenceGrant, grant)));
    assert_eq!(resolved(&next(&mut compiler, &mut objects)), Err(RefFault::RefNotPermitted));
}

#[test]
fn a_missing_backend_is_found_when_it_comes() {
    let mut objects = store([service("web", "10.96.0.1"), route("web", vec![backend(1, "v1")])]);
    let mut compiler = compiler();
    assert_eq!(resolved(&next(&mut compiler, &mut objects)), Err(RefFault::BackendNotFound));
    assert!(objects.apply(service("v1", "10.96.0.2")));
    assert_eq!(resolved(&next(&mut compiler, &mut objects)), Ok(()));
    assert!(objects.apply(Change::Delete(Kind::Service, name("v1"))));
    assert_eq!(resolved(&next(&mut compiler, &mut objects)), Err(RefFault::BackendNotFound));
}

#[test]
fn what_is_refused_leaves_the_last_good_version_in_force() {
    let refused = |generation| {
        Change::Refuse(RefusedRoute {
            kind: Kind::HttpRoute,
            name: name("route"),
            generation,
            parents: vec![ParentRef::new(name("web"))],
            message: "spec.rules[0]: bad".into(),
        })
    };
    let mut objects = store([service("web", "10.96.0.1"), route("web", vec![backend(1, "web")])]);
    let mut compiler = compiler();
    let good = next(&mut compiler, &mut objects);
    assert!(good.route_status(&KEY()).unwrap().parents[0].accepted.is_ok());
    assert!(objects.apply(refused(2)));
    let bad = next(&mut compiler, &mut objects);
    let status = bad.route_status(&KEY()).unwrap();
    assert_eq!(status.generation, 2);
    let (reason, message) = status.parents[0].accepted.clone().unwrap_err();
    assert_eq!((reason, &*message), (NotAccepted::UnsupportedValue, "spec.rules[0]: bad"));
    let frontend = bad.service_port(&name("web"), 80).unwrap();
    assert!(matches!(routed(frontend, "/x"), Routed::Rule(..)));
    // So are its references, which are all that can be told.
    assert_eq!(resolved(&bad), Ok(()));
    assert!(objects.apply(with(vec![backend(1, "gone")], |route| route.generation = 3)));
    assert_eq!(resolved(&next(&mut compiler, &mut objects)), Err(RefFault::BackendNotFound));
    assert!(objects.apply(refused(4)));
    assert_eq!(resolved(&next(&mut compiler, &mut objects)), Err(RefFault::BackendNotFound));
    assert!(objects.apply(with(vec![backend(1, "web")], |route| route.generation = 5)));
    let mended = next(&mut compiler, &mut objects);
    assert!(mended.route_status(&KEY()).unwrap().parents[0].accepted.is_ok());
    assert!(objects.apply(Change::Delete(Kind::HttpRoute, name("route"))));
    let gone = next(&mut compiler, &mut objects);
    assert!(gone.route_status(&KEY()).is_none() && gone.problems().is_empty());
}

#[test]
fn a_session_beside_a_services_own_refuses_the_route() {
    let session = SessionPersistence {
        name: None,
        carrier: SessionCarrier::SessionCookie,
        absolute_timeout: None,
        idle_timeout: None,
        secret: "uid".into(),
    };
    let route = with(vec![backend(1, "web"), backend(0, "sticky")], |route| {
        route.rules.http_mut()[0].persistence = Some(session);
    });
    let sticky = |affinity: Option<u64>| {
        let Change::Apply(Object::Service(mut service)) = service("sticky", "10.96.0.2") else {
            unreachable!()
        };
        service.affinity = affinity.map(std::time::Duration::from_secs);
        Change::Apply(Object::Service(service))
    };
    let accepted = |affinity| {
        let changes = [service("web", "10.96.0.1"), sticky(affinity), route.clone()];
        whole(store(changes)).route_status(&KEY()).unwrap().parents[0].accepted.clone()
    };
    assert_eq!(accepted(None), Ok(()));
    let (reason, message) = accepted(Some(10)).unwrap_err();
    assert_eq!(reason, NotAccepted::UnsupportedValue);
    assert!(message.starts_with("spec.rules[0].sessionPersistence: Service"), "{message}");

    // Another's Service that nobody granted costs its share and no more.
    let service_there = ObjectName::new("bank", "sticky");
    let Change::Apply(Object::Service(mut foreign)) = sticky(Some(10)) else { unreachable!() };
    foreign.name = service_there.clone();
    let mut elsewhere = route;
    let Change::Apply(Object::Route(there)) = &mut elsewhere else { unreachable!() };
    there.rules.http_mut()[0].backends[1].target =
        BackendTarget::Service { service: service_there, port: 80 };
    let foreign = Change::Apply(Object::Service(foreign));
    let snapshot = whole(store([service("web", "10.96.0.1"), foreign, elsewhere]));
    let parent = &snapshot.route_status(&KEY()).unwrap().parents[0];
    assert_eq!(parent.accepted, Ok(()));
    assert_eq!(resolved(&snapshot), Err(RefFault::RefNotPermitted));
}
