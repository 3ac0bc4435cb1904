//! Which BackendPolicy and XBackendTrafficPolicy a port obeys, and what stays as it was.

use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;

fn settings(requests: u32) -> Arc<BackendSettings> {
    let mut settings = BackendSettings::default();
    settings.limits.backend.active = NonZeroU32::new(requests);
    Arc::new(settings)
}

/// For the Service `web`, or the port of it: so many requests.
fn policy(of: &str, created: i64, section: Option<&str>, requests: u32) -> BackendPolicy {
    BackendPolicy {
        name: name(of),
        generation: 1,
        created: Some(created),
        targets: vec![PolicyTarget { service: name("web"), section: section.map(Into::into) }],
        settings: Ok(settings(requests)),
    }
}

fn apply(policy: BackendPolicy) -> Change {
    Change::Apply(Object::BackendPolicy(policy))
}

const fn budget(percent: u8) -> RetryBudget {
    RetryBudget { percent, interval: None, least: 1, least_interval: None }
}

/// For the Service `web`.
fn traffic(of: &str, created: i64, percent: u8) -> TrafficPolicy {
    TrafficPolicy {
        name: name(of),
        generation: 1,
        created: Some(created),
        targets: vec![PolicyTarget { service: name("web"), section: None }],
        settings: Ok(Arc::new(TrafficSettings {
            retry_budget: Some(budget(percent)),
            session: None,
        })),
    }
}

fn apply_traffic(policy: TrafficPolicy) -> Change {
    Change::Apply(Object::TrafficPolicy(policy))
}

/// With the ports `http`, 80, and `db`, 81.
fn web() -> Change {
    let port = |name: &str, port, protocol| ServicePort { name: name.into(), port, protocol };
    let ports = vec![port("http", 80, AppProtocol::Http), port("db", 81, AppProtocol::Tcp)];
    let ip = "10.96.0.1".parse().unwrap();
    Change::Apply(Object::Service(Service::new(name("web"), vec![ip], ports)))
}

fn backend_of(snapshot: &Snapshot, port: u16) -> &Arc<Backend> {
    &snapshot.service_port(&name("web"), port).unwrap().backend
}

/// The limit of requests at a port; 0: none.
fn requests(snapshot: &Snapshot, port: u16) -> u32 {
    let limits = &backend_of(snapshot, port).settings().limits;
    limits.backend.active.map_or(0, NonZeroU32::get)
}

fn accepted(snapshot: &Snapshot, kind: Kind, of: &str) -> Option<PolicyFault> {
    let status = snapshot.policy_status(&(kind, name(of))).unwrap();
    assert!(status.resolved_refs.is_none());
    status.targets[0].accepted.as_ref().err().map(|(fault, _)| *fault)
}

#[test]
fn a_policy_for_a_port_stands_there_instead_of_the_services() {
    let mut whole_service = policy("whole", 1, None, 1);
    let mut of_all = BackendSettings::default();
    of_all.balancing.panic_threshold = 7;
    whole_service.settings = Ok(Arc::new(of_all));
    let snapshot =
        whole(store([web(), apply(whole_service), apply(policy("port", 2, Some("db"), 5))]));
    assert_eq!((requests(&snapshot, 80), requests(&snapshot, 81)), (0, 5));
    let panic = |port| backend_of(&snapshot, port).settings().balancing.panic_threshold;
    assert_eq!((panic(80), panic(81)), (7, 50), "nothing of it is merged");
    for of in ["whole", "port"] {
        assert_eq!(accepted(&snapshot, Kind::BackendPolicy, of), None, "{of}");
    }
}

#[test]
fn of_two_with_one_target_the_older_is_obeyed_and_the_other_is_told() {
    let mut objects =
        store([web(), apply(policy("a", 2, None, 2)), apply(policy("b", 1, None, 1))]);
    let mut compiler = compiler();
    let snapshot = next(&mut compiler, &mut objects);
    assert_eq!(requests(&snapshot, 80), 1);
    assert_eq!(accepted(&snapshot, Kind::BackendPolicy, "a"), Some(PolicyFault::Conflicted));
    assert_eq!(snapshot.problems().len(), 1, "{:?}", snapshot.problems());
    assert!(objects.apply(Change::Delete(Kind::BackendPolicy, name("b"))));
    let snapshot = next(&mut compiler, &mut objects);
    assert_eq!(requests(&snapshot, 80), 2);
    assert_eq!(accepted(&snapshot, Kind::BackendPolicy, "a"), None);
    assert!(snapshot.policy_status(&(Kind::BackendPolicy, name("b"))).is_none());
    assert!(objects.apply(Change::Delete(Kind::BackendPolicy, name("a"))));
    let snapshot = next(&mut compiler, &mut objects);
    assert_eq!(**backend_of(&snapshot, 80).settings(), BackendSettings::default());
}

