//! BackendTLSPolicies and the ConfigMaps that they name.

use nodeway_core::model::{TlsName, TlsPolicy, Trust};
use serde_json::json;

use super::*;

/// A certificate that is nobody's: made once with `openssl req -x509`.
const PEM: &str = include_str!("authority.pem");

fn policy(targets: Value, validation: Value) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "BackendTLSPolicy",
        "metadata": {"name": "tls", "namespace": "shop", "generation": 3,
            "creationTimestamp": "1970-01-01T00:01:00Z"},
        "spec": {"targetRefs": targets, "validation": validation}})
}

fn web() -> Value {
    json!([{"group": "", "kind": "Service", "name": "web"}])
}

fn taken(document: Value) -> (TlsPolicy, Vec<String>) {
    let translated = read(document);
    let told = told(&translated);
    match translated.object {
        Some(Object::TlsPolicy(policy)) => (policy, told),
        other => panic!("{other:?}: {told:?}"),
    }
}

fn bundle(data: Value) -> Result<usize, String> {
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "ca", "namespace": "shop"}, "data": data});
    let translated = read(map);
    assert!(translated.faults.is_empty());
    let Some(Object::CaBundle(bundle)) = translated.object else { panic!() };
    bundle.certificates.map(|all| all.len()).map_err(|why| why.to_string())
}

#[test]
fn a_policy_says_whom_to_believe_and_by_which_names() {
    let validation = json!({
        "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "ca"},
            {"group": "", "kind": "Secret", "name": "ca"}],
        "hostname": "Web.example.com",
        "subjectAltNames": [{"type": "Hostname", "hostname": "*.example.com"},
            {"type": "URI", "uri": "spiffe://cluster/ns/shop"}]});
    let targets = json!([{"group": "", "kind": "Service", "name": "web", "sectionName": "https"},
        {"group": "", "kind": "Service", "name": "web", "sectionName": "https"},
        {"group": "other.example.com", "kind": "Service", "name": "x"}]);
    let (policy, faults) = taken(policy(targets, validation));
    assert!(faults.is_empty(), "{faults:?}");
    assert_eq!((policy.generation, policy.created), (3, Some(60)));
    let [target] = &policy.targets[..] else { panic!("{:?}", policy.targets) };
    assert_eq!(target.service, ObjectName::new("shop", "web"));
    assert_eq!(target.section.as_deref(), Some("https"));
    let bundles: Vec<_> = policy.bundles().map(ToString::to_string).collect();
    assert_eq!(bundles, ["shop/ca"]);
    let validation = policy.settings.unwrap();
    assert_eq!(&*validation.hostname, "web.example.com");
    let names =
        [TlsName::Dns("*.example.com".into()), TlsName::Uri("spiffe://cluster/ns/shop".into())];
    assert_eq!(*validation.names, names);
    let Trust::Bundles(bundles) = &validation.trust else { panic!() };
    assert!(bundles[1].as_ref().unwrap_err().contains("Secret \"ca\": must be a ConfigMap"));
}

#[test]
fn a_name_that_no_config_map_can_have_is_asked_of_nobody() {
    let long = "a".repeat(254);
    let bad = ["", "a=b", "a,b", "A", "a_b", "-a", "a-", "a..b", ".a", "a/b", &long];
    for (name, good) in
        bad.into_iter().map(|name| (name, false)).chain([("a", true), ("kube-root-ca.crt", true)])
    {
        let refs = json!([{"group": "", "kind": "ConfigMap", "name": name}]);
        let (policy, faults) =
            taken(policy(web(), json!({"caCertificateRefs": refs, "hostname": "a.b"})));
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(policy.bundles().count(), usize::from(good), "{name:?}");
        let validation = policy.settings.unwrap();
        let Trust::Bundles(bundles) = &validation.trust else { panic!() };
        let why = bundles[0].as_ref().err().map(|why| why.contains(&format!("ConfigMap {name:?}")));
        assert_eq!(why, (!good).then_some(true));
    }
}

