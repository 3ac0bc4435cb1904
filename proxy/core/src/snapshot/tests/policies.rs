//! Which policy a port obeys, and what becomes of it.

use proptest::prelude::*;

use super::*;
use crate::balance::{BackendTls, TlsRoots};

fn bundle(of: &str, certificates: Result<u8, &str>) -> Change {
    let certificates = certificates.map(|octet| [Certificate([octet].into())].into());
    let certificates = certificates.map_err(Into::into);
    Change::Apply(Object::CaBundle(CaBundle { name: name(of), certificates }))
}

/// For the Service `web`, or the port of it; believes the bundle `ca`.
fn policy(of: &str, created: i64, section: Option<&str>) -> TlsPolicy {
    TlsPolicy {
        name: name(of),
        generation: 1,
        created: Some(created),
        targets: vec![PolicyTarget { service: name("web"), section: section.map(Into::into) }],
        settings: Ok(Arc::new(TlsValidation {
            trust: Trust::Bundles(vec![Ok(name("ca"))]),
            hostname: format!("{of}.example.com").into(),
            names: [].into(),
        })),
    }
}

fn apply(policy: TlsPolicy) -> Change {
    Change::Apply(Object::TlsPolicy(policy))
}

/// With the ports `http`, 80, and `https`, 443.
fn web() -> Change {
    let port = |name: &str, port, protocol| ServicePort { name: name.into(), port, protocol };
    let ports = vec![port("http", 80, AppProtocol::Http), port("https", 443, AppProtocol::Tls)];
    let ip = "10.96.0.1".parse().unwrap();
    Change::Apply(Object::Service(Service::new(name("web"), vec![ip], ports)))
}

fn tls(snapshot: &Snapshot, port: u16) -> Option<Arc<BackendTls>> {
    snapshot.service_port(&name("web"), port).unwrap().backend.tls().cloned()
}

/// The host that endpoints are asked for; why none is.
fn host(snapshot: &Snapshot, port: u16) -> Result<String, String> {
    let tls = tls(snapshot, port).expect("a policy");
    let terms = tls.terms.as_ref().map_err(ToString::to_string)?;
    Ok(terms.hostname.to_string())
}

fn key(of: &str) -> (Kind, ObjectName) {
    (Kind::BackendTlsPolicy, name(of))
}

fn accepted(snapshot: &Snapshot, of: &str) -> Option<PolicyFault> {
    let status = snapshot.policy_status(&key(of)).unwrap();
    status.targets[0].accepted.as_ref().err().map(|(fault, _)| *fault)
}

#[test]
fn a_policy_for_a_port_goes_before_one_for_the_service() {
    let snapshot = whole(store([
        web(),
        bundle("ca", Ok(1)),
        apply(policy("whole", 1, None)),
        apply(policy("port", 2, Some("https"))),
    ]));
    assert_eq!(host(&snapshot, 80).unwrap(), "whole.example.com");
    assert_eq!(host(&snapshot, 443).unwrap(), "port.example.com");
    assert_eq!((accepted(&snapshot, "whole"), accepted(&snapshot, "port")), (None, None));
    assert!(snapshot.problems().is_empty(), "{:?}", snapshot.problems());
}

#[test]
fn of_two_with_one_target_the_older_is_obeyed_then_the_first_by_name() {
    for (created, section) in [([2, 1], None), ([2, 1], Some("http")), ([1, 1], None)] {
        let names = if created == [1, 1] { ["b", "a"] } else { ["a", "b"] };
        let mut objects = store([
            web(),
            bundle("ca", Ok(1)),
            apply(policy(names[0], created[0], section)),
            apply(policy(names[1], created[1], section)),
        ]);
        let mut compiler = compiler();
        let snapshot = next(&mut compiler, &mut objects);
        assert_eq!(host(&snapshot, 80).unwrap(), format!("{}.example.com", names[1]));
        assert_eq!(accepted(&snapshot, names[0]), Some(PolicyFault::Conflicted));
        assert_eq!(accepted(&snapshot, names[1]), None);
        assert!(objects.apply(Change::Delete(Kind::BackendTlsPolicy, name(names[1]))));
        let snapshot = next(&mut compiler, &mut objects);
        assert_eq!(host(&snapshot, 80).unwrap(), format!("{}.example.com", names[0]));
        assert_eq!(accepted(&snapshot, names[0]), None);
        assert!(snapshot.policy_status(&key(names[1])).is_none());
        assert!(objects.apply(Change::Delete(Kind::BackendTlsPolicy, name(names[0]))));
        assert!(tls(&next(&mut compiler, &mut objects), 80).is_none());
    }
}