#[test]
fn a_version_that_is_not_valid_leaves_the_last_good_one_in_force_until_the_policy_goes() {
    let bad = |targets: Vec<PolicyTarget>| {
        let settings = Err("spec.x: bad".into());
        apply(BackendPolicy { settings, targets, generation: 2, ..policy("p", 1, None, 1) })
    };
    let target = policy("p", 1, None, 1).targets;
    let mut objects = store([web(), bad(target.clone())]);
    let mut compiler = compiler();
    let snapshot = next(&mut compiler, &mut objects);
    let why = |snapshot: &Snapshot| {
        let status = snapshot.policy_status(&(Kind::BackendPolicy, name("p"))).unwrap();
        status.targets[0].accepted.clone().unwrap_err().1
    };
    assert_eq!(requests(&snapshot, 80), 0);
    assert_eq!(&*why(&snapshot), "spec.x: bad (the defaults are in force)");
    assert!(objects.apply(apply(policy("p", 1, None, 3))));
    let good = next(&mut compiler, &mut objects);
    assert_eq!(requests(&good, 80), 3);
    assert!(objects.apply(bad(target)));
    let kept = next(&mut compiler, &mut objects);
    assert!(Arc::ptr_eq(backend_of(&good, 80), backend_of(&kept, 80)));
    assert_eq!(&*why(&kept), "spec.x: bad (its last valid version stays in force)");
    let port = vec![PolicyTarget { service: name("web"), section: Some("db".into()) }];
    assert!(objects.apply(bad(port)));
    let moved = next(&mut compiler, &mut objects);
    assert_eq!((requests(&moved, 80), requests(&moved, 81)), (0, 3), "its targets are good");
    assert!(objects.apply(Change::Delete(Kind::BackendPolicy, name("p"))));
    let gone = next(&mut compiler, &mut objects);
    assert_eq!((requests(&gone, 80), requests(&gone, 81)), (0, 0));
}

#[test]
fn a_policy_touches_its_targets_and_only_if_it_says_something_else() {
    let mut objects = store([
        web(),
        slice("web", "a", &[("10.0.0.1", READY)]),
        service("other", "10.96.0.2"),
        apply(policy("p", 1, Some("http"), 1)),
    ]);
    let mut compiler = compiler();
    let first = next(&mut compiler, &mut objects);
    let mut same = policy("p", 1, Some("http"), 1);
    same.generation = 2;
    assert!(objects.apply(apply(same)));
    let again = next(&mut compiler, &mut objects);
    assert!(Arc::ptr_eq(backend_of(&first, 80), backend_of(&again, 80)), "equal content");
    assert!(objects.apply(apply(policy("p", 1, Some("http"), 2))));
    let changed = next(&mut compiler, &mut objects);
    assert_eq!(requests(&changed, 80), 2);
    let lasting = |s: &Snapshot| Arc::clone(backend_of(s, 80).lasting());
    assert!(Arc::ptr_eq(&lasting(&first), &lasting(&changed)));
    let endpoint = |s: &Snapshot| Arc::clone(&backend_of(s, 80).endpoints()[0]);
    assert!(Arc::ptr_eq(&endpoint(&first), &endpoint(&changed)));
    assert!(Arc::ptr_eq(backend_of(&first, 81), backend_of(&changed, 81)), "another port");
    let other = |s: &Snapshot| Arc::clone(s.service_port(&name("other"), 80).unwrap());
    assert!(Arc::ptr_eq(&other(&first), &other(&changed)), "another Service");
}

#[test]
fn a_policy_that_comes_before_its_service_is_obeyed_when_that_comes() {
    let mut objects = store([apply(policy("p", 1, None, 4))]);
    let mut compiler = compiler();
    let before = next(&mut compiler, &mut objects);
    assert_eq!(accepted(&before, Kind::BackendPolicy, "p"), Some(PolicyFault::TargetNotFound));
    assert!(objects.apply(web()));
    let after = next(&mut compiler, &mut objects);
    assert_eq!((requests(&after, 80), requests(&after, 81)), (4, 4));
    assert_eq!(accepted(&after, Kind::BackendPolicy, "p"), None);
}

#[test]
fn the_budget_of_a_traffic_policy_counts_where_the_backend_policy_has_none() {
    let mut own = policy("own", 1, Some("db"), 1);
    let settings = BackendSettings { retry_budget: Some(budget(1)), ..(*settings(1)).clone() };
    own.settings = Ok(Arc::new(settings));
    let mut objects = store([
        web(),
        apply(own),
        apply(policy("whole", 1, None, 9)),
        apply_traffic(traffic("t", 1, 33)),
        apply_traffic(traffic("u", 2, 44)),
    ]);
    let mut compiler = compiler();
    let snapshot = next(&mut compiler, &mut objects);
    let percent = |s: &Snapshot, port| backend_of(s, port).settings().retry_budget.unwrap().percent;
    assert_eq!((percent(&snapshot, 80), percent(&snapshot, 81)), (33, 1));
    assert_eq!(requests(&snapshot, 80), 9, "and what the other says");
    let accepted = |s: &Snapshot, of| accepted(s, Kind::BackendTrafficPolicy, of);
    assert_eq!(accepted(&snapshot, "t"), None);
    assert_eq!(accepted(&snapshot, "u"), Some(PolicyFault::Conflicted));
    assert!(objects.apply(Change::Delete(Kind::BackendTrafficPolicy, name("t"))));
    let snapshot = next(&mut compiler, &mut objects);
    assert_eq!(percent(&snapshot, 80), 44);
    assert!(objects.apply(slice("web", "a", &[("10.0.0.1", READY)])));
    let later = next(&mut compiler, &mut objects);
    let settings = |s: &Snapshot| Arc::clone(backend_of(s, 80).settings());
    assert!(Arc::ptr_eq(&settings(&snapshot), &settings(&later)), "merged once");
}