#[test]
fn whatever_is_wrong_with_a_policy_its_targets_are_known() {
    let ca = json!([{"group": "", "kind": "ConfigMap", "name": "ca"}]);
    let system = |name: &str| json!({"wellKnownCACertificates": "System", "hostname": name});
    let alt = |alt: Value| json!({"wellKnownCACertificates": "System", "hostname": "a.b", "subjectAltNames": [alt]});
    for (validation, reason) in [
        (json!({}), "spec.validation"),
        (json!({"hostname": 7}), "spec.validation.hostname"),
        (json!({"hostname": "a.b"}), "spec.validation: neither"),
        (
            json!({"caCertificateRefs": [], "wellKnownCACertificates": "", "hostname": "a.b"}),
            "spec.validation: neither",
        ),
        (
            json!({"wellKnownCACertificates": "Mine", "hostname": "a.b"}),
            "spec.validation.wellKnownCACertificates: \"Mine\"",
        ),
        (
            json!({"caCertificateRefs": ca, "wellKnownCACertificates": "System", "hostname": "a.b"}),
            "spec.validation.wellKnownCACertificates: \"System\": not together",
        ),
        (system(""), "spec.validation.hostname: \"\""),
        (system("*.example.com"), "spec.validation.hostname"),
        (system("10.0.0.1"), "spec.validation.hostname: \"10.0.0.1\": must be a host's name, not"),
        (system("a b"), "spec.validation.hostname"),
        (alt(json!({"type": "Hostname"})), "spec.validation.subjectAltNames[0].hostname"),
        (
            alt(json!({"type": "Hostname", "hostname": "a.b", "uri": "a:b"})),
            "spec.validation.subjectAltNames[0].uri",
        ),
        (alt(json!({"type": "URI", "uri": "a"})), "spec.validation.subjectAltNames[0].uri"),
        (
            alt(json!({"type": "URI", "uri": "a:b", "hostname": "a.b"})),
            "spec.validation.subjectAltNames[0].hostname",
        ),
        (alt(json!({"type": "Email"})), "spec.validation.subjectAltNames"),
    ] {
        let (policy, faults) = taken(policy(web(), validation.clone()));
        assert!(faults.len() == 1 && faults[0].starts_with(reason), "{validation}: {faults:?}");
        assert_eq!(policy.targets.len(), 1);
        assert_eq!(&*policy.settings.unwrap_err(), &*faults[0]);
    }
}

#[test]
fn a_policy_for_others_is_none_of_ours() {
    for targets in [json!([]), json!([{"group": "x.io", "kind": "Backend", "name": "b"}])] {
        let translated = read(policy(targets, json!({})));
        assert!(translated.object.is_none() && translated.faults.is_empty());
    }
    let mut early = policy(web(), json!({"wellKnownCACertificates": "System", "hostname": "a.b"}));
    early["apiVersion"] = json!("gateway.networking.k8s.io/v1alpha3");
    assert!(taken(early).1.is_empty());
}

#[test]
fn a_bundle_is_all_certificates_of_its_key_or_none() {
    assert_eq!(bundle(json!({"ca.crt": PEM})), Ok(1));
    assert_eq!(bundle(json!({"ca.crt": format!("# two\n{PEM}\n{PEM}")})), Ok(2));
    for (data, why) in [
        (json!({}), "it has no key ca.crt"),
        (json!({"tls.crt": PEM}), "it has no key ca.crt"),
        (json!({"ca.crt": ""}), "holds no certificate"),
        (json!({"ca.crt": "malformed"}), "holds no certificate"),
        (
            json!({"ca.crt": format!("{PEM}{}", PEM.replace("MII", "M"))}),
            "certificate 2 of key ca.crt",
        ),
        (
            json!({"ca.crt": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"}),
            "certificate 1 of key ca.crt",
        ),
    ] {
        let told = bundle(data.clone()).unwrap_err();
        assert!(told.contains(why), "{data}: {told}");
    }
}