#[test]
fn a_policy_that_cannot_be_kept_closes_its_target_and_nothing_else() {
    let mut objects = store([
        web(),
        service("other", "10.96.0.2"),
        slice("web", "a", &[("10.0.0.1", READY)]),
        apply(policy("tls", 1, None)),
    ]);
    let mut compiler = compiler();
    let first = next(&mut compiler, &mut objects);
    let missing = host(&first, 80).unwrap_err();
    assert!(missing.contains("ConfigMap shop/ca does not exist"), "{missing}");
    assert_eq!(accepted(&first, "tls"), Some(PolicyFault::NoValidCaCertificate));
    let resolved = &first.policy_status(&key("tls")).unwrap().resolved_refs;
    assert_eq!(
        resolved.as_ref().unwrap().as_ref().unwrap_err().0,
        CaFault::InvalidCaCertificateRef
    );
    assert_eq!(first.problems().len(), 1, "{:?}", first.problems());
    let other = |s: &Snapshot| Arc::clone(s.service_port(&name("other"), 80).unwrap());
    assert!(other(&first).backend.tls().is_none());

    assert!(objects.apply(bundle("ca", Err("it has no key ca.crt"))));
    let bad = next(&mut compiler, &mut objects);
    assert!(host(&bad, 80).unwrap_err().contains("it has no key ca.crt"));
    assert!(objects.apply(bundle("ca", Ok(1))));
    let mended = next(&mut compiler, &mut objects);
    assert_eq!(host(&mended, 80).unwrap(), "tls.example.com");
    assert_eq!(accepted(&mended, "tls"), None);
    assert!(mended.problems().is_empty());
    assert!(Arc::ptr_eq(&other(&first), &other(&mended)));
    assert!(objects.apply(Change::Delete(Kind::ConfigMap, name("ca"))));
    assert!(host(&next(&mut compiler, &mut objects), 80).is_err());
}

#[test]
fn what_is_wrong_with_a_policy_is_told_by_its_reasons() {
    let mut invalid = policy("invalid", 1, Some("http"));
    invalid.settings = Err("spec.validation.hostname: \"*\": bad".into());
    let mut kind = policy("kind", 1, Some("https"));
    if let Ok(validation) = &mut kind.settings {
        Arc::make_mut(validation).trust =
            Trust::Bundles(vec![Err("Secret \"ca\": must be a ConfigMap".into())]);
    }
    let mut nobody = policy("nobody", 1, None);
    nobody.targets[0].service = name("nobody");
    let changes = [invalid, kind, nobody, policy("port", 1, Some("grpc"))].map(apply);
    let snapshot = whole(store([web(), bundle("ca", Ok(1))].into_iter().chain(changes)));
    assert_eq!(accepted(&snapshot, "invalid"), Some(PolicyFault::Invalid));
    assert!(host(&snapshot, 80).is_err());
    assert_eq!(accepted(&snapshot, "kind"), Some(PolicyFault::NoValidCaCertificate));
    let resolved = &snapshot.policy_status(&key("kind")).unwrap().resolved_refs;
    assert_eq!(resolved.as_ref().unwrap().as_ref().unwrap_err().0, CaFault::InvalidKind);
    assert!(host(&snapshot, 443).is_err());
    assert_eq!(accepted(&snapshot, "nobody"), Some(PolicyFault::TargetNotFound));
    assert_eq!(accepted(&snapshot, "port"), Some(PolicyFault::TargetNotFound));
}