#[test]
fn sessions_of_a_traffic_policy_are_its_services_and_those_of_rules_without_their_own() {
    let with_session = || {
        let session = SessionPersistence {
            name: None,
            carrier: SessionCarrier::SessionCookie,
            absolute_timeout: None,
            idle_timeout: None,
            secret: "uid".into(),
        };
        let terms = TrafficSettings { retry_budget: None, session: Some(session) };
        apply_traffic(TrafficPolicy { settings: Ok(Arc::new(terms)), ..traffic("t", 1, 1) })
    };
    let mut objects = store([
        web(),
        service("front", "10.96.0.2"),
        slice("web", "a", &[("10.0.0.1", READY), ("10.0.0.2", READY)]),
        route("front", vec![backend(1, "front"), backend(1, "web")]),
    ]);
    let mut compiler = compiler();
    let front = |snapshot: &Snapshot| {
        let frontend = snapshot.service_port(&name("front"), 80).unwrap();
        let Routed::Rule(rule, _) = routed(frontend, "/x") else { panic!("no rule") };
        assert!(frontend.session().is_none());
        rule.session().is_some()
    };
    let own = |s: &Snapshot| s.service_port(&name("web"), 80).unwrap().session().is_some();
    let before = next(&mut compiler, &mut objects);
    assert_eq!((own(&before), front(&before)), (false, false));
    assert!(objects.apply(with_session()));
    let with = next(&mut compiler, &mut objects);
    assert_eq!((own(&with), front(&with)), (true, true));
    assert_eq!(accepted(&with, Kind::BackendTrafficPolicy, "t"), None);

    // Its token leads back to the endpoint, and its cookie is for no path of ours.
    let web = with.service_port(&name("web"), 80).unwrap();
    let endpoint = &web.backend.endpoints()[1];
    let field = web.session().unwrap().field(None, 0, &web.backend, endpoint, 1_000).unwrap();
    let cookie = field.1.to_str().unwrap();
    assert!(cookie.starts_with("nodeway-session-") && !cookie.contains("Path"), "{cookie}");
    let mut headers = HeaderMap::new();
    headers.insert("cookie", cookie.split(';').next().unwrap().parse().unwrap());
    let brought = web.brought(&headers, None, (2_000, Millis(1))).expect("the session");
    assert_eq!(brought.endpoint.id, endpoint.id);

    let Change::Apply(Object::Service(mut sticky)) = self::web() else { unreachable!() };
    sticky.affinity = Some(std::time::Duration::from_secs(1));
    assert!(objects.apply(Change::Apply(Object::Service(sticky))));
    let clash = next(&mut compiler, &mut objects);
    assert_eq!((own(&clash), front(&clash)), (false, false));
    assert_eq!(accepted(&clash, Kind::BackendTrafficPolicy, "t"), Some(PolicyFault::Invalid));
    assert!(objects.apply(self::web()));
    let mended = next(&mut compiler, &mut objects);
    assert_eq!((own(&mended), front(&mended)), (true, true));
    assert!(objects.apply(Change::Delete(Kind::BackendTrafficPolicy, name("t"))));
    let gone = next(&mut compiler, &mut objects);
    assert_eq!((own(&gone), front(&gone)), (false, false));
}

/// A few names, so that objects meet.
pub(super) fn any_policy_change() -> impl Strategy<Value = Change> {
    let target = || (0..4_u8, any::<bool>());
    let backend =
        (0..3_u8, 0..3_i64, target(), 0..3_u32).prop_map(|(i, created, (of, port), n)| {
            let mut policy = policy(&format!("p{i}"), created, port.then_some("http"), n);
            policy.targets[0].service = name(&format!("s{of}"));
            if n == 0 {
                policy.settings = Err("bad".into());
            }
            apply(policy)
        });
    let traffic = (0..3_u8, 0..3_i64, 0..4_u8, 0..3_u8).prop_map(|(i, created, of, percent)| {
        let mut policy = traffic(&format!("p{i}"), created, percent);
        policy.targets[0].service = name(&format!("s{of}"));
        apply_traffic(policy)
    });
    let deleted = (0..3_u8, any::<bool>()).prop_map(|(i, traffic)| {
        let kind = if traffic { Kind::BackendTrafficPolicy } else { Kind::BackendPolicy };
        Change::Delete(kind, name(&format!("p{i}")))
    });
    prop_oneof![3 => backend, 2 => traffic, 1 => deleted]
}
