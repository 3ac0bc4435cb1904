//! What a route's filters refer to.

use super::*;

const KEY: fn() -> RouteKey = || (Kind::HttpRoute, name("route"));

fn filtered(filters: Vec<Filter>) -> Change {
    let Change::Apply(Object::Route(mut route)) = route("web", vec![backend(1, "web")]) else {
        unreachable!()
    };
    route.rules.http_mut()[0].filters = filters;
    Change::Apply(Object::Route(route))
}

fn mirror(namespace: &str, service: &str) -> Filter {
    let service = ObjectName::new(namespace, service);
    Filter::Mirror(Mirror { target: BackendTarget::Service { service, port: 80 }, share: (1, 1) })
}

fn verdicts(snapshot: &Snapshot) -> (Option<NotAccepted>, Option<RefFault>) {
    let status = snapshot.route_status(&KEY()).unwrap();
    let parent = &status.parents[0];
    let accepted = parent.accepted.as_ref().err().map(|(why, _)| *why);
    (accepted, parent.resolved_refs.as_ref().err().map(|(why, _)| *why))
}

/// Whether the rule's mirrors have somebody to send to.
fn mirrors(snapshot: &Snapshot) -> Vec<bool> {
    let Routed::Rule(rule, _) = routed(snapshot.service_port(&name("web"), 80).unwrap(), "/x")
    else {
        panic!("no rule")
    };
    let to = rule.filters.steps().iter().filter_map(|step| match step {
        Step::Mirror(to) => Some(to.target.is_ok()),
        _ => None,
    });
    to.collect()
}

#[test]
fn a_mirror_to_nobody_is_told_and_the_route_goes_on() {
    let filters = vec![mirror("shop", "copy"), mirror("bank", "copy"), mirror("shop", "web")];
    let mut objects = store([service("web", "10.96.0.1"), filtered(filters)]);
    let mut compiler = compiler();
    let first = next(&mut compiler, &mut objects);
    assert_eq!(verdicts(&first), (None, Some(RefFault::BackendNotFound)));
    assert_eq!(mirrors(&first), [false, false, true]);
    let told: Vec<_> = first.problems().iter().map(ToString::to_string).collect();
    let at = "spec.rules[0].filters[0].requestMirror.backendRef: Service shop/copy does not exist";
    assert!(told.iter().any(|told| told.contains(at)), "{told:?}");

    assert!(objects.apply(service("copy", "10.96.0.2")));
    let there = next(&mut compiler, &mut objects);
    assert_eq!(mirrors(&there), [true, false, true], "a route follows the Services it mirrors to");
    assert_eq!(verdicts(&there), (None, Some(RefFault::RefNotPermitted)));
    assert!(objects.apply(Change::Delete(Kind::Service, name("copy"))));
    assert_eq!(mirrors(&next(&mut compiler, &mut objects)), [false, false, true]);
}

#[test]
fn a_filter_that_is_not_known_is_told_and_its_rule_is_invalid() {
    for (fault, expected) in [
        (Some(RefFault::InvalidKind), (None, Some(RefFault::InvalidKind))),
        (None, (Some(NotAccepted::UnsupportedValue), None)),
    ] {
        let unknown = Filter::Invalid { message: "no such filter".into(), fault };
        let snapshot = whole(store([service("web", "10.96.0.1"), filtered(vec![unknown])]));
        assert_eq!(verdicts(&snapshot), expected);
        let frontend = snapshot.service_port(&name("web"), 80).unwrap();
        let Routed::Rule(rule, _) = routed(frontend, "/x") else { panic!("it fails open") };
        assert!(matches!(rule.backend(0), Choice::Invalid("no such filter")));
    }
}