#[test]
fn of_several_bundles_those_that_can_be_used_are() {
    let mut several = policy("tls", 1, None);
    if let Ok(validation) = &mut several.settings {
        let bundles = ["gone", "ca", "more"].map(|of| Ok(name(of)));
        Arc::make_mut(validation).trust = Trust::Bundles(bundles.into());
    }
    let snapshot =
        whole(store([web(), bundle("ca", Ok(1)), bundle("more", Ok(2)), apply(several)]));
    assert_eq!(accepted(&snapshot, "tls"), None);
    assert!(snapshot.policy_status(&key("tls")).unwrap().resolved_refs.as_ref().unwrap().is_err());
    let tls = tls(&snapshot, 80).unwrap();
    let TlsRoots::These(roots) = &tls.terms.as_ref().unwrap().roots else { panic!("system") };
    assert_eq!(roots.iter().map(|c| c.0[0]).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn other_certificates_are_another_policy_and_other_endpoints_are_not() {
    let mut objects = store([
        web(),
        slice("web", "a", &[("10.0.0.1", READY)]),
        bundle("ca", Ok(1)),
        apply(policy("tls", 1, None)),
    ]);
    let mut compiler = compiler();
    let first = tls(&next(&mut compiler, &mut objects), 80).unwrap();
    assert!(objects.apply(slice("web", "a", &[("10.0.0.2", READY)])));
    let mut renewed = policy("tls", 1, None);
    renewed.generation = 2;
    assert!(objects.apply(apply(renewed)));
    let same = tls(&next(&mut compiler, &mut objects), 80).unwrap();
    assert!(Arc::ptr_eq(&first, &same));
    assert!(objects.apply(bundle("ca", Ok(2))));
    let rotated = next(&mut compiler, &mut objects);
    assert_ne!(tls(&rotated, 80).unwrap().id, first.id);
    assert_eq!(tls(&rotated, 80).unwrap().id, tls(&rotated, 443).unwrap().id);
}

#[test]
fn a_port_that_is_declared_https_takes_http_if_tls_is_our_part() {
    let mut route = route("web", vec![]);
    let Change::Apply(Object::Route(attached)) = &mut route else { unreachable!() };
    attached.parents[0].port = Some(443);
    let mut objects = store([web(), route]);
    let mut compiler = compiler();
    let alone = next(&mut compiler, &mut objects);
    let frontend = |s: &Snapshot| Arc::clone(s.service_port(&name("web"), 443).unwrap());
    assert_eq!(
        (frontend(&alone).protocol, frontend(&alone).has_routes()),
        (AppProtocol::Tls, false)
    );
    assert!(objects.apply(bundle("ca", Ok(1))));
    assert!(objects.apply(apply(policy("tls", 1, Some("https")))));
    let with = next(&mut compiler, &mut objects);
    assert_eq!(
        (frontend(&with).protocol, frontend(&with).has_routes()),
        (AppProtocol::Detect, true)
    );
}

/// A few names, so that objects meet.
pub(super) fn any_policy_change() -> impl Strategy<Value = Change> {
    let policies = (0..3_u8, 0..3_i64, 0..4_u8, any::<bool>(), 0..3_u8).prop_map(
        |(i, created, of, section, ca)| {
            let mut policy = policy(&format!("p{i}"), created, section.then_some("http"));
            policy.targets[0].service = name(&format!("s{of}"));
            if let Ok(validation) = &mut policy.settings {
                Arc::make_mut(validation).trust =
                    Trust::Bundles(vec![Ok(name(&format!("ca{ca}")))]);
            }
            apply(policy)
        },
    );
    let bundles = (0..3_u8, 0..3_u8).prop_map(|(i, octet)| {
        bundle(&format!("ca{i}"), if octet == 0 { Err("bad") } else { Ok(octet) })
    });
    let deleted = (0..3_u8, any::<bool>()).prop_map(|(i, policy)| match policy {
        true => Change::Delete(Kind::BackendTlsPolicy, name(&format!("p{i}"))),
        false => Change::Delete(Kind::ConfigMap, name(&format!("ca{i}"))),
    });
    prop_oneof![3 => policies, 2 => bundles, 1 => deleted]
}
